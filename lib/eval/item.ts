// What a row of a task asks of a model.

/** The log-probability of a text after another one. */
export interface Request {
  /** May be empty: the continuation then follows the model's end of text, as documents did in training. */
  context: string
  continuation: string
}

/** One question, whatever the dataset that it is from. */
export interface Item {
  /** Of choices, one each; of a cloze one; of a text, whose perplexity is asked for, one without a context. */
  requests: Request[]
  /** Index of the right choice; 0 where there is none to choose. */
  answer: number
  /** Of each choice: its characters without the space that it begins with. What `acc_norm` divides by. */
  lengths: number[]
  /** The question with its answer, as an example for others. */
  shot: string
  /** Examples are of the same subject, where there are subjects. */
  subject?: string | undefined
}

/** Metrics, by the names of lm-eval-harness. */
export type Metric =
  | 'acc'
  | 'acc_norm'
  | 'perplexity'
  | 'word_perplexity'
  | 'byte_perplexity'
  | 'bits_per_byte'

/** What there are tasks of. */
export type TaskKind = 'choices' | 'cloze' | 'text'

export const METRICS: Readonly<Record<TaskKind, readonly Metric[]>> = {
  choices: ['acc', 'acc_norm'],
  cloze: ['acc', 'perplexity'],
  text: ['word_perplexity', 'byte_perplexity', 'bits_per_byte'],
}

/** A kind of file: how its rows become questions. */
export interface TaskFormat {
  kind: TaskKind
  metrics: readonly Metric[]
  /** The names that a row must have, and no other format's has all of, unless the task must be named. */
  fields: readonly string[]
  /** Throws an Error that says what is wrong with a row. */
  item(row: Row): Item
  /** Before the examples. */
  description?(item: Item): string
}

/** A line of a file. */
export type Row = Readonly<Record<string, unknown>>
