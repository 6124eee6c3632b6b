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
  seed: readonly [low: number, high: number]
}

export const GREEDY: SamplingSettings = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: [0, 0],
}

/** Scores after penalty and temperature; −Infinity for tokens that the settings rule out. */
export function keptScores(
  logits: number[],
  recent: number[],
  settings: SamplingSettings,
): number[] {
  const { temperature, topK, topP, minP, repetitionPenalty } = settings
  let scores = logits.map((logit, token) => {
    if (!recent.includes(token)) return logit
    return logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty
  })
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
  recent: number[],
  position: number,
  settings: SamplingSettings,
): number {
  const scores = keptScores(logits, recent, settings)
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
