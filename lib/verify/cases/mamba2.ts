// What a Mamba-2 layer does between its projections: convolution, recurrence, gated norm.

import type { Mamba2Options } from '../../operations/arguments.js'
import type { ActivationType } from '../../operations/device.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Inputs } from '../inputs.js'
import { type Case, EPS, MODELS, type Recordable, writing } from './case.js'

/** The sizes of a layer's state, and of the batch that runs through it. */
export interface Layer {
  batch: number
  heads: number
  headDim: number
  dState: number
  groups: number
}

const WIDTH = 4 // taps of the convolution

const SMALL: readonly Layer[] = [
  { batch: 1, heads: 1, headDim: 1, dState: 1, groups: 1 },
  { batch: 3, heads: 4, headDim: 3, dState: 17, groups: 2 },
  { batch: 2, heads: 2, headDim: 65, dState: 132, groups: 1 },
]
const LARGE: readonly Layer[] = MODELS.map((model) => ({ batch: 1, ...model }))

const channelsOf = ({ heads, headDim, dState, groups }: Layer) =>
  heads * headDim + 2 * groups * dState

const sizeOf = ({ batch, heads, headDim, dState, groups }: Layer) =>
  `${batch} x ${heads} x ${headDim} x ${dState}${groups > 1 ? `, ${groups} groups` : ''}`

/** Tokens seen before: from none to more than the convolution is wide. */
const positionsOf = (batch: number) => Array.from({ length: batch }, (_, b) => 3 * b)

/** What a model learns for each head. */
function headParameters(inputs: Inputs, heads: number) {
  return {
    A: inputs.floats([heads], 0.9, -1),
    D: inputs.floats([heads]),
    dtBias: inputs.floats([heads], 1, -1),
  }
}

/** A convolution alone: of a short convolution, or of a layer of Mamba-2. */
export interface Convolution {
  batch: number
  channels: number
  width: number
  activation: 'silu' | 'none'
  gated: boolean
}

function convolution(
  inputs: Inputs,
  { batch, channels, width, activation, gated }: Convolution,
  length: number | undefined,
): Recordable {
  const places = inputs.places(batch)
  const leading = length === undefined ? [batch] : [batch, length]
  const x = () => inputs.activations([...leading, channels])
  const tensors = {
    x: x(),
    // What is convolved is rounded as the ring holds it: by nothing here.
    inputGate: gated ? inputs.powersOfTwo([...leading, channels]) : undefined,
    outputGate: gated ? x() : undefined,
    weight: inputs.floats([channels, width], 0.5),
    bias: inputs.floats([channels]),
    state: inputs.rings(places, [width, channels]),
    position: inputs.integers(positionsOf(batch)),
    rows: places.rows,
    out: inputs.activationResult([...leading, channels]),
  }
  return {
    record: (cl) =>
      length === undefined
        ? cl.conv1dUpdate(tensors, { activation })
        : cl.conv1dPrefill(tensors, { activation }),
    outputs: [tensors.out, tensors.state],
  }
}

function recurrence(
  inputs: Inputs,
  layer: Layer,
  length: number | undefined,
  discrete = false,
): Recordable {
  const { batch, heads, headDim, dState, groups } = layer
  const leading = length === undefined ? [batch] : [batch, length]
  // So that results are about 1, whatever d_state is.
  const scale = 1 / Math.sqrt(dState)
  const places = inputs.places(batch)
  const tensors = {
    x: inputs.activations([...leading, heads * headDim]),
    dt: inputs.activations([...leading, heads]),
    ...headParameters(inputs, heads),
    B: inputs.activations([...leading, groups * dState], scale),
    C: inputs.activations([...leading, groups * dState]),
    state: inputs.state(places, [heads, headDim, dState], scale),
    rows: places.rows,
    out: inputs.activationResult([...leading, heads * headDim]),
  }
  return {
    record: (cl) =>
      length === undefined
        ? cl.ssdUpdate(tensors, { groups, discrete })
        : cl.ssdChunkScan(tensors, { groups, discrete }),
    outputs: [tensors.out, tensors.state],
  }
}

function wholeUpdate(inputs: Inputs, layer: Layer, options: Mamba2Options): Recordable {
  const { batch, heads, headDim, dState, groups } = layer
  const channels = channelsOf(layer)
  const places = inputs.places(batch)
  const tensors = {
    zxBCdt: inputs.activations([batch, heads * headDim + channels + heads]),
    convWeight: inputs.floats([channels, WIDTH], 0.5),
    convBias: inputs.floats([channels], 0.1),
    convState: inputs.rings(places, [WIDTH, channels]),
    ...headParameters(inputs, heads),
    ssmState: inputs.state(places, [heads, headDim, dState], 1 / Math.sqrt(dState)),
    position: inputs.integers(positionsOf(batch)),
    rows: places.rows,
    out: inputs.activationResult([batch, heads * headDim]),
    squares: inputs.result([batch, heads]),
  }
  const { out, squares, convState, ssmState } = tensors
  return {
    record: (cl) => cl.mamba2Update(tensors, { groups, ...options }),
    outputs: [out, squares, convState, ssmState],
  }
}

