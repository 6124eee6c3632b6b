// What is added to the scores of single tokens: checked, as the `sample` operation reads it.

import { LARGEST_BIAS, type LogitBias, MOST_BIASES } from '../options/generation.js'
import { describe, numberOption } from '../support/option-checks.js'

/** Pairs of a token and the bits of a float32. Throws for what is none, or outside the vocabulary. */
export function logitBiasOption(
  operation: string,
  value: LogitBias | undefined,
  vocabulary: number,
): Uint32Array {
  if (value === undefined) return new Uint32Array(0)
  const entries = entriesOf(operation, value)
  if (entries.length > MOST_BIASES) {
    throw new RangeError(
      `[${operation}] logitBias must have at most ${MOST_BIASES} tokens but has ${entries.length}`,
    )
  }
  const pairs = new Uint32Array(2 * entries.length)
  const biases = new Float32Array(pairs.buffer)
  for (const [i, [token, bias]] of entries.entries()) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabulary)) {
      throw new RangeError(
        `[${operation}] logitBias has the token ${describe(token)}, which is outside the vocabulary of ${vocabulary}`,
      )
    }
    const name = `logitBias of token ${token}`
    const value = numberOption(operation, name, bias, { min: -LARGEST_BIAS, max: LARGEST_BIAS })
    if (value === undefined) {
      throw new TypeError(`[${operation}] ${name} must be a number but is undefined`)
    }
    pairs[2 * i] = token
    biases[2 * i + 1] = value
  }
  return pairs
}

function entriesOf(operation: string, value: unknown): [token: number, bias: unknown][] {
  // A Map of another realm is no `instanceof Map`.
  const kind = Object.prototype.toString.call(value)
  if (kind === '[object Map]') return [...(value as ReadonlyMap<number, unknown>)]
  if (kind !== '[object Object]') {
    throw new TypeError(
      `[${operation}] logitBias must be an object or a Map of token ids and numbers but is ${describe(value)}`,
    )
  }
  return Object.entries(value as object).map(([key, bias]) => {
    if (/^\d+$/.test(key)) return [Number(key), bias]
    throw new TypeError(
      `[${operation}] logitBias has the key ${describe(key)}, which is no token id: model.tokenizer has those of a text`,
    )
  })
}
