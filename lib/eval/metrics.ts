// Figures of a task, as lm-eval-harness computes them.

import type { Item, Metric } from './item.js'

/** What a model gave for an item: of each request the log-probability, in nats, and whether it is the greedy one. */
export interface Answers {
  logprobs: readonly number[]
  greedy: readonly boolean[]
}

export interface Figure {
  value: number
  /** Standard error; undefined for one question, and where items count by their lengths. */
  standardError: number | undefined
}

export interface Answered {
  item: Item
  answers: Answers
}

/** A metric over what was answered. */
export function figureOf(metric: Metric, answered: readonly Answered[]): Figure {
  switch (metric) {
    case 'acc':
      return meanOf(answered.map(({ item, answers }) => Number(isRight(item, answers))))
    case 'acc_norm':
      return meanOf(answered.map(({ item, answers }) => Number(isRightByLength(item, answers))))
    case 'perplexity':
      return perplexityOf(answered.map(({ answers }) => answers.logprobs[0]!))
    case 'word_perplexity':
      return { value: Math.exp(perUnit(answered, wordsOf)), standardError: undefined }
    case 'byte_perplexity':
      return { value: Math.exp(perUnit(answered, Buffer.byteLength)), standardError: undefined }
    case 'bits_per_byte':
      return { value: perUnit(answered, Buffer.byteLength) / Math.LN2, standardError: undefined }
  }
}

// A cloze has one request: right is what would have been generated.
function isRight({ answer }: Item, { logprobs, greedy }: Answers): boolean {
  return logprobs.length === 1 ? greedy[0]! : largest(logprobs) === answer
}

function isRightByLength({ answer, lengths }: Item, { logprobs }: Answers): boolean {
  return largest(logprobs.map((logprob, i) => logprob / lengths[i]!)) === answer
}

// The first of equals, as numpy has it.
const largest = (values: readonly number[]): number =>
  values.indexOf(values.reduce((a, b) => Math.max(a, b)))

/** The mean, and the sample standard deviation over the square root of their number. */
function meanOf(values: readonly number[]): Figure {
  const count = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / count
  if (count < 2) return { value: mean, standardError: undefined }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { value: mean, standardError: Math.sqrt(squares / (count - 1) / count) }
}

// Of exp, to first order.
function perplexityOf(logprobs: readonly number[]): Figure {
  const mean = meanOf(logprobs)
  const value = Math.exp(-mean.value)
  return { value, standardError: mean.standardError && value * mean.standardError }
}

/** -log p of texts by what they have of a unit. */
function perUnit(answered: readonly Answered[], unitsOf: (text: string) => number): number {
  let [sum, units] = [0, 0]
  for (const { item, answers } of answered) {
    sum -= answers.logprobs[0]!
    units += unitsOf(item.requests[0]!.continuation)
  }
  return sum / units
}

// Empty ones at both ends count, there as here.
const wordsOf = (text: string): number => text.split(/\s+/).length
