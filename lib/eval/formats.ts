// The forms in which datasets are published, and what lm-eval-harness asks of their rows. In Python, there: lm_eval/tasks.

import { indexOf, objectOf, textOf, textsOf } from './fields.js'
import { type Item, METRICS, type Row, type TaskFormat } from './item.js'

const characters = (text: string): number => [...text].length

/** Choices after one context, each with a space before it. */
function choicesAfter(context: string, choices: readonly string[], answer: number): Item {
  return literalChoices(
    context,
    choices.map((choice) => ` ${choice}`),
    answer,
    choices.map(characters),
  )
}

function literalChoices(
  context: string,
  choices: readonly string[],
  answer: number,
  lengths: number[],
): Item {
  return {
    requests: choices.map((continuation) => ({ context, continuation })),
    answer,
    lengths,
    shot: context + choices[answer]!,
  }
}

/** `{"context": "...", "choices": [" a", " b"], "answer": 0}`: texts as they are. */
const plain: TaskFormat = {
  kind: 'choices',
  metrics: METRICS.choices,
  fields: ['context', 'choices', 'answer'],
  item(row) {
    const choices = textsOf(row, 'choices')
    const lengths = choices.map((choice) => characters(choice.replace(/^ /, '')))
    const answer = indexOf(row, 'answer', choices.length)
    return literalChoices(textOf(row, 'context'), choices, answer, lengths)
  },
}

/** `{"context": "...", "target": " word"}`: texts as they are. */
const cloze: TaskFormat = {
  kind: 'cloze',
  metrics: METRICS.cloze,
  fields: ['context', 'target'],
  item: (row) => literalChoices(textOf(row, 'context'), [textOf(row, 'target')], 0, []),
}

/** `{"text": "..."}`: the last word after the others. */
const lambada: TaskFormat = {
  kind: 'cloze',
  metrics: METRICS.cloze,
  fields: ['text'],
  item(row) {
    const text = textOf(row, 'text')
    const space = text.lastIndexOf(' ')
    if (space < 1) throw new Error('"text" must have at least two words')
    const [context, target] = [text.slice(0, space), text.slice(space)]
    // The harness puts two spaces before the target of an example.
    return { ...literalChoices(context, [target], 0, []), shot: `${context} ${target}` }
  },
}

/** `{"text": "..."}`: all of it. */
const text: TaskFormat = {
  kind: 'text',
  metrics: METRICS.text,
  fields: ['text'],
  item(row) {
    const continuation = textOf(row, 'text')
    if (continuation === '') throw new Error('"text" is empty')
    return { requests: [{ context: '', continuation }], answer: 0, lengths: [], shot: '' }
  },
}

/** SuperGLUE's: `{"premise", "choice1", "choice2", "question": "cause" or "effect", "label"}`. */
const copa: TaskFormat = {
  kind: 'choices',
  metrics: ['acc'],
  fields: ['premise', 'choice1', 'choice2', 'question', 'label'],
  item(row) {
    const connectors: Row = { cause: 'because', effect: 'therefore' }
    const connector = connectors[textOf(row, 'question')]
    if (connector === undefined) throw new Error('"question" must be cause or effect')
    const context = `${textOf(row, 'premise').trim().slice(0, -1)} ${connector}`
    const choices = ['choice1', 'choice2'].map((name) => {
      const choice = textOf(row, name)
      // With a space of its own: the harness puts two before a choice.
      return ` ${choice.slice(0, 1).toLowerCase()}${choice.slice(1)}`
    })
    return choicesAfter(context, choices, indexOf(row, 'label', 2))
  },
}

/** `{"sentence": "... _ ...", "option1", "option2", "answer": "1"}`: what follows the gap is scored after each option. */
const winogrande: TaskFormat = {
  kind: 'choices',
  metrics: ['acc'],
  fields: ['sentence', 'option1', 'option2', 'answer'],
  item(row) {
    const sentence = textOf(row, 'sentence')
    const gap = sentence.indexOf('_')
    if (gap < 0) throw new Error('"sentence" must have a gap, _, and has none')
    const continuation = ` ${sentence.slice(gap + 1).trim()}`
    const answer = indexOf(row, 'answer', 2, 1)
    const requests = ['option1', 'option2'].map((name) => ({
      context: sentence.slice(0, gap) + textOf(row, name),
      continuation,
    }))
    const { context } = requests[answer]!
    return { requests, answer, lengths: [], shot: context + continuation }
  },
}

/** `{"goal", "sol1", "sol2", "label"}`: the labels of a file of their own added. */
const piqa: TaskFormat = {
  kind: 'choices',
  metrics: METRICS.choices,
  fields: ['goal', 'sol1', 'sol2', 'label'],
  item(row) {
    const choices = ['sol1', 'sol2'].map((name) => textOf(row, name))
    const context = `Question: ${textOf(row, 'goal')}\nAnswer:`
    return choicesAfter(context, choices, indexOf(row, 'label', 2))
  },
}

