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
  tensorsCase(
    'experts where the file has an MLP',
    'nemotron-h',
    set('hybrid_override_pattern', 'MEM*M-M'),
    /tensor backbone\.layers\.1\.mixer\.gate\.weight is missing/,
  ),
  tensorsCase(
    'experts where the file has none',
    'granite-h',
    (values) => Object.assign(values, { num_local_experts: 8, num_experts_per_tok: 2 }),
    /tensor model\.layers\.0\.block_sparse_moe\.router\.layer\.weight is missing/,
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

const EXPERTS: BadInput[] = [
  tensorsCase(
    'fewer experts than the file has',
    'granite-h-moe-4bit',
    set('num_local_experts', 4),
    /router\.layer\.weight must have shape \(4, 16\) but has shape \(8, 16\)/,
  ),
  tensorsCase(
    'more experts than the file has',
    'qwen3-5-moe',
    set('num_experts', 2 ** 24),
    /mlp\.gate\.weight must have shape \(16777216, 64\) but has shape \(8, 64\)/,
  ),
  tensorsCase(
    'experts of another width than the file has',
    'granite-h-moe-4bit',
    set('intermediate_size', 32),
    /gate_proj\.weight must have 32 rows for each of 8 experts but has shape \(8, 48, 8\)/,
  ),
  tensorsCase(
    'experts of another width than the tensor of each',
    'qwen3-5-moe',
    set('moe_intermediate_size', 32),
    /experts\.0\.gate_proj\.weight must have shape \(32, 64\) but has shape \(48, 64\)/,
  ),
  configCase(
    'more chosen experts than there are',
    'lfm2-moe-4bit',
    set('num_experts_per_tok', 7),
    /num_experts_per_tok is 7, but there are 6 experts to choose from/,
  ),
  configCase(
    'no number of experts',
    'qwen3-5-moe-8bit',
    set('text_config.num_experts', 0),
    /num_experts must be a whole number from 1 to 16777216 but is 0/,
  ),
  configCase(
    'groups that do not divide the experts',
    'nemotron-h-moe-nvfp4',
    set('n_group', 3),
    /n_group 3 does not divide n_routed_experts 8/,
  ),
  configCase(
    'more groups kept than there are',
    'nemotron-h-moe-nvfp4',
    set('topk_group', 2),
    /topk_group 2 is more than n_group 1/,
  ),
  unsupportedCase(
    'more groups than a word has bits',
    'nemotron-h-moe-nvfp4',
    (values) => Object.assign(values, { n_routed_experts: 64, n_group: 64 }),
    /n_group 64; implemented: up to 32/,
  ),
  tensorsCase(
    'experts in a space of their own without projections',
    'nemotron-h-moe-nvfp4',
    set('moe_latent_size', 32),
    /tensor backbone\.layers\.1\.mixer\.fc1_latent_proj\S+ is missing/,
  ),
  tensorsCase(
    'a layer of experts that is an MLP',
    'lfm2-moe-4bit',
    set('num_dense_layers', 3),
    /tensor model\.layers\.2\.feed_forward\.\S+ is missing/,
  ),
  configCase(
    'a scale of no number',
    'nemotron-h-moe-nvfp4',
    set('routed_scaling_factor', '2.5'),
    /routed_scaling_factor must be a number but is "2\.5"/,
  ),
  configCase(
    'a number of dense layers that is none',
    'lfm2-moe-4bit',
    set('num_dense_layers', 1.5),
    /num_dense_layers must be a whole number from 0 to 4096 but is 1\.5/,
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
    'scores that count the other way round',
    'granite-h',
    set('attention_multiplier', -0.0625),
    /attention_multiplier must be a number above 0 but is -0\.0625/,
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
describeRefused('experts', EXPERTS)
describeRefused('numbers', NUMBERS)
