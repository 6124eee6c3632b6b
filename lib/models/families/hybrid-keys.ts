// What configurations of hybrids that follow transformers' Bamba say of their layers: `mamba_*` keys, attention as in
// Llama, and where one is gated, an MLP as in Llama. (transformers/models/bamba/modular_bamba.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { FullAttentionConfig, FullAttentionNames } from '../blocks/full-attention.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import { readRotary, type RotaryColumns } from '../blocks/rotary.js'
import type { ConfigReader } from '../config-reader.js'

/** What transformers calls the modules of attention in Llama and all that follow it. */
export const ATTENTION_NAMES: FullAttentionNames = {
  projections: ['q_proj', 'k_proj', 'v_proj'],
  outProj: 'o_proj',
}

/** What transformers calls the modules of a gated MLP in Llama and all that follow it. */
export const GATED_MLP_NAMES: MlpNames = {
  inProj: 'gate_proj',
  gateProj: 'up_proj',
  outProj: 'down_proj',
}

/** The Mamba-2 layers that keys as those of Bamba describe. `dInner` is expand * hidden_size unless it is given. */
export function readMambaKeys(
  config: ConfigReader,
  dModel: number,
  dInner = config.dimension('mamba_expand', 2) * dModel,
): Mamba2Config {
  const numHeads = config.dimension('mamba_n_heads')
  const isAuto = !config.has('mamba_d_head') || config.isValue('mamba_d_head', 'auto')
  const headDim = isAuto ? dInner / numHeads : config.dimension('mamba_d_head')
  if (numHeads * headDim !== dInner || !Number.isInteger(headDim)) {
    config.invalid(`mamba_n_heads ${numHeads} heads of mamba_d_head ${headDim} are not ${dInner}`)
  }
  const nGroups = config.dimension('mamba_n_groups', 1)
  if (numHeads % nGroups !== 0) {
    config.invalid(`mamba_n_groups ${nGroups} does not divide mamba_n_heads ${numHeads}`)
  }
  return {
    kind: 'mamba2',
    dInner,
    numHeads,
    headDim,
    nGroups,
    dState: config.dimension('mamba_d_state', 256),
    dConv: config.dimension('mamba_d_conv', 4),
    // The authors norm each group; mlx-lm norms the whole row.
    normGroups: nGroups,
    normBeforeGate: false,
    dtLimit: config.limits('time_step_limit'),
    projectionBias: config.boolean('mamba_proj_bias', false),
    convBias: config.boolean('mamba_conv_bias', true),
    normEpsilon: config.epsilon('rms_norm_eps'),
  }
}

/** Attention over all positions as Llama's keys describe it. Without `rotary` it knows no positions. */
export function readAttentionKeys(
  config: ConfigReader,
  dModel: number,
  { rotary, scale }: { rotary?: RotaryColumns | undefined; scale?: number },
): FullAttentionConfig {
  const numHeads = config.dimension('num_attention_heads')
  const numKvHeads = config.has('num_key_value_heads')
    ? config.dimension('num_key_value_heads')
    : numHeads
  if (numHeads % numKvHeads !== 0) {
    config.invalid(
      `num_key_value_heads ${numKvHeads} does not divide num_attention_heads ${numHeads}`,
    )
  }
  if (!config.has('head_dim') && dModel % numHeads !== 0) {
    config.invalid(`num_attention_heads ${numHeads} does not divide hidden_size ${dModel}`)
  }
  const headDim = config.has('head_dim') ? config.dimension('head_dim') : dModel / numHeads
  const bias = config.boolean('attention_bias', false)
  return {
    kind: 'full_attention',
    numHeads,
    numKvHeads,
    headDim,
    scale: scale ?? 1 / Math.sqrt(headDim),
    rotary: rotary && readRotary(config, headDim, rotary),
    qkvBias: bias,
    outBias: bias,
  }
}

/** down(act(gate(x)) * up(x)). */
export function readGatedMlp(config: ConfigReader, dInner: number, bias = false): MlpConfig {
  config.only('hidden_act', ['silu', 'swish'])
  return {
    kind: 'mlp',
    dInner,
    activation: 'silu',
    gated: true,
    bias,
    norm: false,
    normEpsilon: config.epsilon('rms_norm_eps'),
  }
}

/** Whether mlx-lm has written the file: it turns the taps of convolutions, whose names end in `name`, from (C, 1, K) to (C, K, 1). */
export function hasTurnedTaps(tensors: ReadonlyMap<string, TensorEntry>, name: string): boolean {
  const taps = [...tensors.values()].find((tensor) => tensor.name.endsWith(name))
  const [, inner, last] = taps?.shape ?? []
  return inner !== undefined && last !== undefined && last <= inner
}
