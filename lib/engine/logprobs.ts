// How probable a token was, and which others were.

export interface TokenLogprob {
  token: number
  /** Natural logarithm of the probability that the model gives, before penalties, biases and temperature. */
  logprob: number
}

/** What is reported of a token that was drawn. */
export interface TokenReport {
  logprob: number
  /** The most probable tokens, the best first. */
  topLogprobs: TokenLogprob[]
}

/** log of the sum of exp(x): what turns logits into log-probabilities. */
export function logSumExp(logits: Float32Array): number {
  const largest = logits.reduce((a, b) => Math.max(a, b))
  return largest + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - largest), 0))
}
