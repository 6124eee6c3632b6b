// Root mean square norms of one row (Zhang and Sennrich, 2019), and the gated one of Mamba-2.

import { silu } from './activations.js'

export function rmsNorm(row: number[], weight: number[], eps: number): number[] {
  const meanSquare = row.reduce((sum, x) => sum + x * x, 0) / row.length
  return row.map((x, i) => (x / Math.sqrt(meanSquare + eps)) * weight[i]!)
}

export function gatedRmsNorm(
  row: number[],
  gate: number[],
  weight: number[],
  options: { eps: number; groups: number; normBeforeGate: boolean },
): number[] {
  const { eps, groups, normBeforeGate } = options
  const gated = (values: number[]) => values.map((x, i) => x * silu(gate[i]!))
  const normed = (values: number[]) => {
    const size = values.length / groups
    return Array.from({ length: groups }, (_, g) => [g * size, (g + 1) * size] as const).flatMap(
      ([start, end]) => rmsNorm(values.slice(start, end), weight.slice(start, end), eps),
    )
  }
  return normBeforeGate ? gated(normed(row)) : normed(gated(row))
}
