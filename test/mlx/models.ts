// Tiny models of each family that mlx-lm knows, as their authors write them: of one group where mlx-lm norms whole rows
// (mamba2, granite, falcon_h1 with a norm), with one layer in so many that attends where it reads nothing else (qwen3_5).

import type { RandomConfig } from '../../scripts/random-checkpoint.js'
import { PUBLISHED_SHAPES, smallConfig } from '../../scripts/bench/shapes/published.js'

/** Reference checkpoints. */
export const FIXTURES = [
  ...['mamba2-hf', 'mamba2-state-spaces', 'granite-h', 'falcon-h1', 'lfm2', 'nemotron-h'],
  'qwen3-5-moe',
]

const { 'granite-4.0-h-350m': granite, 'falcon-h1-tiny-90m': falcon } = PUBLISHED_SHAPES
const { 'nemotron-3-nano-4b': nemotron, 'qwen3.5-0.8b': qwen } = PUBLISHED_SHAPES

const SIZES = { vocab_size: 96, hidden_size: 64 }

/** Models of random weights. */
export const RANDOM: Readonly<Record<string, RandomConfig>> = {
  'granite-moe': {
    ...smallConfig(granite!),
    ...SIZES,
    num_local_experts: 6,
    num_experts_per_tok: 2,
    intermediate_size: 32,
    shared_intermediate_size: 64,
    mamba_n_heads: 4,
    time_step_limit: [0.02, 0.05],
    tie_word_embeddings: false,
  },
  'falcon-norm-tied': {
    ...smallConfig(falcon!),
    ...SIZES,
    attention_in_multiplier: 0.9,
    mamba_rms_norm: true,
    mamba_norm_before_gate: false,
    mamba_proj_bias: true,
    projectors_bias: true,
    attention_bias: true,
    mlp_bias: true,
  },
  'lfm2-moe': {
    model_type: 'lfm2_moe',
    ...SIZES,
    num_hidden_layers: 3,
    full_attn_idxs: [1],
    num_dense_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 96,
    moe_intermediate_size: 32,
    num_experts: 6,
    num_experts_per_tok: 2,
    routed_scaling_factor: 1.5,
    rope_theta: 1e6,
  },
  'nemotron-moe': {
    ...smallConfig(nemotron!),
    ...SIZES,
    hybrid_override_pattern: 'ME*E',
    n_routed_experts: 6,
    num_experts_per_tok: 2,
    moe_intermediate_size: 32,
    moe_shared_expert_intermediate_size: 64,
    routed_scaling_factor: 2.5,
    mamba_num_heads: 4,
    tie_word_embeddings: true,
  },
  qwen: { ...smallConfig(qwen!), ...SIZES, head_dim: 64 },
}
