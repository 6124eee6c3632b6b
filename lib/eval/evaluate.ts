// A model's answers to the questions of a file: choices, clozes and texts, as lm-eval-harness asks them.

import type { Model } from '../model.js'
import { EVALUATION, type EvaluateOptions } from '../options/evaluating.js'
import { throwIfAborted, type Signal } from '../support/abort.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { checkOptions } from '../support/option-checks.js'
import { optionNames, optionValues } from '../support/option-table.js'
import { FORMATS, type TaskName } from './formats.js'
import type { Item, Metric, Request, TaskFormat } from './item.js'
import { type Figure, figureOf } from './metrics.js'
import { type Result, ResultsFile } from './results-file.js'
import { readTask, type Task } from './task-file.js'
import { type RequestTokens, requestTokens, type TaskEncoder } from './tokens.js'

export interface Evaluation {
  task: TaskName
  questions: number
  /** Examples before each question. */
  shots: number
  /** By the names of lm-eval-harness. */
  figures: Partial<Record<Metric, Figure>>
  /** Questions of which a context was cut on the left. */
  cut: number
  /** Questions whose results were there already. */
  resumed: number
  /** Tokens that prefixes had, that were not computed again, and that continuations had, of the questions answered now. */
  usage: { promptTokens: number; cachedTokens: number; completionTokens: number }
}

/**
 * Answers the questions of a file and says how many answers are right, with standard errors. Contexts and
 * continuations are tokenised together; a context is run once, whatever the number of its continuations.
 *
 * @throws Error for a file that is no task, led by its path and line; UnsupportedOptionError for options that
 *   change nothing; RangeError for a model without a tokenizer's end of text.
 * @example
 * const { figures } = await evaluate(model, 'arc-easy.jsonl', { task: 'arc', shots: 5, shotsFrom: 'train.jsonl' })
 */
export async function evaluate(
  model: Model,
  path: string,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions('evaluate', options, optionNames(EVALUATION))
  const {
    task: name,
    shots,
    shotsFrom,
    limit,
    maxLength,
    results,
  } = optionValues('evaluate', EVALUATION, options)
  const { signal, onProgress } = options
  const task = await readTask(path, name)
  const examples = await examplesFor(task, shots, shotsFrom)
  const questions = task.items.slice(0, limit)
  const encoder = encoderOf(model)
  const most = mostTokens(model, maxLength)
  const file =
    results === undefined
      ? undefined
      : await ResultsFile.open(results, {
          model: (await model.identity()).hash,
          task: task.name,
          file: task.hash,
          shots,
          shotsFrom: examples.hash,
          maxLength: maxLength ?? null,
        })
  const answers = new Map((file?.results ?? []).map((result) => [result.question, result]))
  const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
  const resumed = questions.filter((_, question) => answers.has(question)).length
  try {
    for (const [question, item] of questions.entries()) {
      if (!answers.has(question)) {
        throwIfAborted(signal)
        const prefix = examples.before(item)
        const requests = item.requests.map((request) => ({
          ...request,
          context: prefix + request.context,
        }))
        const result = await answer(model, question, tokensOf(requests), { usage, signal })
        answers.set(question, result)
        await file?.append(result)
      }
      onProgress?.({ questions: question + 1, total: questions.length })
    }
  } finally {
    await file?.close()
  }
  const answered = questions.map((item, question) => ({ item, answers: answers.get(question)! }))
  const figures = FORMATS[task.name].metrics.map((metric) => [metric, figureOf(metric, answered)])
  return {
    task: task.name,
    questions: questions.length,
    shots,
    figures: Object.fromEntries(figures),
    cut: answered.filter(({ answers }) => answers.cut > 0).length,
    resumed,
    usage,
  }

  function tokensOf(requests: readonly Request[]): RequestTokens[] {
    return requests.map((request) => requestTokens(request, encoder, most))
  }
}

/** What comes before each question. */
interface Examples {
  before(item: Item): string
  /** Of the file that they are from. */
  hash: string | null
}

async function examplesFor(task: Task, shots: number, path: string | undefined): Promise<Examples> {
  const { description, kind }: TaskFormat = FORMATS[task.name]
  const lead = (item: Item) => description?.(item) ?? ''
  if (path === undefined && shots > 0) {
    throw new UnsupportedOptionError(
      '[evaluate] shots need shotsFrom (--shots-from), the file that examples are from',
    )
  }
  if (path === undefined) return { before: lead, hash: null }
  if (shots === 0) {
    throw new UnsupportedOptionError('[evaluate] shotsFrom changes nothing without shots (--shots)')
  }
  if (kind === 'text') {
    throw new UnsupportedOptionError('[evaluate] texts have no examples: leave out shots')
  }
  const { items, hash } = await readTask(path, task.name)
  const bySubject = groupedBy(items, ({ subject }) => subject)
  const textFor = ({ subject }: Item): string => {
    const found = (bySubject.get(subject) ?? []).slice(0, shots)
    if (found.length === shots) return found.map(({ shot }) => `${shot}\n\n`).join('')
    const of = subject === undefined ? '' : ` of ${subject}`
    throw new RangeError(`${path}: has ${found.length} examples${of}, fewer than ${shots}`)
  }
  for (const item of task.items) textFor(item)
  return { before: (item) => lead(item) + textFor(item), hash }
}

function encoderOf(model: Model): TaskEncoder {
  const start = model.endOfText.find(({ id }) => id < model.config.paddedVocabSize)?.id
  if (start === undefined) {
    throw new RangeError('[evaluate] the model has no end-of-text token to start from')
  }
  return { start, encode: (text) => model.encode(text, { addSpecialTokens: false }) }
}

// As many inputs as lm-eval-harness gives a model, whose last token is none; but all that the model itself can hold.
function mostTokens({ maxContext = Number.POSITIVE_INFINITY }: Model, maxLength?: number): number {
  return Math.min(maxLength === undefined ? Number.POSITIVE_INFINITY : maxLength + 1, maxContext)
}

interface Answering {
  usage: Evaluation['usage']
  signal: Signal | undefined
}

/** Scores the continuations of one question: those of the same context together. */
async function answer(
  model: Model,
  question: number,
  requests: readonly RequestTokens[],
  { usage, signal }: Answering,
): Promise<Result> {
  const logprobs = new Array<number>(requests.length)
  const greedy = new Array<boolean>(requests.length)
  const byContext = groupedBy(requests.keys(), (i) => requests[i]!.context.join())
  for (const indices of byContext.values()) {
    const { context } = requests[indices[0]!]!
    const continuations = indices.map((i) => requests[i]!.continuation)
    const scores = await model.score(context, continuations, { signal })
    for (const [at, i] of indices.entries()) {
      logprobs[i] = scores[at]!.logprob
      greedy[i] = scores[at]!.isGreedy
      usage.completionTokens += scores[at]!.usage.completionTokens
    }
    usage.promptTokens += scores[0]!.usage.promptTokens
    usage.cachedTokens += scores[0]!.usage.cachedTokens
  }
  const tokens = requests.map(({ continuation }) => continuation.length)
  const cut = requests.reduce((sum, request) => sum + request.cut, 0)
  return { question, logprobs, greedy, tokens, cut }
}

/** As `Map.groupBy` of later versions. */
function groupedBy<Value, Key>(
  values: Iterable<Value>,
  keyOf: (value: Value) => Key,
): Map<Key, Value[]> {
  const groups = new Map<Key, Value[]>()
  for (const value of values) {
    const group = groups.get(keyOf(value))
    if (group) group.push(value)
    else groups.set(keyOf(value), [value])
  }
  return groups
}
