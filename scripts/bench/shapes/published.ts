// Shapes of published models, one of each hybrid family: what scripts/random-checkpoint.ts makes models of random weights
// of. A random model costs what a trained one of its sizes does.
//
// Where numbers are from: [quoted] the authors' configuration or model card, as others quote it; [class] the defaults of
// the authors' configuration class in transformers; [llama.cpp] sizes by which its loader knows the model; [count] no
// source at hand, but with it the model has as many parameters as its authors say. Numbers that change no size, such as
// epsilons, thetas and context lengths, are the classes' or usual ones where no source at hand gives them.

import type { RandomConfig } from '../../random-checkpoint.js'

export interface PublishedShape {
  /** On the Hugging Face Hub. */
  model: string
  /** What it is made of here. */
  config: RandomConfig
  /** Where that is not all of the published model: in words, and what that has instead. */
  scaled?: { words: string; published: RandomConfig }
  /** What differs in a small model of the same family, whose groups of 64 inputs can be quantised. */
  small: RandomConfig
  /** What differs in one of a few layers, none of which attends; undefined where every layer does. */
  recurrent?: RandomConfig
}

/** Layers of granite: attention at these places, Mamba-2 at all others. */
const graniteLayers = (count: number, attention: readonly number[]) =>
  Array.from({ length: count }, (_, i) => (attention.includes(i) ? 'attention' : 'mamba'))

const SMALL_VOCABULARY = 512

// [quoted]; the width of the MLP [count].
const granite: PublishedShape = {
  model: 'ibm-granite/granite-4.0-h-350m',
  config: {
    model_type: 'granitemoehybrid',
    vocab_size: 100_352,
    hidden_size: 768,
    layer_types: graniteLayers(32, [10, 13, 17, 27]),
    num_hidden_layers: 32,
    num_attention_heads: 12,
    num_key_value_heads: 4,
    num_local_experts: 0,
    num_experts_per_tok: 0,
    intermediate_size: 2048,
    shared_intermediate_size: 2048,
    mamba_n_heads: 48,
    mamba_d_head: 32,
    mamba_n_groups: 1,
    mamba_d_state: 128,
    mamba_d_conv: 4,
    mamba_expand: 2,
    position_embedding_type: 'nope',
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-5,
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.246,
    logits_scaling: 3,
    tie_word_embeddings: true,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    layer_types: graniteLayers(3, [1]),
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 192,
    shared_intermediate_size: 192,
    mamba_n_heads: 8,
    mamba_d_state: 64,
  },
  recurrent: { layer_types: graniteLayers(4, []), num_hidden_layers: 4 },
}

// [quoted] layers, widths and the heads of Mamba-2; heads of attention, vocabulary and tied head [count]. The multipliers
// of the 90M are not known here: these cost what any cost.
const falcon: PublishedShape = {
  model: 'tiiuae/Falcon-H1-Tiny-90M-Instruct',
  config: {
    model_type: 'falcon_h1',
    vocab_size: 32_768,
    hidden_size: 512,
    intermediate_size: 768,
    num_hidden_layers: 24,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 64,
    mamba_d_ssm: 768,
    mamba_n_heads: 24,
    mamba_d_head: 32,
    mamba_n_groups: 1,
    mamba_d_state: 64,
    mamba_d_conv: 4,
    mamba_rms_norm: false,
    max_position_embeddings: 262_144,
    rope_theta: 1e11,
    rms_norm_eps: 1e-5,
    embedding_multiplier: 5.5,
    lm_head_multiplier: 0.04,
    key_multiplier: 0.4,
    attention_in_multiplier: 1,
    attention_out_multiplier: 0.9,
    ssm_in_multiplier: 1.25,
    ssm_out_multiplier: 0.25,
    ssm_multipliers: [0.35, 0.25, 0.35, 0.5, 0.35],
    mlp_multipliers: [0.9, 0.6],
    tie_word_embeddings: true,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    intermediate_size: 192,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    head_dim: 32,
    mamba_d_ssm: 192,
    mamba_n_heads: 6,
  },
}

