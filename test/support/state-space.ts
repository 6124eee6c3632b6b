// Random inputs of the state-space operations, their reference results, and running them.

import type { ActivationType, Device } from '../../lib/operations/device.js'
import type { SsdTensors } from '../../lib/operations/arguments.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import {
  type StateSpaceParameters,
  type StateSpaceToken,
  stateSpaceRecurrence,
} from '../reference/state-space.js'
import { type Layout, rounded, rowsOf, seededNormals, unwritten, upload } from './arrays.js'
import { inSlots, slotsOf } from './slots.js'

export interface StateSpaceShape {
  batch: number
  length: number
  heads: number
  headDim: number
  dState: number
  groups: number
}

export interface StateSpaceCase {
  shape: StateSpaceShape
  dtype: ActivationType
  parameters: StateSpaceParameters
  /** (batch, length) */
  sequences: StateSpaceToken[][]
  /** (batch, heads, headDim, dState) flat */
  state: number[]
}

/** A case whose activations are exact in `dtype`. */
export function randomStateSpace(
  shape: StateSpaceShape,
  dtLimit: readonly [number, number] = [0, Infinity],
  dtype: ActivationType = 'float32',
  discrete = false,
): StateSpaceCase {
  const { batch, length, heads, headDim, dState, groups } = shape
  const normals = seededNormals(length + heads)
  const activations = (count: number, scale?: number) => rounded(normals(count, scale), dtype)
  return {
    shape,
    dtype,
    parameters: {
      heads,
      headDim,
      dState,
      groups,
      // From heads that remember for long to heads that forget at once.
      A: Array.from({ length: heads }, (_, h) => Math.fround(-(2 ** ((h % 8) - 4)))),
      D: normals(heads),
      dtBias: normals(heads),
      dtLimit,
      discrete,
    },
    sequences: Array.from({ length: batch }, () =>
      Array.from({ length }, () => ({
        x: activations(heads * headDim),
        dt: activations(heads, 2),
        B: activations(groups * dState),
        C: activations(groups * dState),
      })),
    ),
    state: normals(batch * heads * headDim * dState),
  }
}

/** What the recurrence makes of the case, flat as tensors hold it. */
export function expectedStateSpace({ shape, parameters, sequences, state }: StateSpaceCase) {
  const states = rowsOf(state, state.length / shape.batch)
  const results = sequences.map((tokens, b) => stateSpaceRecurrence(tokens, parameters, states[b]!))
  return {
    y: results.flatMap(({ y }) => y.flat()),
    state: inSlots(
      slotsOf(shape.batch),
      results.flatMap((r) => r.state),
    ),
  }
}

/**
 * Tensors of the tokens `start` up to but not including `end`: of three dimensions, or of two for a
 * single token when `single`. `state` continues from another call; its slots are those of `slotsOf`.
 */
export function stateSpaceTensors(
  device: Device,
  { shape, dtype, parameters, sequences, state }: StateSpaceCase,
  place: Layout['place'],
  range: { start?: number; end?: number; single?: boolean; state?: Tensor } = {},
): SsdTensors {
  const { start = 0, end = shape.length, single = false } = range
  const { batch, heads, headDim, dState } = shape
  const { slots, rows } = slotsOf(batch)
  const leading = single ? [batch] : [batch, end - start]
  const tokens = sequences.flatMap((sequence) => sequence.slice(start, end))
  const input = (name: keyof StateSpaceToken) =>
    place(
      device,
      [...leading, tokens[0]![name].length],
      tokens.flatMap((token) => token[name]),
    )
  const perHead = (values: number[]) => upload(device, 'float32', [heads], values)
  return {
    x: input('x'),
    dt: input('dt'),
    B: input('B'),
    C: input('C'),
    A: perHead(parameters.A),
    D: perHead(parameters.D),
    dtBias: perHead(parameters.dtBias),
    state:
      range.state ??
      upload(device, 'float32', [slots, heads, headDim, dState], inSlots({ slots, rows }, state)),
    rows: upload(device, 'uint32', [batch], rows),
    out: unwritten(device, [...leading, heads * headDim], dtype),
  }
}
