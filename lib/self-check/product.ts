// Holds matrix products of a device against float64 arithmetic of the host, at a size where a GPU takes
// the very path that prompts take: small probes have passed where large products were wrong.
//
// Some outputs are held one by one. All others are held row by row: a sum of the row's outputs under
// random signs, against the product of the row with the same sum of the weight's rows. The errors that
// the tolerance allows nearly cancel out in it, and one output that is wrong does not.

import type { Signal } from '../support/abort.js'
import type { ActivationType, Device } from '../operations/device.js'
import { recordLinear } from '../models/blocks/block.js'
import type { LinearOptions } from '../operations/arguments.js'
import type { Tensor } from '../operations/tensor.js'
import { TOLERANCES, excess, type WorstElement, worstElement } from '../verify/tolerance.js'
import { EPS } from '../verify/cases/case.js'
import { Inputs, SharedNumbers } from '../verify/inputs.js'
import type { Outcome } from '../verify/verify.js'
import { numbersOf } from '../weights/convert.js'
import { formatName, kindOf, type WeightFormat } from '../weights/formats/formats.js'

export interface ProductSize {
  /** Tokens of a prompt. */
  rows: number
  /** Columns of the weight: a multiple of 128. */
  inputs: number
  /** Rows of the weight. */
  outputs: number
  /** Outputs of each product that are held one by one. */
  probes: number
}

/** A product as a layer has it, on the device. */
interface Product {
  name: string
  /** (rows, inputs). */
  x: Tensor
  /** (rows, outputs). */
  out: Tensor
  options: LinearOptions
}

/** One product that was computed, and what the host makes of it. */
interface Held {
  name: string
  rows: number
  out: Float32Array
  dtype: Tensor['dtype']
  residual: Float32Array | undefined
  /** (rows, inputs). */
  x: Float32Array
  /** Of a norm, else undefined. */
  norm: { weight: Float32Array; eps: number } | undefined
  /** For each column, in which rows its outputs are held one by one. */
  probes: readonly (readonly number[])[]
  /** Those outputs, and what they should be. */
  actual: number[]
  expected: number[]
}

// Of sums under random signs (Hoeffding): one in 10^10 that are right is further off.
const DEVIATIONS = 7

/**
 * Multiplies as in_proj does, with the norm before it, and as out_proj does, with the residual after it:
 * a prompt, and one token. Rejects when the device cannot compute it, or with `signal.reason`.
 */
export async function checkProduct(
  device: Device,
  format: WeightFormat,
  activationType: ActivationType,
  size: ProductSize,
  signal?: Signal,
): Promise<Outcome> {
  const { rows, inputs: cols, outputs } = size
  const inputs = new Inputs(device, new SharedNumbers(), activationType, activationType)
  try {
    const weight = inputs.weight(format, outputs, cols)
    const products = [rows, 1].flatMap((count): Product[] => {
      const role = count === 1 ? 'step' : 'chunk'
      return [
        {
          name: 'norm',
          x: inputs.rowsToNorm('float32', [count, cols]),
          out: inputs.activationResult([count, outputs]),
          options: { role, norm: { weight: inputs.normWeight(cols), eps: EPS } },
        },
        {
          name: 'residual',
          x: inputs.activations([count, cols]),
          out: inputs.result([count, outputs]),
          options: { role, residual: inputs.floats([count, outputs]) },
        },
      ]
    })
    using list = device.record((cl) => {
      for (const { x, out, options } of products) {
        const role = x.rows === 1 ? 'step' : 'chunk'
        recordLinear(cl, x, { weight, bias: undefined }, out, { ...options, role })
      }
    })
    await list.run({ signal })
    const held = products.map((product) => hold(product, size.probes))
    const worst = await furthest(held, weight.readRows(), cols, outputs)
    return {
      operation: kindOf(format).product,
      dtype: `${activationType} x ${formatName(format)}`,
      shape: `${worst.rows} x ${cols} to ${outputs}, ${worst.name}`,
      passed: excess(worst) <= 1,
      error: worst.error,
      limit: worst.limit,
    }
  } finally {
    inputs.dispose()
  }
}

function hold({ name, x, out, options }: Product, count: number): Held {
  const { norm, residual } = options
  return {
    name,
    rows: x.rows,
    out: numbersOf(out) as Float32Array,
    dtype: out.dtype,
    residual: residual && (numbersOf(residual) as Float32Array),
    x: numbersOf(x) as Float32Array,
    norm: norm && { weight: numbersOf(norm.weight) as Float32Array, eps: norm.eps },
    probes: probesOf(x.rows, out.cols, count),
    actual: [],
    expected: [],
  }
}

