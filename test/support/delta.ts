// Random inputs of the operations on gated DeltaNet layers, and what the references make of them.

import type { DeltaScanTensors, DeltaUpdateTensors } from '../../lib/operations/arguments.js'
import type { ActivationType, Device } from '../../lib/operations/device.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { silu } from '../reference/activations.js'
import { causalConvolution } from '../reference/convolution.js'
import { type DeltaParameters, deltaRule, type DeltaToken } from '../reference/delta.js'
import { type Layout, rounded, rowsOf, seededNormals, unwritten, upload } from './arrays.js'
import { newTokens, randomBatch, ringsAfter } from './sequences.js'
import { inSlots, slotsOf } from './slots.js'

export interface DeltaShape {
  keyHeads: number
  heads: number
  keyDim: number
  valueDim: number
}

type Normals = ReturnType<typeof seededNormals>

function parametersOf(shape: DeltaShape, normals: Normals): DeltaParameters {
  return {
    ...shape,
    // From heads that remember for long to heads that forget at once.
    A: Array.from({ length: shape.heads }, (_, h) => Math.fround(-(2 ** (3 * (h % 4) - 6)))),
    dtBias: normals(shape.heads),
  }
}

/** Tokens of sequences before the rule, and the states that they find. */
export function randomDeltaScan(
  shape: DeltaShape & { batch: number; length: number },
  dtype: ActivationType = 'float32',
) {
  const { batch, length, keyHeads, heads, keyDim, valueDim } = shape
  const normals = seededNormals(length + heads)
  const activations = (count: number, scale?: number) => rounded(normals(count, scale), dtype)
  const sequences: DeltaToken[][] = Array.from({ length: batch }, () =>
    Array.from({ length }, () => ({
      q: activations(keyHeads * keyDim),
      k: activations(keyHeads * keyDim),
      v: activations(heads * valueDim),
      b: activations(heads, 3),
      a: activations(heads, 2),
    })),
  )
  const state = normals(batch * heads * valueDim * keyDim)
  return { shape, dtype, parameters: parametersOf(shape, normals), sequences, state }
}

export type DeltaScanCase = ReturnType<typeof randomDeltaScan>

/** Flat as tensors hold it. */
export function expectedDeltaScan({ shape, parameters, sequences, state }: DeltaScanCase) {
  const states = rowsOf(state, state.length / shape.batch)
  const results = sequences.map((tokens, b) => deltaRule(tokens, parameters, states[b]!))
  return {
    out: results.flatMap(({ o }) => o.flat()),
    state: inSlots(
      slotsOf(shape.batch),
      results.flatMap((result) => Array.from(result.state)),
    ),
  }
}

/** Tensors of the tokens `start` up to but not including `end`. `state` continues from another call. */
export function deltaScanTensors(
  device: Device,
  { shape, dtype, parameters, sequences, state }: DeltaScanCase,
  place: Layout['place'],
  { start = 0, end = shape.length, state: given = undefined as Tensor | undefined } = {},
): DeltaScanTensors {
  const { batch, heads, keyDim, valueDim } = shape
  const places = slotsOf(batch)
  const leading = [batch, end - start]
  const tokens = sequences.flatMap((sequence) => sequence.slice(start, end))
  const input = (name: keyof DeltaToken) =>
    place(
      device,
      [...leading, tokens[0]![name].length],
      tokens.flatMap((token) => token[name]),
    )
  return {
    q: input('q'),
    k: input('k'),
    v: input('v'),
    b: input('b'),
    a: input('a'),
    A: upload(device, 'float32', [heads], parameters.A),
    dtBias: upload(device, 'float32', [heads], parameters.dtBias),
    state:
      given ??
      upload(device, 'float32', [places.slots, heads, valueDim, keyDim], inSlots(places, state)),
    rows: upload(device, 'uint32', [batch], places.rows),
    out: unwritten(device, [...leading, heads * valueDim], dtype),
  }
}