/** `{"activity_label", "ctx_a", "ctx_b", "endings", "label"}`. */
const hellaswag: TaskFormat = {
  kind: 'choices',
  metrics: METRICS.choices,
  fields: ['activity_label', 'ctx_a', 'ctx_b', 'endings', 'label'],
  item(row) {
    const [activity, a, b] = ['activity_label', 'ctx_a', 'ctx_b'].map((name) => textOf(row, name))
    const capitalised = b!.slice(0, 1).toUpperCase() + b!.slice(1).toLowerCase()
    const context = withoutMarks(`${activity}: ${a} ${capitalised}`)
    const endings = textsOf(row, 'endings')
    return choicesAfter(context, endings.map(withoutMarks), indexOf(row, 'label', endings.length))
  },
}

/** The marks of WikiHow's pages, as the harness takes them out. */
function withoutMarks(text: string): string {
  return text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ')
}

/** Questions with labelled choices, as AI2 publishes them, or as the Hub has them. */
function labelled(row: Row, stem: string): { question: string; choices: string[]; answer: number } {
  const ofAi2 = typeof row.question === 'object' && row.question !== null
  const source = ofAi2 ? objectOf(row, 'question') : row
  const question = ofAi2 ? textOf(source, 'stem') : textOf(row, stem)
  const list: unknown = source.choices
  const pairs = Array.isArray(list)
    ? list.map((choice: unknown) => (choice ?? {}) as Row)
    : pairsOf(objectOf(source, 'choices'))
  const choices = pairs.map((pair) => textOf(pair, 'text'))
  if (choices.length < 2) throw new Error('"choices" must have at least two')
  const key = textOf(row, 'answerKey')
  const answer = pairs.findIndex(({ label }) => label === key.trim())
  if (answer >= 0) return { question, choices, answer }
  throw new Error(`"answerKey" must be the label of a choice but is ${JSON.stringify(key)}`)
}

function pairsOf(choices: Row): Row[] {
  const [texts, labels] = [textsOf(choices, 'text'), textsOf(choices, 'label')]
  return texts.map((text, i) => ({ text, label: labels[i] }))
}

const arc: TaskFormat = {
  kind: 'choices',
  metrics: METRICS.choices,
  fields: ['question', 'answerKey'],
  item(row) {
    const { question, choices, answer } = labelled(row, 'question')
    return choicesAfter(`Question: ${question}\nAnswer:`, choices, answer)
  },
}

const openbookqa: TaskFormat = {
  kind: 'choices',
  metrics: METRICS.choices,
  fields: ['answerKey'],
  item(row) {
    const { question, choices, answer } = labelled(row, 'question_stem')
    return choicesAfter(question, choices, answer)
  },
}

/** `{"question", "subject", "choices": four texts, "answer": 0 to 3 or a letter}`: the letter is scored. */
const mmlu: TaskFormat = {
  kind: 'choices',
  metrics: ['acc'],
  fields: ['question', 'subject', 'choices', 'answer'],
  item(row) {
    const choices = textsOf(row, 'choices', 4)
    const letters = ['A', 'B', 'C', 'D'].slice(0, choices.length)
    const lines = letters.map((letter, i) => `${letter}. ${choices[i]}`)
    const context = [textOf(row, 'question').trim(), ...lines, 'Answer:'].join('\n')
    const letter = letters.indexOf(row.answer as string)
    const answer = letter >= 0 ? letter : indexOf(row, 'answer', letters.length)
    return { ...choicesAfter(context, letters, answer), subject: textOf(row, 'subject') }
  },
  description: ({ subject = '' }) =>
    `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`,
}

export const FORMATS = {
  plain,
  cloze,
  lambada,
  text,
  copa,
  winogrande,
  piqa,
  hellaswag,
  arc,
  openbookqa,
  mmlu,
} as const satisfies Readonly<Record<string, TaskFormat>>

export type TaskName = keyof typeof FORMATS

export const TASK_NAMES = Object.keys(FORMATS) as TaskName[]

/**
 * The task that rows such as this one are of.
 *
 * @throws Error where it is of none, or may be of several.
 */
export function taskOf(row: Row): TaskName {
  const fitting = TASK_NAMES.filter((name) => FORMATS[name].fields.every((field) => field in row))
  // Who has all fields of another one, and more, is the one.
  const most = Math.max(...fitting.map((name) => FORMATS[name].fields.length))
  const best = fitting.filter((name) => FORMATS[name].fields.length === most)
  const isAi2 = best.includes('arc') // both datasets have the same form
  const [name] = best
  if (name !== undefined && best.length === 1 && !isAi2) return name
  const candidates = isAi2 ? ['arc', 'openbookqa'] : best
  throw new Error(
    candidates.length === 0
      ? `a row has the fields ${Object.keys(row).slice(0, 12).join(', ')}, which are those of no task: say which with --task`
      : `rows of this form are of several tasks (${candidates.join(', ')}): say which with --task`,
  )
}
