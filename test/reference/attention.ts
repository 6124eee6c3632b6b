// Causal attention in which a token sees the last `window` tokens, itself included (Vaswani et al.,
// 2017; Beltagy et al., "Longformer", 2020; grouped heads: Ainslie et al., 2023), over a whole
// sequence from its first token.

export interface AttentionShape {
  heads: number
  kvHeads: number
  headDim: number
  window: number
  scale: number
}

/** q has heads · headDim numbers a token, k and v kvHeads · headDim. */
export function slidingWindowAttention(
  q: number[][],
  k: number[][],
  v: number[][],
  { heads, kvHeads, headDim, window, scale }: AttentionShape,
): number[][] {
  const headOf = (token: number[], head: number) =>
    token.slice(head * headDim, (head + 1) * headDim)
  return q.map((token, t) =>
    Array.from({ length: heads }, (_, head) => {
      const kvHead = Math.floor(head / (heads / kvHeads))
      const query = headOf(token, head)
      const scores: number[] = []
      const seen: number[][] = []
      for (let s = 0; s <= t; s++) {
        if (t - s >= window) continue
        const key = headOf(k[s]!, kvHead)
        scores.push(scale * query.reduce((sum, x, d) => sum + x * key[d]!, 0))
        seen.push(headOf(v[s]!, kvHead))
      }
      const weights = softmax(scores)
      return query.map((_, d) => weights.reduce((sum, w, s) => sum + w * seen[s]![d]!, 0))
    }).flat(),
  )
}

export function softmax(scores: number[]): number[] {
  const largest = Math.max(...scores)
  const powers = scores.map((score) => Math.exp(score - largest))
  const sum = powers.reduce((total, power) => total + power, 0)
  return powers.map((power) => power / sum)
}
