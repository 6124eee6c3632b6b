// Drawing a token, and the random numbers for it.

import { softmax } from './attention.js'

/**
 * Philox4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", 2011): four 32-bit words from a counter of four and a key of two.
 */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const low = (x: bigint) => BigInt.asUintN(32, x)
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint]
  let [k0, k1] = key.map(BigInt) as [bigint, bigint]
  for (let round = 0; round < 10; round++) {
    const product0 = 0xd2511f53n * c0
    const product1 = 0xcd9e8d57n * c2
    ;[c0, c1, c2, c3] = [
      (product1 >> 32n) ^ c1 ^ k0,
      low(product1),
      (product0 >> 32n) ^ c3 ^ k1,
      low(product0),
    ]
    // Weyl sequences: the golden ratio and the square root of 3, as fractions of 2^32.
    k0 = low(k0 + 0x9e3779b9n)
    k1 = low(k1 + 0xbb67ae85n)
  }
  return [c0, c1, c2, c3].map(Number)
}

export interface SamplingSettings {
  /** 0: the most probable token. */
  temperature: number
  /** 0: off. */
  topK: number
  /** 1: off. */
  topP: number
  /** 0: off. */
  minP: number
  /** 1: off. */
  repetitionPenalty: number
  /** 0: off. */
  presencePenalty: number
  /** 0: off. */
  frequencyPenalty: number
  seed: readonly [low: number, high: number]
}

export const GREEDY: SamplingSettings = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: [0, 0],
}

/** What a token is drawn after. */
export interface Context {
  /** Tokens that the repetition penalty looks at. */
  recent: number[]
  /** Tokens that the presence and the frequency penalty look at. */
  generated?: number[]
  /** Added to the scores of tokens. */
  biases?: ReadonlyMap<number, number>
  /** All that may be drawn; any token without it. */
  allowed?: ReadonlySet<number>
}

/** Scores after penalties, biases and mask. */
export function scoresOf(
  logits: number[],
  { recent, generated = [], biases, allowed }: Context,
  { repetitionPenalty, presencePenalty, frequencyPenalty }: SamplingSettings,
): number[] {
  const counts = new Map<number, number>()
  for (const token of generated) counts.set(token, (counts.get(token) ?? 0) + 1)
  return logits.map((logit, token) => {
    if (allowed && !allowed.has(token)) return -Infinity
    let score = logit
    if (recent.includes(token)) {
      score = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty
    }
    const count = counts.get(token) ?? 0
    score -= frequencyPenalty * count
    if (count > 0) score -= presencePenalty
    return score + (biases?.get(token) ?? 0)
  })
}

/** Scores after everything but the noise; −Infinity for tokens that are ruled out. */
export function keptScores(
  logits: number[],
  context: Context,
  settings: SamplingSettings,
): number[] {
  const { temperature, topK, topP, minP } = settings
  let scores = scoresOf(logits, context, settings)
  if (temperature === 0) return scores
  scores = scores.map((score) => score / temperature)
  const keepFrom = (threshold: number) => {
    scores = scores.map((score) => (score >= threshold ? score : -Infinity))
  }
  const descending = () => [...scores].sort((a, b) => b - a)
  if (topK > 0 && topK < scores.length) keepFrom(descending()[topK - 1]!)
  if (topP < 1) {
    const sorted = descending()
    const probabilities = softmax(sorted)
    let sum = 0
    const last = probabilities.findIndex((probability) => {
      sum += probability
      return sum >= topP
    })
    keepFrom(sorted[last]!)
  }
  if (minP > 0) keepFrom(Math.max(...scores) + Math.log(minP))
  return scores
}

/** The token drawn at `position`: the largest of score + Gumbel noise (Gumbel, 1954; the "Gumbel-max trick"). */
export function drawToken(
  logits: number[],
  context: Context,
  position: number,
  settings: SamplingSettings,
): number {
  const scores = keptScores(logits, context, settings)
  if (settings.temperature === 0) return indexOfLargest(scores)
  return indexOfLargest(
    scores.map((score, token) => {
      const [word] = philox([position, token, 0, 0], settings.seed) as [number]
      const uniform = (Math.floor(word / 2 ** 9) + 0.5) / 2 ** 23
      return score - Math.log(-Math.log(uniform))
    }),
  )
}

/** Of equally large ones the first. */
export function indexOfLargest(values: number[]): number {
  return values.indexOf(Math.max(...values))
}

export interface TokenLogprobs {
  tokens: number[]
  logprobs: number[]
}

/** A token and the `count` most probable ones, the best first, of equal ones the one with the lower id. */
export function logprobsOf(logits: number[], token: number, count: number): TokenLogprobs {
  const best = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, count)
  const tokens = [token, ...best]
  const largest = Math.max(...logits)
  const total = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - largest), 0))
  return { tokens, logprobs: tokens.map((v) => logits[v]! - largest - total) }
}