function gatedNorm(
  inputs: Inputs,
  rows: number,
  cols: number,
  options: { groups: number; normBeforeGate: boolean },
): Recordable {
  const x = inputs.activations([rows, cols])
  const z = inputs.activations([rows, cols], 3)
  const weight = inputs.floats([cols], 0.5, 1)
  const out: Tensor = inputs.activationResult([rows, cols])
  return writing(out, (cl) => cl.gatedRmsNorm(x, z, weight, out, { eps: EPS, ...options }))
}

/** What distinguishes one layer of Mamba-2 from another, besides its sizes. */
export type LayerVariant = Omit<Mamba2Options, 'groups' | 'dtLimit'>

/** That of Llamba and Mohawk. */
const DISCRETE: LayerVariant = { discrete: true, activation: 'none', columns: 'xBCzdt' }

const variantOf = ({ normBeforeGate, discrete }: LayerVariant) =>
  (normBeforeGate ? ', norm before gate' : '') + (discrete ? ', discrete' : '')

/** All of a layer between its projections, for one token. */
export function updateCase(
  layer: Layer,
  activationType: ActivationType,
  variant: LayerVariant,
): Case {
  return {
    operation: 'mamba2_update',
    dtype: activationType,
    activationType,
    shape: sizeOf(layer) + variantOf(variant),
    build: (inputs) => wholeUpdate(inputs, layer, variant),
  }
}

/** The recurrence over the tokens of a prompt. */
export function scanCase(
  layer: Layer,
  activationType: ActivationType,
  length: number,
  { discrete = false }: LayerVariant = {},
): Case {
  return {
    operation: 'ssd_chunk_scan',
    dtype: activationType,
    activationType,
    shape: `${length} tokens, ${sizeOf(layer)}${variantOf({ discrete })}`,
    build: (inputs) => recurrence(inputs, layer, length, discrete),
  }
}

const convolutionOf = (layer: Layer): Convolution => ({
  batch: layer.batch,
  channels: channelsOf(layer),
  width: WIDTH,
  activation: 'silu',
  gated: false,
})

const shapeOf = ({ batch, channels, width, activation, gated }: Convolution, length?: number) =>
  `${batch} x ${length === undefined ? '' : `${length} x `}${channels}` +
  (width === WIDTH ? '' : `, width ${width}`) +
  (activation === 'silu' ? '' : `, no activation`) +
  (gated ? ', gated' : '')

/** For one token, or for a chunk of `length`. */
export function convolutionCase(
  convolved: Convolution,
  activationType: ActivationType,
  length: number | undefined,
): Case {
  return {
    activationType,
    dtype: activationType,
    operation: length === undefined ? 'conv1d_update' : 'conv1d_prefill',
    shape: shapeOf(convolved, length),
    build: (inputs) => convolution(inputs, convolved, length),
  }
}

function* discreteCases(activationType: ActivationType): Generator<Case> {
  for (const layer of SMALL) {
    yield {
      activationType,
      dtype: activationType,
      operation: 'ssd_update',
      shape: sizeOf(layer) + variantOf(DISCRETE),
      build: (inputs) => recurrence(inputs, layer, undefined, true),
    }
    yield updateCase(layer, activationType, DISCRETE)
    yield scanCase(layer, activationType, 65, DISCRETE)
  }
}

/** Convolutions of other widths, without activation, and with the gates of short convolutions. */
function* shortConvolutionCases(activationType: ActivationType): Generator<Case> {
  for (const [channels, width, gated] of [
    [17, 3, true],
    [1024, 3, true],
    [33, 7, true],
    [33, 16, false],
  ] as const) {
    const convolved: Convolution = { batch: 2, channels, width, activation: 'none', gated }
    for (const length of [undefined, 1, 2, 33]) {
      yield convolutionCase(convolved, activationType, length)
    }
  }
}

export function* mamba2Cases(activationType: ActivationType): Generator<Case> {
  for (const layer of [...SMALL, ...LARGE]) {
    const large = LARGE.includes(layer)
    const given = { activationType, dtype: activationType, large }
    const shape = sizeOf(layer)
    const convolved = convolutionOf(layer)
    yield { ...convolutionCase(convolved, activationType, undefined), large }
    yield {
      ...given,
      operation: 'ssd_update',
      shape,
      build: (inputs) => recurrence(inputs, layer, undefined),
    }
    for (const normBeforeGate of [false, true]) {
      yield { ...updateCase(layer, activationType, { normBeforeGate }), large }
    }
    // Shorter than the convolution is wide, one past a chunk, several chunks.
    for (const length of large ? [128] : [1, 2, 65, 130]) {
      yield { ...convolutionCase(convolved, activationType, length), large }
      yield { ...scanCase(layer, activationType, length), large }
    }
  }
  // Of many sequences, which threads share.
  const many = { ...SMALL.at(-1)!, batch: 30 }
  yield convolutionCase(convolutionOf(many), activationType, undefined)
  yield* discreteCases(activationType)
  yield* shortConvolutionCases(activationType)
  for (const [rows, cols, groups] of [
    [1, 1, 1],
    [3, 34, 2],
    [1, 4096, 1],
    [64, 4096, 1],
  ] as const) {
    for (const normBeforeGate of [false, true]) {
      const order = normBeforeGate ? ', norm before gate' : ''
      yield {
        activationType,
        dtype: activationType,
        operation: 'gated_rms_norm',
        shape: `${rows} x ${cols}${groups > 1 ? `, ${groups} groups` : ''}${order}`,
        build: (inputs) => gatedNorm(inputs, rows, cols, { groups, normBeforeGate }),
      }
    }
  }
}