/** One token of sequences that have come so far: with its convolution, its gate and its squares. */
export function randomDeltaUpdate(
  shape: DeltaShape & { positions: readonly number[]; width: number },
  dtype: ActivationType,
) {
  const { positions, keyHeads, heads, keyDim, valueDim, width } = shape
  const normals = seededNormals(heads * valueDim + keyDim)
  const activations = (count: number, scale?: number) => rounded(normals(count, scale), dtype)
  const channels = 2 * keyHeads * keyDim + heads * valueDim
  const batch = positions.length
  const given = { positions: [...positions], length: 1, cols: channels }
  return {
    shape,
    dtype,
    parameters: parametersOf(shape, normals),
    channels,
    /** The inputs of the convolution that each sequence had, and its new one. */
    convolved: randomBatch(activations, given),
    z: activations(batch * heads * valueDim),
    b: activations(batch * heads, 3),
    a: activations(batch * heads, 2),
    convWeight: normals(channels * width, 0.5),
    state: normals(batch * heads * valueDim * keyDim),
  }
}

export type DeltaUpdateCase = ReturnType<typeof randomDeltaUpdate>

export function deltaUpdateTensors(
  device: Device,
  given: DeltaUpdateCase,
  place: Layout['place'],
): DeltaUpdateTensors {
  const { shape, dtype, parameters, channels, convolved } = given
  const { positions, heads, keyDim, valueDim, width } = shape
  const batch = positions.length
  const places = slotsOf(batch)
  const floats = (dimensions: number[], values: number[]) =>
    upload(device, 'float32', dimensions, values)
  const rings = inSlots(places, ringsAfter(convolved, 0, width))
  return {
    qkv: place(device, [batch, channels], newTokens(convolved)),
    z: place(device, [batch, heads * valueDim], given.z),
    b: place(device, [batch, heads], given.b),
    a: place(device, [batch, heads], given.a),
    convWeight: floats([channels, width], given.convWeight),
    convState: upload(device, dtype, [places.slots, width, channels], rings),
    A: floats([heads], parameters.A),
    dtBias: floats([heads], parameters.dtBias),
    state: floats([places.slots, heads, valueDim, keyDim], inSlots(places, given.state)),
    position: upload(device, 'uint32', [batch], positions),
    rows: upload(device, 'uint32', [batch], places.rows),
    out: unwritten(device, [batch, heads * valueDim], dtype),
    squares: unwritten(device, [batch, heads]),
  }
}

/** Results, flat as the tensors hold them. */
export function expectedDeltaUpdate(given: DeltaUpdateCase) {
  const { shape, parameters, convolved, convWeight } = given
  const { positions, keyHeads, heads, keyDim, valueDim, width } = shape
  const batch = positions.length
  const states = rowsOf(given.state, heads * valueDim * keyDim)
  const [z, b, a] = [given.z, given.b, given.a].map((x) => rowsOf(x, x.length / batch))
  const places = slotsOf(batch)
  const keys = keyHeads * keyDim
  const results = positions.map((_, r) => {
    const qkv = causalConvolution(convolved.sequences[r]!, rowsOf(convWeight, width)).at(-1)!
    const token = {
      q: qkv.slice(0, keys),
      k: qkv.slice(keys, 2 * keys),
      v: qkv.slice(2 * keys),
      b: b![r]!,
      a: a![r]!,
    }
    const { o, state } = deltaRule([token], parameters, states[r]!)
    return {
      out: o[0]!.map((value, i) => value * silu(z![r]![i]!)),
      squares: rowsOf(o[0]!, valueDim).map((row) => row.reduce((sum, x) => sum + x * x, 0)),
      state: Array.from(state),
    }
  })
  return {
    out: results.flatMap(({ out }) => out),
    squares: results.flatMap(({ squares }) => squares),
    state: inSlots(
      places,
      results.flatMap(({ state }) => state),
    ),
    convState: inSlots(places, ringsAfter(convolved, 1, width)),
  }
}
