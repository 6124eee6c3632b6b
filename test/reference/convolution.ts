// The causal depthwise convolution of a Mamba-2 layer, over a whole sequence from its first token.

import { silu } from './activations.js'

/** y[t, c] = silu(b[c] + Σ over k of w[c, k] · x[t − (width − 1) + k, c]), x zero before the start; `none`: without silu. */
export function causalConvolution(
  tokens: number[][],
  weight: number[][],
  bias?: number[],
  activation: 'silu' | 'none' = 'silu',
): number[][] {
  return tokens.map((_, t) =>
    weight.map((taps, channel) => {
      let sum = bias?.[channel] ?? 0
      for (const [k, tap] of taps.entries()) {
        sum += tap * (tokens[t - (taps.length - 1) + k]?.[channel] ?? 0)
      }
      return activation === 'silu' ? silu(sum) : sum
    }),
  )
}
