// Random inputs of mamba2Update, and what the references of its parts make of them.

import type { Device } from '../../lib/operations/device.js'
import type { Mamba2Tensors } from '../../lib/operations/arguments.js'
import type { DType } from '../../lib/operations/tensor.js'
import { silu } from '../reference/activations.js'
import { causalConvolution } from '../reference/convolution.js'
import { type StateSpaceParameters, stateSpaceRecurrence } from '../reference/state-space.js'
import { rounded, rowsOf, seededNormals, unwritten, upload } from './arrays.js'
import { newTokens, randomBatch, ringsAfter } from './sequences.js'
import { inSlots, slotsOf } from './slots.js'

export interface Mamba2Shape {
  /** Tokens that each sequence has seen before. */
  positions: readonly number[]
  heads: number
  headDim: number
  dState: number
  groups: number
  /** Taps of the convolution. */
  width: number
}

/** A case whose activations are exact in `activationType`. */
export function randomMamba2(
  shape: Mamba2Shape,
  {
    convBias = true,
    dtLimit = [0, Infinity] as readonly [number, number],
    activationType = 'float32' as DType,
    discrete = false,
    activation = 'silu' as 'silu' | 'none',
    columns = 'zxBCdt' as 'zxBCdt' | 'xBCzdt',
  } = {},
) {
  const { positions, heads, headDim, dState, groups, width } = shape
  const normals = seededNormals(heads * headDim + dState)
  const activations = (count: number) => rounded(normals(count), activationType)
  const inner = heads * headDim
  const channels = inner + 2 * groups * dState
  const batch = positions.length
  const parameters: StateSpaceParameters = {
    heads,
    headDim,
    dState,
    groups,
    A: Array.from({ length: heads }, (_, h) => Math.fround(-(2 ** ((h % 8) - 4)))),
    D: normals(heads),
    dtBias: normals(heads),
    dtLimit,
    discrete,
  }
  return {
    shape,
    activation,
    columns,
    activationType,
    parameters,
    channels,
    /** The inputs of the convolution that each sequence had, and its new one. */
    convolved: randomBatch(activations, { positions: [...positions], length: 1, cols: channels }),
    z: rowsOf(activations(batch * inner), inner),
    dt: rowsOf(activations(batch * heads), heads),
    convWeight: normals(channels * width, 0.5),
    convBias: convBias ? normals(channels) : undefined,
    ssmState: normals(batch * inner * dState),
  }
}

export type Mamba2Case = ReturnType<typeof randomMamba2>

export function mamba2Tensors(device: Device, given: Mamba2Case): Mamba2Tensors {
  const { shape, activationType, parameters, channels, convolved, z, dt } = given
  const { positions, heads, headDim, dState, width } = shape
  const batch = positions.length
  const places = slotsOf(batch)
  const xBC = rowsOf(newTokens(convolved), channels)
  const zxBCdt = z.flatMap((row, b) =>
    given.columns === 'zxBCdt' ? [...row, ...xBC[b]!, ...dt[b]!] : [...xBC[b]!, ...row, ...dt[b]!],
  )
  const floats = (dimensions: number[], values: number[]) =>
    upload(device, 'float32', dimensions, values)
  return {
    zxBCdt: upload(device, activationType, [batch, zxBCdt.length / batch], zxBCdt),
    convWeight: floats([channels, width], given.convWeight),
    convBias: given.convBias && floats([channels], given.convBias),
    convState: upload(
      device,
      activationType,
      [places.slots, width, channels],
      inSlots(places, ringsAfter(convolved, 0, width)),
    ),
    A: floats([heads], parameters.A),
    D: floats([heads], parameters.D),
    dtBias: floats([heads], parameters.dtBias),
    ssmState: floats([places.slots, heads, headDim, dState], inSlots(places, given.ssmState)),
    position: upload(device, 'uint32', [batch], positions),
    rows: upload(device, 'uint32', [batch], places.rows),
    out: unwritten(device, [batch, heads * headDim], activationType),
    squares: unwritten(device, [batch, heads]),
  }
}

/** Results, flat as the tensors hold them. */
export function expectedMamba2(given: Mamba2Case, normBeforeGate: boolean) {
  const { shape, parameters, convolved, z, dt, convWeight, convBias } = given
  const { positions, heads, headDim, dState, groups, width } = shape
  const states = rowsOf(given.ssmState, heads * headDim * dState)
  const inner = heads * headDim
  const places = slotsOf(positions.length)
  const results = positions.map((_, b) => {
    const weight = rowsOf(convWeight, width)
    const xBC = causalConvolution(convolved.sequences[b]!, weight, convBias, given.activation).at(
      -1,
    )!
    const token = {
      x: xBC.slice(0, inner),
      B: xBC.slice(inner, inner + groups * dState),
      C: xBC.slice(inner + groups * dState),
      dt: dt[b]!,
    }
    const { y, state } = stateSpaceRecurrence([token], parameters, states[b]!)
    const out = y[0]!.map((value, i) => value * silu(z[b]![i]!))
    const squares = rowsOf(normBeforeGate ? y[0]! : out, headDim).map((row) =>
      row.reduce((sum, value) => sum + value * value, 0),
    )
    return { out, squares, state }
  })
  return {
    out: results.flatMap(({ out }) => out),
    squares: results.flatMap(({ squares }) => squares),
    ssmState: inSlots(
      places,
      results.flatMap(({ state }) => state),
    ),
    convState: inSlots(places, ringsAfter(convolved, 1, width)),
  }
}
