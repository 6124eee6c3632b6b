// What families have from mamba_ssm: the names of its tensors, and its `ssm_cfg`, keyword arguments of its Mamba2
// module, with its defaults. (mamba_ssm/modules/mamba2.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { Mamba2Config, Mamba2Names } from '../blocks/mamba2.js'
import type { ConfigReader } from '../config-reader.js'
import type { TensorNames } from './tensor-names.js'

// The names of mamba_ssm and of everything that follows it.
const MAMBA_SSM_NAMES: TensorNames = {
  embedding: 'backbone.embedding',
  head: 'lm_head',
  finalNorm: 'backbone.norm_f.weight',
  block: 'backbone.layers',
}

/** What mamba_ssm calls the tensors of its Mamba2 module, and everything that follows it. */
export const MAMBA2_NAMES: Mamba2Names = {
  inProj: 'in_proj',
  outProj: 'out_proj',
  convWeight: 'conv1d.weight',
  convBias: 'conv1d.bias',
  dtBias: 'dt_bias',
  D: 'D',
  gatedNorm: 'norm.weight',
  decay: 'A_log',
}

/** A layer that is one block, a mixer after its norm, as mamba_ssm names it. */
export function mixerLayer(block: string, index: number) {
  return { path: `${block}.${index}.mixer`, norm: `${block}.${index}.norm.weight` }
}

const LAST_NORM = MAMBA_SSM_NAMES.finalNorm

/**
 * The names of a file whose tensors are named as mamba_ssm names them. A model inside another one has them
 * all under the name that it has there, such as `language_model.`, the head perhaps beside it.
 */
export function mambaSsmNames(tensors: ReadonlyMap<string, TensorEntry>): {
  prefix: string
  names: TensorNames
} {
  const places = tensors.has(LAST_NORM)
    ? [LAST_NORM]
    : [...tensors.keys()].filter((name) => name.endsWith(`.${LAST_NORM}`))
  const prefix = places.length === 1 ? places[0]!.slice(0, -LAST_NORM.length) : ''
  const { embedding, head, finalNorm, block } = MAMBA_SSM_NAMES
  const names = {
    ...MAMBA_SSM_NAMES,
    embedding: prefix + embedding,
    head: tensors.has(`${head}.weight`) ? head : prefix + head,
    finalNorm: prefix + finalNorm,
    block: prefix + block,
  }
  return { prefix, names }
}

// Arguments that decide how a model was initialised or is trained, not what it computes.
const WITHOUT_EFFECT = [
  'A_init_range',
  'chunk_size',
  'conv_init',
  'device',
  'dt_init_floor',
  'dt_max',
  'dt_min',
  'dtype',
  'layer_idx',
  'process_group',
  'sequence_parallel',
  'use_mem_eff_path',
]

const UNDERSTOOD = [
  'D_has_hdim',
  'bias',
  'conv_bias',
  'd_conv',
  'd_ssm',
  'd_state',
  'dt_limit',
  'expand',
  'headdim',
  'layer',
  'ngroups',
  'norm_before_gate',
  'rmsnorm',
]

/** Epsilon of every norm that mamba_ssm does not let a config choose. */
export const MAMBA_SSM_EPSILON = 1e-5

/** The Mamba-2 layers that an `ssm_cfg` describes. */
export function readSsmConfig(ssm: ConfigReader, dModel: number): Mamba2Config {
  ssm.onlyKnown([...WITHOUT_EFFECT, ...UNDERSTOOD])
  ssm.only('D_has_hdim', [false])
  ssm.only('rmsnorm', [true])
  const dInner = ssm.dimension('expand', 2) * dModel
  if (ssm.has('d_ssm') && ssm.dimension('d_ssm') !== dInner) {
    ssm.unsupported('has ssm_cfg.d_ssm other than expand * d_model, which is not implemented')
  }
  const headDim = ssm.dimension('headdim', 64)
  const nGroups = ssm.dimension('ngroups', 1)
  if (dInner % headDim !== 0) {
    ssm.invalid(`ssm_cfg.headdim ${headDim} does not divide expand * d_model, ${dInner}`)
  }
  const numHeads = dInner / headDim
  if (numHeads % nGroups !== 0) {
    ssm.invalid(`ssm_cfg.ngroups ${nGroups} does not divide the ${numHeads} heads`)
  }
  return {
    kind: 'mamba2',
    dInner,
    numHeads,
    headDim,
    nGroups,
    dState: ssm.dimension('d_state', 128),
    dConv: ssm.dimension('d_conv', 4),
    normGroups: nGroups,
    normBeforeGate: ssm.boolean('norm_before_gate', false),
    dtLimit: ssm.limits('dt_limit'),
    projectionBias: ssm.boolean('bias', false),
    convBias: ssm.boolean('conv_bias', true),
    normEpsilon: MAMBA_SSM_EPSILON,
  }
}

/** `size` rounded up to a multiple. */
export function roundUp(size: number, multiple: number): number {
  return Math.ceil(size / multiple) * multiple
}
