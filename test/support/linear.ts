// Options of matmul and quantizedMatmul, random, and what a reference makes of them.

import type { Device } from '../../lib/operations/device.js'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Activation, LinearOptions, LinearRole } from '../../lib/operations/arguments.js'
import type { DType } from '../../lib/operations/tensor.js'
import { gelu, relu2, silu } from '../reference/activations.js'
import { linear } from '../reference/linear.js'
import { rmsNorm } from '../reference/norms.js'
import { rounded, rowsOf, seededActivations, seededNormals, upload } from './arrays.js'
import { rowsToNorm, shortened, squaresToNorm } from './exact-halves.js'

export const ROLES: readonly LinearRole[] = ['step', 'chunk']

export interface LinearShape {
  rows: number
  inputs: number
  outputs: number
}

export interface LinearCase {
  title: string
  scale?: boolean
  bias?: boolean
  /** Groups of the norm. */
  norm?: number
  /** Parts of the given sums of squares, for each group. */
  squares?: number
  activation?: Activation
  gate?: boolean
  residual?: boolean
}

/** What models ask for, and everything at once. `groups` and `squares` must divide the inputs. */
export const LINEAR_CASES: readonly LinearCase[] = [
  { title: 'norm', norm: 1 },
  { title: 'norm in groups', norm: 2 },
  { title: 'norm by squares', norm: 1, squares: 4 },
  { title: 'norm in groups by squares', norm: 2, squares: 2, residual: true },
  { title: 'residual', residual: true },
  { title: 'bias, gelu', bias: true, activation: 'gelu' },
  { title: 'silu, gate', activation: 'silu', gate: true },
  { title: 'scale, relu2', scale: true, activation: 'relu2' },
  {
    title: 'all',
    scale: true,
    bias: true,
    norm: 2,
    squares: 1,
    activation: 'silu',
    gate: true,
    residual: true,
  },
]

/** Those whose groups and parts divide so many inputs. */
export const linearCases = (inputs: number) =>
  LINEAR_CASES.filter(({ norm = 1, squares = 1 }) => inputs % (norm * squares) === 0)

/**
 * x for a case, (rows, inputs) flat: about 1 / sqrt(inputs) each, whatever the number of inputs; with
 * `inHalf` and a norm such that float16 holds the normed rows of `linearCase` exactly.
 */
export function linearInput(
  { rows, inputs }: LinearShape,
  { norm }: LinearCase,
  dtype: DType,
  inHalf = false,
): number[] {
  if (inHalf && norm) return rowsToNorm(inputs, rows, inputs, norm)
  return seededActivations(inputs, dtype)(rows * inputs, 1 / Math.sqrt(inputs))
}

/**
 * Tensors for a case, and the result in double precision. `x` is (rows, inputs) flat. `inHalf`: as
 * `linearInput`.
 */
export function linearCase(
  device: Device,
  { rows, inputs, outputs }: LinearShape,
  given: LinearCase,
  outType: DType = 'float32',
  inHalf = false,
) {
  const normals = seededNormals(rows + inputs + outputs)
  const eps = 1e-3
  const bias = given.bias ? normals(outputs) : undefined
  const groups = given.norm ?? 1
  const parts = groups * (given.squares ?? 0)
  // So that results are about 1, whatever the number of inputs, for an x that has lost its scale.
  const lostScale = given.norm && (parts === 0 || inHalf)
  let normWeight = normals(inputs, lostScale ? 1 / Math.sqrt(inputs) : 1)
  if (inHalf) normWeight = normWeight.map((weight) => shortened(weight, 4))
  // Not those of x, so that an operation which computes its own is noticed.
  const squares = inHalf
    ? squaresToNorm(rows, rows * groups, parts / groups, inputs / groups)
    : normals(rows * parts).map((s) => Math.fround((s * s + 0.1) * inputs))
  const gate = rounded(normals(rows * outputs), outType)
  const residual = rounded(normals(rows * outputs), outType)
  const scale = given.scale ? normals(outputs) : undefined
  const floats = (shape: number[], values: number[]) => upload(device, 'float32', shape, values)
  const results = (shape: number[], values: number[]) => upload(device, outType, shape, values)
  const options: LinearOptions = {
    scale: scale && floats([outputs], scale),
    bias: bias && floats([outputs], bias),
    norm: given.norm
      ? {
          weight: floats([inputs], normWeight),
          eps,
          groups,
          ...(parts > 0 && { squares: floats([rows, parts], squares) }),
        }
      : undefined,
    activation: given.activation,
    gate: given.gate ? results([rows, outputs], gate) : undefined,
    residual: given.residual ? results([rows, outputs], residual) : undefined,
  }

  const normed = (row: number[], r: number) => {
    if (!given.norm) return row
    const size = inputs / groups
    return rowsOf(row, size).flatMap((group, g) => {
      const weight = normWeight.slice(g * size, (g + 1) * size)
      if (parts === 0) return rmsNorm(group, weight, eps)
      const count = parts / groups
      const start = r * parts + g * count
      const sum = squares.slice(start, start + count).reduce((a, b) => a + b, 0)
      return group.map((x, i) => (x / Math.sqrt(sum / size + eps)) * weight[i]!)
    })
  }
  const activated = { gelu, silu, relu2, none: (x: number) => x }[given.activation ?? 'none']
  const expected = (x: ArrayLike<number>, weight: number[][]) =>
    rowsOf(x, inputs).flatMap((row, r) =>
      linear(normed(row, r), weight).map((product, n) => {
        const i = r * outputs + n
        const sum = activated((scale?.[n] ?? 1) * product + (bias?.[n] ?? 0))
        const gated = given.gate ? sum * gate[i]! : sum
        return given.residual ? gated + residual[i]! : gated
      }),
    )
  return { options, expected, normed }
}

/** A GPU whose mat-mat kernels always take their larger tiles; any other device as it is, which has none. */
export function withLargeTiles(device: Device): Device {
  const { tuning } = device
  return tuning ? createDevice('metal', { tuning: { ...tuning, large_tiles: 1 } }) : device
}
