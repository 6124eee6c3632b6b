// Log-probabilities from logits.

export interface TokenLogprob {
  token: number
  /** Natural logarithm of the probability that the model gives, before penalties and temperature. */
  logprob: number
}

/** log of the sum of exp(x): what turns logits into log-probabilities. */
export function logSumExp(logits: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY
  for (const x of logits) if (x > largest) largest = x
  let sum = 0
  for (const x of logits) sum += Math.exp(x - largest)
  return largest + Math.log(sum)
}

/** The `count` most probable tokens, best first. */
export function topLogprobs(logits: Float32Array, count: number): TokenLogprob[] {
  const best: TokenLogprob[] = []
  const total = logSumExp(logits)
  for (const [token, logit] of logits.entries()) {
    if (best.length === count && !(logit - total > (best.at(-1)?.logprob ?? 0))) continue
    if (count === 0) break
    const at = best.findIndex(({ logprob }) => logit - total > logprob)
    best.splice(at === -1 ? best.length : at, 0, { token, logprob: logit - total })
    if (best.length > count) best.pop()
  }
  return best
}