// [quoted] 16 layers of 1024; [llama.cpp] an MLP 4608 wide, which is what block_ff_dim comes to; the places of attention
// and its heads [count].
const lfm2: PublishedShape = {
  model: 'LiquidAI/LFM2-350M',
  config: {
    model_type: 'lfm2',
    vocab_size: 65_536,
    hidden_size: 1024,
    block_ff_dim: 6656,
    block_auto_adjust_ff_dim: true,
    block_multiple_of: 256,
    block_ffn_dim_multiplier: 1,
    num_hidden_layers: 16,
    full_attn_idxs: [2, 5, 8, 10, 12, 14],
    num_attention_heads: 16,
    num_key_value_heads: 8,
    conv_L_cache: 3,
    conv_bias: false,
    max_position_embeddings: 128_000,
    rope_theta: 1_000_000,
    norm_eps: 1e-5,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    block_ff_dim: 320,
    num_hidden_layers: 3,
    full_attn_idxs: [1],
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
  recurrent: { full_attn_idxs: [], num_hidden_layers: 4 },
}

// [llama.cpp] 24 layers of 1024; [quoted] 16 heads of 128 and 128 of the delta rule; [class] the vocabulary, a layer of
// attention in four and its heads' 256 columns; all else [count].
const qwen: PublishedShape = {
  model: 'Qwen/Qwen3.5-0.8B',
  config: {
    model_type: 'qwen3_5_text',
    vocab_size: 248_320,
    hidden_size: 1024,
    intermediate_size: 3584,
    num_hidden_layers: 24,
    full_attention_interval: 4,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 256,
    linear_num_key_heads: 16,
    linear_num_value_heads: 16,
    linear_key_head_dim: 128,
    linear_value_head_dim: 128,
    linear_conv_kernel_dim: 4,
    max_position_embeddings: 262_144,
    rope_parameters: { rope_type: 'default', rope_theta: 1e7, partial_rotary_factor: 0.25 },
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    intermediate_size: 192,
    num_hidden_layers: 4,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    // As much of a head turns as the sections of llama.cpp's rotary embedding, 11 + 11 + 10 pairs, cover.
    head_dim: 256,
    linear_num_key_heads: 2,
    linear_num_value_heads: 2,
    linear_key_head_dim: 64,
    linear_value_head_dim: 64,
  },
  recurrent: { num_hidden_layers: 3 },
}

// [class] has the sizes of the 35B-A3B. Of its 40 layers of 256 experts, 70 GB, one period of four layers with 64 experts
// each, of which a token still goes to 8.
const qwenMoe: PublishedShape = {
  model: 'Qwen/Qwen3.5-35B-A3B',
  scaled: {
    words: '4 of 40 layers, 64 of 256 experts, 65,536 of 248,320 tokens',
    published: { vocab_size: 248_320, num_hidden_layers: 40, num_experts: 256 },
  },
  config: {
    model_type: 'qwen3_5_moe_text',
    vocab_size: 65_536,
    hidden_size: 2048,
    num_hidden_layers: 4,
    full_attention_interval: 4,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    head_dim: 256,
    linear_num_key_heads: 16,
    linear_num_value_heads: 32,
    linear_key_head_dim: 128,
    linear_value_head_dim: 128,
    linear_conv_kernel_dim: 4,
    moe_intermediate_size: 512,
    shared_expert_intermediate_size: 512,
    num_experts: 64,
    num_experts_per_tok: 8,
    max_position_embeddings: 262_144,
    rope_parameters: { rope_type: 'default', rope_theta: 1e7, partial_rotary_factor: 0.25 },
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    linear_num_key_heads: 2,
    linear_num_value_heads: 4,
    linear_key_head_dim: 64,
    linear_value_head_dim: 64,
    moe_intermediate_size: 64,
    shared_expert_intermediate_size: 64,
    num_experts: 8,
    num_experts_per_tok: 2,
  },
  recurrent: { num_hidden_layers: 3 },
}

const ZAMBA_HYBRIDS = [5, 11, 17, 23, 29, 35]
const zambaLayers = (count: number, hybrids: readonly number[]) =>
  Array.from({ length: count }, (_, i) => (hybrids.includes(i) ? 'hybrid' : 'mamba'))

// [quoted] one shared block with adapters of rank 128; layers, width, heads and MLP [count]. The state's 128 columns and
// the six places of the shared block are not known here: other numbers give 1.2 billion parameters too.
const zamba: PublishedShape = {
  model: 'Zyphra/Zamba2-1.2B',
  config: {
    model_type: 'zamba2',
    vocab_size: 32_000,
    hidden_size: 2048,
    layers_block_type: zambaLayers(38, ZAMBA_HYBRIDS),
    num_hidden_layers: 38,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    intermediate_size: 8192,
    hidden_act: 'gelu',
    num_mem_blocks: 1,
    use_shared_attention_adapter: true,
    adapter_rank: 128,
    use_mem_rope: true,
    rope_theta: 10_000,
    n_mamba_heads: 64,
    mamba_ngroups: 1,
    mamba_d_state: 128,
    mamba_d_conv: 4,
    mamba_expand: 2,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    layers_block_type: zambaLayers(3, [1, 2]),
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    intermediate_size: 192,
    adapter_rank: 64,
    n_mamba_heads: 4,
    mamba_d_state: 64,
  },
  recurrent: { layers_block_type: zambaLayers(4, []), num_hidden_layers: 4 },
}

// [quoted]: the layers of Llama-3.2-1B with Mamba-2 in the place of attention. The tied head is that of Llama.
const llamba: PublishedShape = {
  model: 'cartesia-ai/Llamba-1B',
  config: {
    model_type: 'llamba',
    vocab_size: 128_256,
    d_model: 2048,
    n_layer: 16,
    tie_embeddings: true,
    norm_epsilon: 1e-5,
    ssm_cfg: {
      d_state: 64,
      d_conv: 4,
      expand: 1,
      n_qk_heads: 32,
      n_v_heads: 32,
      activation: 'identity',
      bias: false,
      conv_bias: true,
    },
    mlp_cfg: { intermediate_size: 8192, act_fn: 'silu', bias: false },
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    d_model: 128,
    n_layer: 2,
    ssm_cfg: { d_state: 64, d_conv: 4, n_qk_heads: 4, n_v_heads: 4, activation: 'identity' },
    mlp_cfg: { intermediate_size: 192, act_fn: 'silu' },
  },
  recurrent: { n_layer: 4 },
}

// [quoted] 42 layers, 21 Mamba-2, 17 MLP and 4 attention; their order and sizes [count]. All of them are 8 GB.
const NEMOTRON_LAYERS = 'M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-'
const nemotron: PublishedShape = {
  model: 'nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16',
  scaled: {
    words: 'the first 14 of 42 layers, 32,768 of 131,072 tokens',
    published: {
      vocab_size: 131_072,
      hybrid_override_pattern: NEMOTRON_LAYERS,
      num_hidden_layers: 42,
    },
  },
  config: {
    model_type: 'nemotron_h',
    vocab_size: 32_768,
    hidden_size: 3136,
    hybrid_override_pattern: NEMOTRON_LAYERS.slice(0, 14),
    num_hidden_layers: 14,
    num_attention_heads: 40,
    num_key_value_heads: 8,
    head_dim: 128,
    intermediate_size: 12_544,
    mamba_num_heads: 96,
    mamba_head_dim: 80,
    n_groups: 8,
    ssm_state_size: 128,
    conv_kernel: 4,
    expand: 2,
    mlp_hidden_act: 'relu2',
    max_position_embeddings: 262_144,
    layer_norm_epsilon: 1e-5,
    tie_word_embeddings: false,
  },
  small: {
    vocab_size: SMALL_VOCABULARY,
    hidden_size: 128,
    hybrid_override_pattern: 'M-*M',
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    intermediate_size: 192,
    mamba_num_heads: 8,
    mamba_head_dim: 32,
    n_groups: 2,
    ssm_state_size: 64,
  },
  recurrent: { hybrid_override_pattern: 'M-M-', num_hidden_layers: 4 },
}

/** By the names that commands take. */
export const PUBLISHED_SHAPES: Readonly<Record<string, PublishedShape>> = {
  'granite-4.0-h-350m': granite,
  'falcon-h1-tiny-90m': falcon,
  'lfm2-350m': lfm2,
  'qwen3.5-0.8b': qwen,
  'zamba2-1.2b': zamba,
  'llamba-1b': llamba,
  'nemotron-3-nano-4b': nemotron,
  'qwen3.5-35b-a3b': qwenMoe,
}

/** The configuration of a small model of the same family. */
export function smallConfig({ config, small }: PublishedShape): RandomConfig {
  return { ...config, ...small }
}
