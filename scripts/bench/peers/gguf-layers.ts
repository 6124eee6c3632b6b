// What llama.cpp calls the tensors of each kind of block, and how it wants them: matrices in the type of the file,
// vectors and routers in float32.

import type { LayerDescription } from '../../../lib/models/blocks/blocks.js'
import { convDim } from '../../../lib/models/blocks/mamba2.js'
import type { Factor, Multiplier } from '../../../lib/weights/loader.js'
import type { Change, RowRun } from './gguf-source.js'

type LayerOf<Kind extends LayerDescription['config']['kind']> = Extract<
  LayerDescription,
  { config: { kind: Kind } }
>

/** A tensor of a GGUF file, and where it is from. */
export interface PlannedTensor {
  /** After the number of the block. */
  name: string
  /** The whole name of the tensor in the checkpoint. */
  source: string
  /** The fastest first; by default those of the source. */
  dimensions?: readonly number[]
  /** It is in the type of the file. */
  isMatrix: boolean
  change?: Change
}

/** What differs between architectures. */
export interface LayerStyle {
  /** llama.cpp multiplies what blocks add, by a number of its own: granite. */
  keepsOutMultiplier?: boolean
}

const matrix = (name: string, source: string, change?: Change): PlannedTensor => ({
  name: `${name}.weight`,
  source: `${source}.weight`,
  isMatrix: true,
  ...(change && { change }),
})

const vector = (
  name: string,
  source: string,
  dimensions?: readonly number[],
  change?: Change,
): PlannedTensor => ({
  name,
  source,
  isMatrix: false,
  ...(dimensions && { dimensions }),
  ...(change && { change }),
})

/** Adds `offset` to each element. */
export const plus = (offset: number): Change => (offset === 0 ? {} : { map: (x) => x + offset })

const negatedExp: Change = { map: (x) => -Math.exp(x) }

/** The tensors of a block, without the norm before it. */
export function layerTensors(layer: LayerDescription, style: LayerStyle): PlannedTensor[] {
  const { config } = layer
  const out = (multiplier: Multiplier | undefined): Change => {
    if (!multiplier || style.keepsOutMultiplier) return {}
    return { factor: multiplier.weight }
  }
  switch (config.kind) {
    case 'mamba2':
      return mamba2Tensors(layer as LayerOf<'mamba2'>, out(config.outMultiplier))
    case 'full_attention':
      return attentionTensors(layer as LayerOf<'full_attention'>, out(config.outMultiplier))
    case 'mlp':
      return mlpTensors(layer as LayerOf<'mlp'>, out(config.outMultiplier))
    case 'short_conv':
      return shortConvTensors(layer as LayerOf<'short_conv'>)
    case 'gated_delta_net':
      return deltaTensors(layer as LayerOf<'gated_delta_net'>)
    case 'experts':
      return expertTensors(layer as LayerOf<'experts'>)
    default:
      throw new Error(`[writeModelGguf] ${layer.path}: llama.cpp has no ${config.kind}`)
  }
}

function without(layer: LayerDescription, bias: boolean): (name: string) => string {
  if (bias) throw new Error(`[writeModelGguf] ${layer.path}: biases of matrices are not written`)
  return (name) => `${layer.path}.${name}`
}

function mamba2Tensors(layer: LayerOf<'mamba2'>, out: Change): PlannedTensor[] {
  const { config, names } = layer
  const { dInner, nGroups, numHeads, dConv, hasGatedNorm = true } = config
  const path = without(layer, config.projectionBias)
  const channels = convDim(config)
  return [
    // Rows in the order z, x, B, C, dt, here as there.
    matrix('ssm_in', path(names.inProj), factorOf(config.inMultiplier)),
    vector('ssm_conv1d.weight', path(names.convWeight), [dConv, channels]),
    vector('ssm_conv1d.bias', path(names.convBias)),
    vector('ssm_dt.bias', path(names.dtBias!)),
    // A itself, not its logarithm.
    vector('ssm_a', path(names.decay!), [1, numHeads], negatedExp),
    vector('ssm_d', path(names.D), [1, numHeads]),
    ...(hasGatedNorm
      ? [vector('ssm_norm.weight', path(names.gatedNorm!), [dInner / nGroups, nGroups])]
      : []),
    matrix('ssm_out', path(names.outProj), out),
  ]
}

const factorOf = (multiplier: { weight: Factor } | undefined): Change =>
  multiplier ? { factor: multiplier.weight } : {}

function attentionTensors(layer: LayerOf<'full_attention'>, out: Change): PlannedTensor[] {
  const { config, names } = layer
  const { qkNormOffset = 0 } = config
  const path = without(layer, config.qkvBias || config.outBias)
  const [q, k, v] = names.projections
  return [
    // With a gate of the output, each head of q is followed by its gate, here as there.
    matrix('attn_q', path(q), factorOf(config.qMultiplier)),
    matrix('attn_k', path(k!), factorOf(config.kMultiplier)),
    matrix('attn_v', path(v!), factorOf(config.vMultiplier)),
    matrix('attn_output', path(names.outProj), out),
    ...(names.qNorm === undefined
      ? []
      : [
          vector('attn_q_norm.weight', path(names.qNorm), undefined, plus(qkNormOffset)),
          vector('attn_k_norm.weight', path(names.kNorm!), undefined, plus(qkNormOffset)),
        ]),
  ]
}

