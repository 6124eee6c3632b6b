// The `ssm_cfg` of mamba_ssm: keyword arguments of its Mamba2 module, with its defaults. Rene and
// the state-spaces checkpoints share it. (mamba_ssm/modules/mamba2.py)

import type { Mamba2Config } from '../blocks/mamba2.js'
import type { ConfigReader } from '../config-reader.js'

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