// A row of x, after the norm if there is one: x / rms(x) * weight.
function rowOf({ x, norm }: Held, row: number, target: Float64Array): Float64Array {
  const cols = target.length
  for (let col = 0; col < cols; col++) target[col] = x[row * cols + col]!
  if (!norm) return target
  const scale = 1 / Math.sqrt(dot(target, target) / cols + norm.eps)
  for (let col = 0; col < cols; col++) target[col]! *= scale * norm.weight[col]!
  return target
}

// Columns as far apart as they can be, rows by the golden ratio, which leaves no large gap: no two in
// one tile, and at another place of each. One row is held as a whole.
function probesOf(rows: number, outputs: number, count: number): number[][] {
  if (rows === 1) return Array.from({ length: outputs }, () => [0])
  const probes: number[][] = Array.from({ length: outputs }, () => [])
  const step = Math.max(1, Math.floor(outputs / count))
  for (let i = 0; i < count; i++) {
    const row = Math.floor(((i * 0.6180339887498949) % 1) * rows)
    const column = (Math.floor((i * outputs) / count) + (i % step)) % outputs
    probes[column]!.push(row)
  }
  return probes
}

/** The place of a product that is furthest from what is allowed there. */
interface Furthest extends WorstElement {
  name: string
  rows: number
}

async function furthest(
  held: readonly Held[],
  readRow: (row: number, target: Float64Array) => void,
  cols: number,
  outputs: number,
): Promise<Furthest> {
  const signs = Float64Array.from({ length: outputs }, (_, n) => (hash(n) < 0.5 ? -1 : 1))
  const signed = new Float64Array(cols) // sum of the weight's rows under these signs
  const weightRow = new Float64Array(cols)
  const xRow = new Float64Array(cols)
  // Of products with one row, which each row of the weight meets.
  const onlyRows = held.map((product) =>
    product.rows === 1 ? rowOf(product, 0, new Float64Array(cols)) : undefined,
  )
  for (let n = 0; n < outputs; n++) {
    if (n % 256 === 0) await otherWork()
    readRow(n, weightRow)
    addTimes(signed, signs[n]!, weightRow)
    for (const [i, product] of held.entries()) {
      for (const row of product.probes[n]!) {
        const index = row * outputs + n
        const x = onlyRows[i] ?? rowOf(product, row, xRow)
        product.actual.push(product.out[index]!)
        product.expected.push(dot(weightRow, x) + (product.residual?.[index] ?? 0))
      }
    }
  }
  let worst: Furthest = { index: 0, error: 0, limit: 0, name: '', rows: 0 }
  const consider = (element: WorstElement, { name, rows }: Held) => {
    const further = excess(element) > excess(worst) || worst.rows === 0
    if (further) worst = { ...element, name, rows }
  }
  for (const product of held) {
    await otherWork()
    consider(worstElement(product.actual, product.expected, product.dtype)!, product)
    for (let row = 0; row < product.rows; row++) {
      const sum = dot(signed, rowOf(product, row, xRow))
      consider(signedSum(product, row, signs, sum), product)
    }
  }
  return worst
}

/** How far the sum of a row's outputs under the signs is from what it should be. */
function signedSum(
  { out, residual, dtype }: Held,
  row: number,
  signs: Float64Array,
  expected: number,
): WorstElement {
  const { absolute, relative } = TOLERANCES[dtype]
  const outputs = signs.length
  let sum = 0
  let squares = 0 // of what the tolerance allows each output
  for (let n = 0; n < outputs; n++) {
    const index = row * outputs + n
    sum += signs[n]! * (out[index]! - (residual?.[index] ?? 0))
    squares += (absolute + relative * Math.abs(out[index]!)) ** 2
  }
  const error = Math.abs(sum - expected)
  const limit = DEVIATIONS * Math.sqrt(squares)
  if (!Number.isFinite(error)) return { index: row * outputs, error: Infinity, limit: 0 }
  return { index: row * outputs, error, limit }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

// sums += factor * values.
function addTimes(sums: Float64Array, factor: number, values: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += factor * values[i]!
}

// A number from 0 to 1 that looks random.
function hash(n: number): number {
  let x = Math.imul(n + 1, 0x9e3779b1)
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b)
  return ((x ^ (x >>> 13)) >>> 0) / 2 ** 32
}

// Lets the event loop do what else there is, should this not be a process of its own.
function otherWork(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
