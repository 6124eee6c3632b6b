// A tiny model of random weights with a recurrent layer and one that attends to all positions.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import { seededNormals } from './arrays.js'
import { rawTensor, type RawTensors } from './checkpoints.js'

const WIDTH = 32
const HEADS = 4
const KEY_HEADS = 2
const HEAD_WIDTH = 8
const STATE = 8
const INNER = 64
const CHANNELS = INNER + 2 * STATE

/** Bytes of keys and values of a token. */
export const HYBRID_BYTES_PER_TOKEN = 4 * 2 * KEY_HEADS * HEAD_WIDTH

/** Tokens that it has. */
export const HYBRID_VOCABULARY = 250

/** Writes it in the format of Granite 4.0 H. `changes`: of config.json. */
export async function writeHybrid(folder: string, changes: object = {}): Promise<void> {
  const tensors: RawTensors = new Map()
  const normals = seededNormals(7)
  const add = (name: string, shape: number[], scale: number, middle = 0) => {
    const count = shape.reduce((a, b) => a * b, 1)
    const values = normals(count, scale).map((x) => middle + x)
    tensors.set(`model.${name}.weight`, rawTensor('float32', shape, values))
  }
  const matrix = (name: string, rows: number, cols: number, scale = 1) =>
    add(name, [rows, cols], scale * cols ** -0.5)
  const vector = (name: string, length: number, scale: number, middle: number) => {
    add(name, [length], scale, middle)
    const key = `model.${name}.weight`
    tensors.set(`model.${name}`, tensors.get(key)!)
    tensors.delete(key)
  }
  add('embed_tokens', [HYBRID_VOCABULARY, WIDTH], 1)
  for (const layer of [0, 1]) {
    add(`layers.${layer}.input_layernorm`, [WIDTH], 0.3, 1)
    add(`layers.${layer}.post_attention_layernorm`, [WIDTH], 0.3, 1)
    matrix(`layers.${layer}.shared_mlp.input_linear`, 2 * WIDTH, WIDTH)
    matrix(`layers.${layer}.shared_mlp.output_linear`, WIDTH, WIDTH)
  }
  const heads = INNER / HEAD_WIDTH
  matrix('layers.0.mamba.in_proj', INNER + CHANNELS + heads, WIDTH)
  matrix('layers.0.mamba.out_proj', WIDTH, INNER)
  add('layers.0.mamba.conv1d', [CHANNELS, 1, 4], 0.5)
  vector('layers.0.mamba.conv1d.bias', CHANNELS, 0.3, 0)
  vector('layers.0.mamba.A_log', heads, 0.5, 1)
  vector('layers.0.mamba.D', heads, 0.5, 1)
  vector('layers.0.mamba.dt_bias', heads, 1, -2)
  add('layers.0.mamba.norm', [INNER], 0.3, 1)
  // Sharp enough that a wrong key or value changes what is drawn.
  matrix('layers.1.self_attn.q_proj', HEADS * HEAD_WIDTH, WIDTH, 2)
  matrix('layers.1.self_attn.k_proj', KEY_HEADS * HEAD_WIDTH, WIDTH, 2)
  matrix('layers.1.self_attn.v_proj', KEY_HEADS * HEAD_WIDTH, WIDTH, 2)
  matrix('layers.1.self_attn.o_proj', WIDTH, HEADS * HEAD_WIDTH, 2)
  add('norm', [WIDTH], 0.3, 1)
  const config = {
    model_type: 'granitemoehybrid',
    hidden_size: WIDTH,
    vocab_size: HYBRID_VOCABULARY,
    num_hidden_layers: 2,
    layer_types: ['mamba', 'attention'],
    num_attention_heads: HEADS,
    num_key_value_heads: KEY_HEADS,
    head_dim: HEAD_WIDTH,
    attention_multiplier: HEAD_WIDTH ** -0.5,
    embedding_multiplier: 1,
    logits_scaling: 1,
    residual_multiplier: 1,
    max_position_embeddings: 4096,
    position_embedding_type: 'rope',
    rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
    mamba_n_heads: heads,
    mamba_d_head: HEAD_WIDTH,
    mamba_d_state: STATE,
    mamba_d_conv: 4,
    mamba_n_groups: 1,
    mamba_expand: INNER / WIDTH,
    num_local_experts: 0,
    shared_intermediate_size: WIDTH,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    eos_token_id: 0,
    ...changes,
  }
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeSafetensors(join(folder, 'model.safetensors'), tensors)
}
