// A whole language model of Mamba-2, MLP and attention layers, one sequence from its first token, in
// double precision: h = embedding;  h = h + layer(norm(h)) for each layer;  logits = head(norm(h)).
// Tensors go by the names that mamba_ssm gives them.

import type { AttentionConfig } from '../../lib/models/blocks/attention.js'
import type { LayerConfig } from '../../lib/models/blocks/blocks.js'
import type { Mamba2Config } from '../../lib/models/blocks/mamba2.js'
import type { MlpConfig } from '../../lib/models/blocks/mlp.js'
import { gelu, silu } from './activations.js'
import { slidingWindowAttention } from './attention.js'
import { causalConvolution } from './convolution.js'
import { embedding, linear } from './linear.js'
import { gatedRmsNorm, rmsNorm } from './norms.js'
import { stateSpaceRecurrence } from './state-space.js'

/** The kinds of layers that this reference computes. */
export type ReferenceLayer = Extract<LayerConfig, { kind: 'mamba2' | 'mlp' | 'attention' }>

export interface ReferenceTensor {
  shape: readonly number[]
  values: readonly number[]
}

export interface ReferenceModel {
  layers: readonly ReferenceLayer[]
  normEpsilon: number
  /** Without a `lm_head.weight` here, the head is the embedding. */
  tensors: ReadonlyMap<string, ReferenceTensor>
}

/** The logits after each token. */
export function modelLogits(model: ReferenceModel, tokens: number[]): number[][] {
  const { layers, normEpsilon, tensors } = model
  const vector = (name: string) => [...tensors.get(name)!.values]
  const matrix = (name: string) => rowsOf(tensors.get(name)!)
  const table = matrix('backbone.embedding.weight')
  let hidden = embedding(tokens, table)
  for (const [index, layer] of layers.entries()) {
    const block = `backbone.layers.${index}`
    const weight = vector(`${block}.norm.weight`)
    const normed = hidden.map((row) => rmsNorm(row, weight, normEpsilon))
    const change = applyLayer(layer, normed, {
      vector: (name) => vector(`${block}.mixer.${name}`),
      matrix: (name) => matrix(`${block}.mixer.${name}`),
      has: (name) => tensors.has(`${block}.mixer.${name}`),
    })
    hidden = hidden.map((row, t) => row.map((x, i) => x + change[t]![i]!))
  }
  const finalNorm = vector('backbone.norm_f.weight')
  const head = tensors.has('lm_head.weight') ? matrix('lm_head.weight') : table
  const bias = tensors.has('lm_head.bias') ? vector('lm_head.bias') : undefined
  return hidden.map((row) => linear(rmsNorm(row, finalNorm, normEpsilon), head, bias))
}

interface LayerTensors {
  vector(name: string): number[]
  matrix(name: string): number[][]
  has(name: string): boolean
}

function rowsOf({ shape, values }: ReferenceTensor): number[][] {
  const rows = shape[0]!
  const cols = values.length / rows
  return Array.from({ length: rows }, (_, row) => values.slice(row * cols, (row + 1) * cols))
}

function applyLayer(layer: ReferenceLayer, tokens: number[][], tensors: LayerTensors): number[][] {
  if (layer.kind === 'mamba2') return mamba2(layer, tensors, tokens)
  return layer.kind === 'mlp' ? mlp(layer, tensors, tokens) : attention(layer, tensors, tokens)
}

function project(tensors: LayerTensors, name: string, tokens: number[][]): number[][] {
  const weight = tensors.matrix(`${name}.weight`)
  const bias = tensors.has(`${name}.bias`) ? tensors.vector(`${name}.bias`) : undefined
  return tokens.map((row) => linear(row, weight, bias))
}

function mamba2(config: Mamba2Config, tensors: LayerTensors, tokens: number[][]): number[][] {
  const { dInner, numHeads, headDim, dState, nGroups, dtLimit } = config
  const channels = dInner + 2 * nGroups * dState
  const projected = project(tensors, 'in_proj', tokens)
  const convolved = causalConvolution(
    projected.map((row) => row.slice(dInner, dInner + channels)),
    tensors.matrix('conv1d.weight'),
    tensors.has('conv1d.bias') ? tensors.vector('conv1d.bias') : undefined,
  )
  const { y } = stateSpaceRecurrence(
    convolved.map((row, t) => ({
      x: row.slice(0, dInner),
      B: row.slice(dInner, dInner + nGroups * dState),
      C: row.slice(dInner + nGroups * dState),
      dt: projected[t]!.slice(dInner + channels),
    })),
    {
      heads: numHeads,
      headDim,
      dState,
      groups: nGroups,
      A: tensors.vector('A_log').map((x) => -Math.exp(x)),
      D: tensors.vector('D'),
      dtBias: tensors.vector('dt_bias'),
      dtLimit,
    },
    new Array<number>(dInner * dState).fill(0),
  )
  const weight = tensors.vector('norm.weight')
  const normed = y.map((row, t) =>
    gatedRmsNorm(row, projected[t]!.slice(0, dInner), weight, {
      eps: config.normEpsilon,
      groups: config.normGroups,
      normBeforeGate: config.normBeforeGate,
    }),
  )
  return project(tensors, 'out_proj', normed)
}

function mlp(config: MlpConfig, tensors: LayerTensors, tokens: number[][]): number[][] {
  const activation = config.activation === 'gelu' ? gelu : silu
  let hidden = project(tensors, 'in_proj', tokens).map((row) => row.map(activation))
  if (config.gated) {
    const gates = project(tensors, 'gate_proj', tokens)
    hidden = hidden.map((row, t) => row.map((x, i) => x * gates[t]![i]!))
  }
  if (config.norm) {
    const weight = tensors.vector('norm.weight')
    hidden = hidden.map((row) => rmsNorm(row, weight, config.normEpsilon))
  }
  return project(tensors, 'out_proj', hidden)
}

function attention(config: AttentionConfig, tensors: LayerTensors, tokens: number[][]) {
  const { numHeads, numKvHeads, headDim, window, scale } = config
  const [queries, keys] = [numHeads * headDim, numKvHeads * headDim]
  const qkv = project(tensors, 'in_proj', tokens)
  const part = (start: number, end: number) => qkv.map((row) => row.slice(start, end))
  const attended = slidingWindowAttention(
    part(0, queries),
    part(queries, queries + keys),
    part(queries + keys, queries + 2 * keys),
    { heads: numHeads, kvHeads: numKvHeads, headDim, window, scale },
  )
  return project(tensors, 'out_proj', attended)
}
