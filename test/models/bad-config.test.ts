// Configurations that are incomplete, impossible, or at odds with the tensors beside them.

import { join } from 'node:path'
import { describe, it } from 'vitest'
import { CorruptFileError, UnsupportedArchitectureError } from '../../lib/support/errors.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import {
  type BadInput,
  type Config,
  configCase,
  describeRefused,
  type ErrorClass,
  expectRefused,
  set,
  weights,
} from '../support/bad-input.js'
import { copyOfFixture, readRawTensors } from '../support/checkpoints.js'

const CONFIGS: BadInput[] = [
  configCase(
    'a missing key',
    'rene',
    set('attn_cfg.num_heads', undefined),
    /attn_cfg.num_heads is missing/,
  ),
  configCase(
    'a missing key whose default does not fit',
    'mamba2-hf',
    set('hidden_size', undefined),
    /expand \* hidden_size is 8192; hidden_size is left out and 4096 by default/,
  ),
  configCase(
    'a text for a number',
    'rene',
    set('d_model', '64'),
    /d_model must be a whole number .* but is "64"/,
  ),
  configCase('null for a number', 'rene', set('vocab_size', null), /vocab_size is null/),
  configCase('a negative size', 'rene', set('d_model', -64), /d_model .* but is -64/),
  configCase('a size of 0', 'mamba2-hf', set('head_dim', 0), /head_dim .* but is 0/),
  configCase('a fractional size', 'mamba2-hf', set('num_heads', 7.5), /num_heads .* but is 7.5/),
  configCase(
    'a huge size',
    'rene',
    set('d_model', 2 ** 40),
    /d_model must be a whole number from 1 to 16777216 but is 1099511627776/,
  ),
  configCase(
    'an infinite size',
    'mamba2-hf',
    set('state_size', { __float__: 'Infinity' }),
    /state_size .* Infinity/,
  ),
  configCase(
    'a billion layers',
    'rene',
    set('n_layer', 1e9),
    /n_layer must be a whole number from 1 to 4096 but is 1000000000/,
  ),
  configCase(
    'a billion layers',
    'mamba2-hf',
    set('num_hidden_layers', 1e9),
    /num_hidden_layers .* 1000000000/,
  ),
  configCase(
    'an object as a list',
    'rene',
    set('attn_layer_idx', {}),
    /attn_layer_idx must be a list of layer numbers but is an object/,
  ),
  configCase(
    'a layer that does not exist',
    'rene',
    set('mlp_layer_idx', [8]),
    /mlp_layer_idx must be a list of layer numbers from 0 to 7 but is 8/,
  ),
  configCase(
    'a layer that is two things',
    'rene',
    set('attn_layer_idx', [1]),
    /layer 1 stands in both attn_layer_idx and mlp_layer_idx/,
  ),
  configCase(
    'heads that do not divide the width',
    'rene',
    set('ssm_cfg.headdim', 48),
    /ssm_cfg.headdim 48 does not divide expand \* d_model, 128/,
  ),
  configCase(
    'groups that do not divide the heads',
    'rene',
    set('ssm_cfg.ngroups', 3),
    /ngroups 3 does not divide the 8 heads/,
  ),
  configCase(
    'groups that do not divide the heads',
    'mamba2-hf',
    set('n_groups', 3),
    /n_groups 3 does not divide num_heads 8/,
  ),
  configCase(
    'heads of another width',
    'mamba2-hf',
    set('num_heads', 4),
    /num_heads \* head_dim is 64 but expand \* hidden_size is 128/,
  ),
  configCase(
    'key heads that do not divide the query heads',
    'rene',
    set('attn_cfg.num_heads_kv', 3),
    /attn_cfg.num_heads_kv 3 does not divide num_heads 4/,
  ),
  configCase(
    'a head dimension of text',
    'rene',
    set('attn_cfg.head_dim', 'x'),
    /attn_cfg.head_dim .* "x"/,
  ),
  configCase(
    'no scale',
    'rene',
    set('attn_cfg.softmax_scale', -1),
    /attn_cfg.softmax_scale must be a positive number but is -1/,
  ),
  configCase(
    'an MLP of no width',
    'rene',
    set('mlp_cfg.expand', 1e-9),
    /mlp_cfg.expand 1e-9 is out of range/,
  ),
  configCase(
    'a text for an epsilon',
    'mamba2-hf',
    set('layer_norm_epsilon', 'small'),
    /layer_norm_epsilon must be a number but is "small"/,
  ),
  configCase(
    'an epsilon of 0',
    'mamba2-hf',
    set('layer_norm_epsilon', 0),
    /layer_norm_epsilon must be a number between 0 and 1 but is 0/,
  ),
  configCase(
    'limits the wrong way round',
    'mamba2-hf',
    set('time_step_limit', [1, 0]),
    /time_step_limit must be two numbers/,
  ),
  configCase(
    'a token id that is none',
    'rene',
    set('eos_token_id', -1),
    /eos_token_id must be a token id .* but is -1/,
  ),
  configCase(
    'a number for a flag',
    'rene',
    set('tie_word_embeddings', 1),
    /tie_word_embeddings must be true or false but is 1/,
  ),
  configCase(
    'a huge window',
    'rene',
    set('attn_cfg.sliding_window_length', 2 ** 24),
    /would need 4\d{9} bytes for attention over a window of 16777216 positions/,
  ),
  configCase(
    'an unknown model_type',
    'rene',
    set('model_type', 'llama'),
    /has model_type "llama". Implemented: rene, mamba2/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'neither model_type nor ssm_cfg',
    'mamba2-state-spaces',
    set('ssm_cfg', undefined),
    /neither model_type nor ssm_cfg/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'a Mamba-1',
    'mamba2-state-spaces',
    set('ssm_cfg', { d_state: 16 }),
    /is a Mamba-1/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'a Mamba-1 that says so',
    'mamba2-state-spaces',
    set('ssm_cfg.layer', 'Mamba1'),
    /is a Mamba-1/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention in state-spaces that nothing describes',
    'mamba2-state-spaces',
    set('attn_layer_idx', [1]),
    /attn_cfg.num_heads is missing/,
  ),
  configCase(
    'MLPs in state-spaces',
    'mamba2-state-spaces',
    set('d_intermediate', 64),
    /MLPs .*d_intermediate/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'layer norms',
    'mamba2-state-spaces',
    set('rms_norm', false),
    /has rms_norm = false; implemented: true/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'layer norms',
    'rene',
    set('rms_norm', false),
    /has rms_norm = false; implemented: true/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'an unknown key of ssm_cfg',
    'rene',
    set('ssm_cfg.new_trick', 1),
    /has ssm_cfg.new_trick, which is not known/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'an unknown key of attn_cfg',
    'rene',
    set('attn_cfg.rotary_emb_dim', 8),
    /has attn_cfg.rotary_emb_dim, which is not known/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention that is not causal',
    'rene',
    set('attn_cfg.causal', false),
    /attn_cfg.causal = false/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention without a window',
    'rene',
    set('attn_cfg.sliding_window_length', null),
    /without a sliding_window_length/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'another activation',
    'mamba2-hf',
    set('hidden_act', 'relu'),
    /hidden_act = "relu"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    '3 bits',
    'mamba2-mlx-lm-4bit',
    set('quantization.bits', 3),
    /quantization.bits = 3; implemented: 4 or 5 or 6 or 8/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'groups of 16',
    'mamba2-mlx-lm-4bit',
    set('quantization.group_size', 16),
    /quantization.group_size = 16/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'another mode',
    'mamba2-mlx-lm-4bit',
    set('quantization.mode', 'mxfp8'),
    /quantization.mode = "mxfp8"; implemented: "affine" or "mxfp4" or "nvfp4"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'mxfp4 in groups of 64',
    'mamba2-mlx-lm-mixed',
    set('quantization.group_size', 64),
    /quantization.group_size = 64; implemented: 32/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'no bits',
    'mamba2-mlx-lm-4bit',
    set('quantization.bits', undefined),
    /quantisation must state bits and group_size/,
  ),
  configCase(
    'another quantisation',
    'mamba2-hf',
    set('quantization_config', { quant_method: 'gptq' }),
    /quantization_config/,
    UnsupportedArchitectureError,
  ),
]

