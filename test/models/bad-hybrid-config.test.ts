// Configurations of hybrids that are incomplete, impossible, or at odds with the tensors beside them.

import { UnsupportedArchitectureError } from '../../lib/support/errors.js'
import { type BadInput, configCase, describeRefused, set, weights } from '../support/bad-input.js'

// What is right in itself, but not implemented.
const unsupportedCase = (...args: Parameters<typeof configCase>): BadInput => ({
  ...configCase(...args),
  error: UnsupportedArchitectureError,
})

// What the tensors show: the error names their file.
const tensorsCase = (...args: Parameters<typeof configCase>): BadInput => ({
  ...configCase(...args),
  file: weights,
})

const LAYERS: BadInput[] = [
  configCase(
    'no types of layers',
    'granite-h',
    set('layer_types', undefined),
    /layer_types is missing/,
  ),
  configCase(
    'no layers',
    'granite-h',
    set('layer_types', []),
    /layer_types must be 1 to 4096 layers but is 0/,
  ),
  unsupportedCase(
    'a type of layer that nobody knows',
    'granite-h',
    set('layer_types', ['mamba', 'mamba', 'hyena', 'mamba', 'attention', 'mamba']),
    /layer of type "hyena" \(layer_types\); implemented: "mamba", "linear_attention", /,
  ),
  unsupportedCase(
    'a number as a type of layer',
    'granite-h',
    set('layer_types', [1, 2, 3, 4, 5, 6]),
    /layer of type 1 \(layer_types\)/,
  ),
  configCase(
    'types of layers in a text',
    'granite-h',
    set('layer_types', 'mamba'),
    /layer_types must be a list of the types of layers but is "mamba"/,
  ),
  tensorsCase(
    'a layer more than the file has',
    'nemotron-h',
    set('hybrid_override_pattern', 'M-M*M-M-'),
    /tensor backbone\.layers\.7\.norm\.weight is missing/,
  ),
  tensorsCase(
    'a layer less than the file has',
    'nemotron-h',
    set('hybrid_override_pattern', 'M-M*M-'),
    /tensors that this model does not have: backbone\.layers\.6/,
  ),
  unsupportedCase(
    'a letter that nobody knows',
    'nemotron-h',
    set('hybrid_override_pattern', 'M-M*M-Q'),
    /layer of type "Q" \(hybrid_override_pattern\); implemented: "M", "\*", "-", "E"/,
  ),
  unsupportedCase(
    'experts',
    'nemotron-h',
    set('hybrid_override_pattern', 'MEM*M-M'),
    /has experts \(E, or moe, among its layers\)/,
  ),
  unsupportedCase(
    'experts',
    'granite-h',
    set('num_local_experts', 8),
    /has experts \(num_local_experts\)/,
  ),
  configCase(
    'attention in a layer that is none',
    'bamba',
    set('attn_layer_indices', [4]),
    /attn_layer_indices must be a list of layer numbers from 0 to 3 but is 4/,
  ),
  tensorsCase(
    'a shared block where the file has none',
    'zamba2',
    set('layers_block_type', ['hybrid', 'mamba', 'hybrid', 'mamba', 'hybrid', 'mamba', 'hybrid']),
    /tensor model\.layers\.0\.shared_transformer\.\S+ is missing/,
  ),
  tensorsCase(
    'more shared blocks than the file has',
    'zamba2',
    set('num_mem_blocks', 3),
    /tensor model\.layers\.6\.shared_transformer\.\S+ is missing/,
  ),
]

