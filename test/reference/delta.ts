// The gated delta rule, one token after the other, in double precision (Yang, Kautz and Hatamizadeh, "Gated delta
// networks", 2024; gates and norms as in Qwen3.5). For each head, S (valueDim, keyDim):
//   S ← exp(A softplus(a + bias)) S,  S ← S + sigmoid(b) (v - S k) kᵀ,  o = S q
// with q / |q| / sqrt(keyDim) in the place of q, k / |k| in that of k.

import { softplus } from './activations.js'

export interface DeltaParameters {
  keyHeads: number
  heads: number
  keyDim: number
  valueDim: number
  A: number[]
  dtBias: number[]
}

/** One token: q and k have keyHeads · keyDim numbers, v heads · valueDim, b and a heads. */
export interface DeltaToken {
  q: number[]
  k: number[]
  v: number[]
  b: number[]
  a: number[]
}

const EPS = 1e-6

function toLength(x: number[], length: number): number[] {
  const scale = length / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) + EPS)
  return x.map((value) => value * scale)
}

/** Outputs of the tokens, and the state that they leave, (heads, valueDim, keyDim) flat. `initial` is not changed. */
export function deltaRule(
  tokens: DeltaToken[],
  { keyHeads, heads, keyDim, valueDim, A, dtBias }: DeltaParameters,
  initial: ArrayLike<number>,
): { o: number[][]; state: Float64Array } {
  const state = Float64Array.from(initial)
  const o = tokens.map(({ q, k, v, b, a }) => {
    const out = new Array<number>(heads * valueDim).fill(0)
    for (let head = 0; head < heads; head++) {
      const first = Math.floor(head / (heads / keyHeads)) * keyDim
      const query = toLength(q.slice(first, first + keyDim), 1 / Math.sqrt(keyDim))
      const key = toLength(k.slice(first, first + keyDim), 1)
      const decay = Math.exp(A[head]! * softplus(a[head]! + dtBias[head]!))
      const beta = 1 / (1 + Math.exp(-b[head]!))
      for (let row = head * valueDim; row < (head + 1) * valueDim; row++) {
        const S = state.subarray(row * keyDim, (row + 1) * keyDim)
        let held = 0
        for (let n = 0; n < keyDim; n++) {
          S[n]! *= decay
          held += S[n]! * key[n]!
        }
        const update = beta * (v[row]! - held)
        for (let n = 0; n < keyDim; n++) {
          S[n]! += update * key[n]!
          out[row]! += S[n]! * query[n]!
        }
      }
    }
    return out
  })
  return { o, state }
}