// What the configuration and the tensors say together.
const MISMATCHES: BadInput[] = [
  {
    ...configCase(
      'a missing key whose default does not fit',
      'rene',
      set('d_model', undefined),
      /backbone.embedding.weight must have shape \(256, 2048\) but has shape \(256, 64\)/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a missing key whose default does not fit',
      'mamba2-state-spaces',
      set('n_layer', undefined),
      /tensor backbone.layers.\d+.norm.weight is missing/,
    ),
    file: 'pytorch_model.bin',
  },
  {
    ...configCase(
      'more layers than tensors',
      'mamba2-hf',
      set('num_hidden_layers', 5),
      /tensor backbone.layers.4.norm.weight is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'fewer layers than tensors',
      'mamba2-hf',
      set('num_hidden_layers', 3),
      /tensors that this model does not have: backbone.layers.3/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'another state size',
      'mamba2-hf',
      set('state_size', 17),
      /in_proj.weight must have shape \(298, 64\) but has shape \(296, 64\)/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a state size of 2^24',
      'mamba2-hf',
      set('state_size', 2 ** 24),
      /in_proj.weight must have shape/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a convolution of 2^24 taps',
      'mamba2-hf',
      set('conv_kernel', 2 ** 24),
      /conv1d.weight must have shape \(160, 1, 16777216\) or/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a bias that is not there',
      'mamba2-hf',
      set('use_bias', true),
      /in_proj.bias is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'its own head that is not there',
      'mamba2-hf',
      set('tie_word_embeddings', false),
      /lm_head.weight is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a quantised matrix that should not be',
      'mamba2-mlx-lm-4bit',
      ({ quantization }) => Object.assign(quantization as Config, { 'backbone.embeddings': false }),
      /backbone.embeddings.scales is there but the configuration does not quantise/,
    ),
    file: weights,
  },
  {
    ...configCase(
      '8 bits where there are 4',
      'mamba2-mlx-lm-4bit',
      set('quantization.bits', 8),
      /backbone.embeddings.weight must have shape \(256, 16\) but has shape \(256, 8\)/,
    ),
    file: weights,
  },
]