function mlpTensors(layer: LayerOf<'mlp'>, out: Change): PlannedTensor[] {
  const { config, names } = layer
  const { dInner, gated, outputGate, inMultiplier } = config
  const path = without(layer, config.bias)
  // Beside experts it is a shared one.
  const end = outputGate ? '_shexp' : ''
  if (!gated) {
    return [
      matrix(`ffn_up${end}`, path(names.inProj), factorOf(inMultiplier)),
      matrix(`ffn_down${end}`, path(names.outProj), out),
    ]
  }
  const isFused = names.gateProj === undefined
  const half = (first: number): Change => (isFused ? { rows: [{ first, count: dInner }] } : {})
  return [
    matrix(`ffn_gate${end}`, path(names.inProj), { ...half(0), ...factorOf(inMultiplier) }),
    matrix(`ffn_up${end}`, path(names.gateProj ?? names.inProj), half(dInner)),
    matrix(`ffn_down${end}`, path(names.outProj), out),
    ...(outputGate ? [gateOf(path(names.outputGate!))] : []),
  ]
}

/** A matrix of one row is a vector there. */
function gateOf(source: string): PlannedTensor {
  return { name: 'ffn_gate_inp_shexp.weight', source: `${source}.weight`, isMatrix: false }
}

function shortConvTensors(layer: LayerOf<'short_conv'>): PlannedTensor[] {
  const { config, names } = layer
  const path = without(layer, config.projectionBias || config.convBias)
  const { dConv, dInner } = config
  return [
    matrix('shortconv.in_proj', path(names.inProj)),
    vector('shortconv.conv.weight', path(names.convWeight), [dConv, dInner]),
    matrix('shortconv.out_proj', path(names.outProj)),
  ]
}

function deltaTensors(layer: LayerOf<'gated_delta_net'>): PlannedTensor[] {
  const { config, names } = layer
  const { numKeyHeads, numHeads, keyDim, valueDim, dConv } = config
  if (keyDim !== valueDim) {
    throw new Error(`[writeModelGguf] ${layer.path}: heads of keys and values differ`)
  }
  const path = without(layer, false)
  const keys = numKeyHeads * keyDim
  const values = numHeads * valueDim
  // Heads of values that share a head of keys lie together here, and numKeyHeads apart there.
  const tiled = (first: number, size: number): RowRun[] =>
    Array.from({ length: numHeads }, (_, i) => {
      const head = (i % numKeyHeads) * (numHeads / numKeyHeads) + Math.floor(i / numKeyHeads)
      return { first: first + head * size, count: size }
    })
  const each: Change = { rows: tiled(0, 1) }
  const wide: Change = { rows: tiled(0, valueDim) }
  const qkv: Change = { rows: [{ first: 0, count: 2 * keys }, ...tiled(2 * keys, valueDim)] }
  const columns = Uint32Array.from(
    tiled(0, valueDim).flatMap(({ first, count }) =>
      Array.from({ length: count }, (_, i) => first + i),
    ),
  )
  return [
    matrix('attn_qkv', path(names.inProjQkv), qkv),
    matrix('attn_gate', path(names.inProjZ), wide),
    matrix('ssm_beta', path(names.inProjB), each),
    matrix('ssm_alpha', path(names.inProjA), each),
    vector('ssm_conv1d.weight', path(names.convWeight), [dConv, 2 * keys + values], qkv),
    vector('ssm_dt.bias', path(names.dtBias), undefined, each),
    vector('ssm_a', path(names.aLog), undefined, { ...each, ...negatedExp }),
    vector('ssm_norm.weight', path(names.gatedNorm)),
    matrix('ssm_out', path(names.outProj), { columns }),
  ]
}

function expertTensors(layer: LayerOf<'experts'>): PlannedTensor[] {
  const { config, names, path } = layer
  const { numExperts, dInner, gated, hasRouterBias } = config
  if (!gated || names.gateProj !== undefined || hasRouterBias) {
    throw new Error(`[writeModelGguf] ${path}: only gated experts of one matrix are written`)
  }
  const source = `${path}.${names.inProj}`
  const half = (first: number): Change => ({
    rows: Array.from({ length: numExperts }, (_, expert) => ({
      first: expert * 2 * dInner + first,
      count: dInner,
    })),
  })
  return [
    { name: 'ffn_gate_inp.weight', source: `${path}.${names.router}.weight`, isMatrix: false },
    matrix('ffn_gate_exps', source, half(0)),
    matrix('ffn_up_exps', source, half(dInner)),
    matrix('ffn_down_exps', `${path}.${names.outProj}`),
  ]
}
