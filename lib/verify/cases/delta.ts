// What a gated DeltaNet layer does between its projections: one token, and many.

import type { ActivationType } from '../../operations/device.js'
import type { Inputs } from '../inputs.js'
import type { Case, Recordable } from './case.js'

/** The sizes of a layer's state, and of the batch that runs through it. */
interface Layer {
  batch: number
  keyHeads: number
  heads: number
  keyDim: number
  valueDim: number
}

const WIDTH = 4 // taps of the convolution

const SMALL: readonly Layer[] = [
  { batch: 1, keyHeads: 1, heads: 1, keyDim: 1, valueDim: 1 },
  { batch: 3, keyHeads: 2, heads: 4, keyDim: 17, valueDim: 3 },
  { batch: 2, keyHeads: 1, heads: 2, keyDim: 132, valueDim: 66 },
]

/** qwen3.5-0.8b. */
const LARGE: readonly Layer[] = [{ batch: 1, keyHeads: 16, heads: 16, keyDim: 128, valueDim: 128 }]

const sizeOf = ({ batch, keyHeads, heads, keyDim, valueDim }: Layer) =>
  `${batch} x ${heads} x ${valueDim} x ${keyDim}${keyHeads < heads ? `, ${keyHeads} key heads` : ''}`

/** What a model learns for each head. */
const headParameters = (inputs: Inputs, heads: number) => ({
  A: inputs.floats([heads], 0.9, -1),
  dtBias: inputs.floats([heads], 1, -1),
})

function update(inputs: Inputs, { batch, keyHeads, heads, keyDim, valueDim }: Layer): Recordable {
  const values = heads * valueDim
  const channels = 2 * keyHeads * keyDim + values
  const places = inputs.places(batch)
  const tensors = {
    qkv: inputs.activations([batch, channels]),
    z: inputs.activations([batch, values]),
    b: inputs.activations([batch, heads], 3),
    a: inputs.activations([batch, heads]),
    convWeight: inputs.floats([channels, WIDTH], 0.5),
    convState: inputs.rings(places, [WIDTH, channels]),
    ...headParameters(inputs, heads),
    state: inputs.state(places, [heads, valueDim, keyDim]),
    // From none to more than the convolution is wide.
    position: inputs.integers(Array.from({ length: batch }, (_, b) => 3 * b)),
    rows: places.rows,
    out: inputs.activationResult([batch, values]),
    squares: inputs.result([batch, heads]),
  }
  const { out, squares, convState, state } = tensors
  return {
    record: (cl) => cl.deltaUpdate(tensors),
    outputs: [out, squares, convState, state],
  }
}

function scan(inputs: Inputs, layer: Layer, length: number): Recordable {
  const { batch, keyHeads, heads, keyDim, valueDim } = layer
  const places = inputs.places(batch)
  const tensors = {
    q: inputs.activations([batch, length, keyHeads * keyDim]),
    k: inputs.activations([batch, length, keyHeads * keyDim]),
    v: inputs.activations([batch, length, heads * valueDim]),
    b: inputs.activations([batch, length, heads], 3),
    a: inputs.activations([batch, length, heads]),
    ...headParameters(inputs, heads),
    state: inputs.state(places, [heads, valueDim, keyDim]),
    rows: places.rows,
    out: inputs.activationResult([batch, length, heads * valueDim]),
  }
  return {
    record: (cl) => cl.deltaChunkScan(tensors),
    outputs: [tensors.out, tensors.state],
  }
}

/** The scan of a layer of qwen3.5-0.8b, for a prompt of so many tokens. */
export function largeDeltaScan(length: number, activationType: ActivationType): Case {
  const layer = LARGE[0]!
  return {
    activationType,
    dtype: activationType,
    large: true,
    operation: 'delta_chunk_scan',
    shape: `${length} tokens, ${sizeOf(layer)}`,
    build: (inputs) => scan(inputs, layer, length),
  }
}

export function* deltaCases(activationType: ActivationType): Generator<Case> {
  for (const layer of [...SMALL, ...LARGE]) {
    const large = LARGE.includes(layer)
    const given = { activationType, dtype: activationType, large }
    yield {
      ...given,
      operation: 'delta_update',
      shape: sizeOf(layer),
      build: (inputs) => update(inputs, layer),
    }
    // One token, one past a chunk, several chunks.
    for (const length of large ? [128] : [1, 65, 130]) {
      yield {
        ...given,
        operation: 'delta_chunk_scan',
        shape: `${length} tokens, ${sizeOf(layer)}`,
        build: (inputs) => scan(inputs, layer, length),
      }
    }
  }
}