const RECURRENT_FAMILIES: BadInput[] = [
  configCase('no width', 'llamba', set('d_model', 0), /d_model .* but is 0/),
  configCase(
    'heads that do not divide the width',
    'llamba',
    set('ssm_cfg.n_v_heads', 3),
    /ssm_cfg.n_v_heads 3 does not divide expand \* d_model, 64/,
  ),
  configCase(
    'groups that do not divide the heads',
    'llamba-bin',
    set('ssm_cfg.n_qk_heads', 3),
    /ssm_cfg.n_qk_heads 3 does not divide n_v_heads 4/,
  ),
  {
    ...configCase(
      'a convolution wider than its taps',
      'llamba',
      set('ssm_cfg.d_conv', 2 ** 24),
      /conv1d.weight must have shape/,
    ),
    file: weights,
  },
  configCase('a billion layers', 'llamba', set('n_layer', 1e9), /n_layer .* 1000000000/),
  configCase(
    'an MLP of no width',
    'llamba',
    set('mlp_cfg.intermediate_size', undefined),
    /mlp_cfg.intermediate_size is missing/,
  ),
  configCase(
    'another activation',
    'llamba',
    set('ssm_cfg.activation', 'gelu'),
    /ssm_cfg.activation = "gelu"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'another activation of the MLP',
    'llamba',
    set('mlp_cfg.act_fn', 'relu'),
    /mlp_cfg.act_fn = "relu"/,
    UnsupportedArchitectureError,
  ),
  {
    ...configCase(
      'no bias of the head',
      'llamba',
      set('lm_head_bias', true),
      /lm_head.bias is missing/,
    ),
    file: weights,
  },
  configCase(
    'a convolution of no width',
    'lfm2',
    set('conv_L_cache', 0),
    /conv_L_cache .* but is 0/,
  ),
  {
    ...configCase(
      'a bias that is not there',
      'lfm2',
      set('conv_bias', true),
      /in_proj.bias is missing/,
    ),
    file: weights,
  },
  configCase(
    'a layer of another type',
    'lfm2',
    set('layer_types', ['conv', 'mamba']),
    /has a layer of type "mamba"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention in a layer that does not exist',
    'lfm2',
    (config) => Object.assign(config, { layer_types: null, full_attn_idxs: [5] }),
    /full_attn_idxs must be a list of layer numbers from 0 to 4 but is 5/,
  ),
  configCase(
    'a huge MLP',
    'lfm2',
    set('block_ffn_dim_multiplier', 1e30),
    /block_ffn_dim_multiplier 1e\+30 give/,
  ),
  configCase(
    'an MLP of a negative width',
    'lfm2',
    set('block_ffn_dim_multiplier', -1),
    /block_ffn_dim_multiplier -1 give/,
  ),
  configCase(
    'key heads that do not divide the query heads',
    'lfm2',
    set('num_key_value_heads', 3),
    /num_key_value_heads 3 does not divide num_attention_heads 4/,
  ),
]

