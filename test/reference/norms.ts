// Norms of one row: root mean square (Zhang and Sennrich, 2019), the gated one of Mamba-2, and with mean and variance
// (Ba, Kiros and Hinton, 2016).

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

export function layerNorm(
  row: number[],
  weight: number[],
  bias: number[] | undefined,
  eps: number,
) {
  const meanOf = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length
  const mean = meanOf(row)
  const variance = meanOf(row.map((x) => (x - mean) ** 2))
  return row.map((x, i) => ((x - mean) / Math.sqrt(variance + eps)) * weight[i]! + (bias?.[i] ?? 0))
}