const SIZES: BadInput[] = [
  configCase(
    'heads that are not as wide as the layer',
    'granite-h',
    set('mamba_d_head', 17),
    /mamba_n_heads 8 heads of mamba_d_head 17 are not 128/,
  ),
  configCase(
    'groups that do not divide the heads',
    'bamba',
    set('mamba_n_groups', 3),
    /mamba_n_groups 3 does not divide mamba_n_heads 8/,
  ),
  configCase(
    'groups that do not divide the heads',
    'nemotron-h',
    set('n_groups', 3),
    /n_groups 3 does not divide mamba_num_heads 8/,
  ),
  configCase(
    'key/value heads that do not divide the heads',
    'falcon-h1',
    set('num_key_value_heads', 3),
    /num_key_value_heads 3 does not divide num_attention_heads 4/,
  ),
  configCase(
    'heads that do not divide the width',
    'granite-h',
    set('num_attention_heads', 5),
    /num_key_value_heads 2 does not divide num_attention_heads 5/,
  ),
  tensorsCase(
    'heads of another width than the file has',
    'nemotron-h',
    set('head_dim', 32),
    /q_proj\.weight must have shape \(128, 64\) but has shape \(96, 64\)/,
  ),
  tensorsCase(
    'an MLP of another width than the file has',
    'granite-h',
    set('shared_intermediate_size', 96),
    /input_linear\.weight must have shape \(192, 64\) but has shape \(256, 64\)/,
  ),
  configCase(
    'heads that do not divide twice the width',
    'zamba2',
    set('num_attention_heads', 7),
    /num_attention_heads 7 must divide 2 \* hidden_size, 128/,
  ),
  tensorsCase(
    'adapters of another rank',
    'zamba2',
    set('adapter_rank', 4),
    /must have shape \(4, 128\) but has shape \(8, 128\)/,
  ),
  configCase(
    'a rotary part wider than the head',
    'mamba2attn',
    set('attn_cfg.rotary_emb_dim', 18),
    /rotary_emb_dim 18 is no even number up to 16/,
  ),
  configCase(
    'an odd rotary part',
    'bamba',
    set('rope_parameters.partial_rotary_factor', 0.2),
    /partial_rotary_factor 0\.2 of 16 columns is no even number of them/,
  ),
]

const NUMBERS: BadInput[] = [
  configCase(
    'a multiplier of 0',
    'granite-h',
    set('residual_multiplier', 0),
    /residual_multiplier must be a number other than 0 but is 0/,
  ),
  configCase(
    'an infinite multiplier',
    'falcon-h1',
    set('key_multiplier', { __float__: 'Infinity' }),
    /key_multiplier must be a number other than 0 but is Infinity/,
  ),
  configCase(
    'too few multipliers',
    'falcon-h1',
    set('ssm_multipliers', [1, 1, 1, 1]),
    /ssm_multipliers must be a list of 5 numbers other than 0/,
  ),
  configCase(
    'a text among multipliers',
    'falcon-h1',
    set('mlp_multipliers', ['1', 1]),
    /mlp_multipliers must be a list of 2 numbers other than 0/,
  ),
  configCase(
    'a wave of no length',
    'falcon-h1',
    set('rope_parameters.rope_theta', 0),
    /rope_theta must be above 1 but is 0/,
  ),
  unsupportedCase(
    'rotary embedding that is stretched otherwise',
    'bamba',
    set('rope_parameters.rope_type', 'longrope'),
    /rope_type = "longrope"; implemented: "default" or "linear" or "llama3" or "yarn"/,
  ),
  unsupportedCase(
    'an activation that nobody knows',
    'nemotron-h',
    set('mlp_hidden_act', 'swish2'),
    /mlp_hidden_act = "swish2"; implemented: "relu2"/,
  ),
  unsupportedCase(
    'positions of a kind that nobody knows',
    'granite-h',
    set('position_embedding_type', 'alibi'),
    /position_embedding_type = "alibi"; implemented: "nope" or "rope"/,
  ),
  configCase(
    'a context that is no number',
    'granite-h',
    set('max_position_embeddings', '4k'),
    /max_position_embeddings must be a whole number .* but is "4k"/,
  ),
]

describeRefused('types of layers', LAYERS)
describeRefused('sizes', SIZES)
describeRefused('numbers', NUMBERS)