describeRefused('configurations', CONFIGS)
describeRefused('configurations of recurrent families', RECURRENT_FAMILIES)
describeRefused('configurations and tensors that disagree', MISMATCHES)

describe('metadata of an Edge file', () => {
  const edit = async (key: string, value: string | undefined, name = 'edge-mlx-4bit') => {
    const folder = await copyOfFixture(name)
    const file = join(folder, weights)
    const { tensors, metadata } = await readRawTensors(file)
    const entries = Object.entries(metadata).filter(([name]) => name !== key)
    if (value !== undefined) entries.push([key, value])
    await writeSafetensors(file, tensors, Object.fromEntries(entries))
    return file
  }
  it.each<[string, string | undefined, RegExp, ErrorClass]>([
    ['d_model', undefined, /d_model is missing/, CorruptFileError],
    ['d_model', 'sixty', /d_model:1:10: expected a value, at "sixty/, CorruptFileError],
    ['d_model', '64.5', /d_model .* 64.5/, CorruptFileError],
    ['d_model.inner', '1', /both d_model and d_model.inner/, CorruptFileError],
    ['model.n_layer_repeats', '1000000000', /n_layer_repeats .* 1000000000/, CorruptFileError],
    ['model.n_layer_repeats', '4096', /16384 layers, expected 1 to 4096/, CorruptFileError],
    ['model.unique_layers.7._class_', '"X"', /unique_layers.4 must be an object/, CorruptFileError],
    [
      'model.unique_layers.0.layer._class_',
      '"layers.S4"',
      /has a layer of class S4/,
      UnsupportedArchitectureError,
    ],
    [
      'model.unique_layers.0.layer._class_',
      '5',
      /_class_ must be a string but is 5/,
      CorruptFileError,
    ],
    [
      'model.unique_layers.0.layer.d_head',
      '48',
      /d_head 48 and n_groups 1 do not divide d_inner 128/,
      CorruptFileError,
    ],
    [
      'model.unique_layers.0.norm_point',
      '"post"',
      /norm_point = "post"/,
      UnsupportedArchitectureError,
    ],
    [
      'model.unique_layers.2.layer.activation',
      '"relu"',
      /activation = "relu"/,
      UnsupportedArchitectureError,
    ],
    ['quantization_kwargs.bits', '3', /quantization_kwargs.bits = 3/, UnsupportedArchitectureError],
    ['head.bias', 'true', /head.linear.bias is missing/, CorruptFileError],
  ])('%s = %s', async (key, value, says, error) => {
    const file = await edit(key, value)
    await expectRefused(file, error, file, says)
  })

  const phi = 'model.unique_layers.0'
  it.each<[string, string | undefined, RegExp, ErrorClass]>([
    ['model.norm_type', '"rms"', /norms of different types/, UnsupportedArchitectureError],
    ['model.pre_norm', 'true', /model.pre_norm = true/, UnsupportedArchitectureError],
    [`${phi}._class_`, '"layers.Phi4Block"', /has a Phi4Block/, UnsupportedArchitectureError],
    [`${phi}.time_mixing.n_heads`, undefined, /time_mixing.n_heads is missing/, CorruptFileError],
    [`${phi}.time_mixing.n_heads`, '5', /n_heads 5 does not divide 64/, CorruptFileError],
    [`${phi}.time_mixing.d_state`, '17', /must have shape/, CorruptFileError],
    [`${phi}.time_mixing.dt_limit.1`, '0.5', /dt_limit/, UnsupportedArchitectureError],
    [`${phi}.channel_mixing.bugged`, 'true', /bugged = true/, UnsupportedArchitectureError],
    [`${phi}.channel_mixing.bias`, 'false', /tensors that this model does not/, CorruptFileError],
  ])('of Mohawk: %s = %s', async (key, value, says, error) => {
    const file = await edit(key, value, 'mohawk-edge-4bit')
    await expectRefused(file, error, file, says)
  })
})
