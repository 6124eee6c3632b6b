// The Mamba-2 recurrence, one token after the other (Dao and Gu, "Transformers are SSMs", 2024):
//   Δ = clamp(softplus(dt + bias)),  S ← exp(Δ A) S + Δ x Bᵀ,  y = S C + D x     for each head
// and the discrete one (Bick et al., "Transformers to SSMs", 2024): S ← exp(Δ A) S + x Bᵀ

import { softplus } from './activations.js'

export interface StateSpaceParameters {
  heads: number
  headDim: number
  dState: number
  groups: number
  A: number[]
  D: number[]
  dtBias: number[]
  dtLimit: readonly [number, number]
  discrete?: boolean
}

/** One token: x has heads · headDim numbers, dt heads, B and C groups · dState. */
export interface StateSpaceToken {
  x: number[]
  dt: number[]
  B: number[]
  C: number[]
}

/** Outputs of the tokens, and the state that they leave, (heads, headDim, dState) flat. `state` is not changed. */
export function stateSpaceRecurrence(
  tokens: StateSpaceToken[],
  parameters: StateSpaceParameters,
  initial: number[],
): { y: number[][]; state: number[] } {
  const { heads, headDim, dState, groups, A, D, dtBias, dtLimit, discrete = false } = parameters
  const state = [...initial]
  const y = tokens.map(({ x, dt, B, C }) => {
    const out = new Array<number>(heads * headDim).fill(0)
    for (let head = 0; head < heads; head++) {
      const group = Math.floor(head / (heads / groups))
      const step = Math.min(Math.max(softplus(dt[head]! + dtBias[head]!), dtLimit[0]), dtLimit[1])
      for (let row = head * headDim; row < (head + 1) * headDim; row++) {
        let sum = D[head]! * x[row]!
        for (let n = 0; n < dState; n++) {
          const i = row * dState + n
          const input = (discrete ? 1 : step) * x[row]! * B[group * dState + n]!
          state[i] = Math.exp(step * A[head]!) * state[i]! + input
          sum += state[i] * C[group * dState + n]!
        }
        out[row] = sum
      }
    }
    return out
  })
  return { y, state }
}
