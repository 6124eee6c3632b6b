// Whole models of two hybrid families in double precision, one sequence from its first token, by the names and keys of
// their files: Falcon-H1 (Zuo et al., 2025), whose layers have Mamba-2 and attention side by side, and Qwen3.5, with the gated
// delta rule (Yang et al., 2024) and gated attention in turn. Written for thousands of tokens: rows lie flat.

import { sigmoid, silu } from './activations.js'
import { causalConvolution } from './convolution.js'
import { deltaRule } from './delta.js'
import { gatedRmsNorm, rmsNorm } from './norms.js'
import { headsOf, type Turn, turned } from './paged-attention.js'
import { stateSpaceRecurrence } from './state-space.js'

export interface HybridFile {
  // biome-ignore lint/suspicious/noExplicitAny: as the file has it
  config: Record<string, any>
  vectors: ReadonlyMap<string, Float64Array>
}

type Rows = number[][]

function vectorOf({ vectors }: HybridFile, name: string): Float64Array {
  const vector = vectors.get(name)
  if (!vector) throw new Error(`the file has no tensor ${name}`)
  return vector
}

/** weight · row, times `scale`, for each row: the weight has a row for each output. */
function product(rows: Rows, weight: Float64Array, scale = 1): Rows {
  return rows.map((row) => {
    const x = Float64Array.from(row)
    const out = new Array<number>(weight.length / x.length)
    for (let n = 0; n < out.length; n++) {
      let sum = 0
      for (let k = 0; k < x.length; k++) sum += weight[n * x.length + k]! * x[k]!
      out[n] = scale * sum
    }
    return out
  })
}

const columns = (rows: Rows, first: number, last: number) =>
  rows.map((row) => row.slice(first, last))
const added = (a: Rows, ...others: Rows[]) =>
  a.map((row, t) => row.map((x, i) => others.reduce((sum, other) => sum + other[t]![i]!, x)))
const plain = (vector: Float64Array, offset = 0) => Array.from(vector, (x) => x + offset)
const normed = (rows: Rows, weight: Float64Array, eps: number, offset = 0) => {
  const scale = plain(weight, offset)
  return rows.map((row) => rmsNorm(row, scale, eps))
}

/** (channels, 1, taps). */
function convolved(rows: Rows, file: HybridFile, name: string): Rows {
  const channels = rows[0]!.length
  const taps = headsOf(
    plain(vectorOf(file, `${name}.weight`)),
    vectorOf(file, `${name}.weight`).length / channels,
  )
  const bias = file.vectors.has(`${name}.bias`) ? plain(vectorOf(file, `${name}.bias`)) : undefined
  return causalConvolution(rows, taps, bias)
}

/** Of each pair of the columns that turn: rounded as models have them. */
function frequenciesOf(theta: number, columns: number): number[] {
  const { fround } = Math
  return Array.from({ length: columns / 2 }, (_, i) =>
    fround(1 / fround(theta ** fround((2 * i) / columns))),
  )
}

/** Column after column, because loops over all rows are long. */
function transposed(rows: Rows): Float64Array {
  const [count, width] = [rows.length, rows[0]!.length]
  const out = new Float64Array(count * width)
  for (let t = 0; t < count; t++) for (let n = 0; n < width; n++) out[n * count + t] = rows[t]![n]!
  return out
}

/** Causal attention of all heads over all rows so far; the heads of q, k and v lie side by side. */
function attended(q: Rows, k: Rows, v: Rows, headDim: number): Rows {
  const [keys, values] = [transposed(k), transposed(v)]
  const heads = q[0]!.length / headDim
  const sharing = q[0]!.length / k[0]!.length
  return q.map((query, t) =>
    Array.from({ length: heads }, (_, head) => {
      const first = Math.floor(head / sharing) * headDim
      const scaled = query.slice(head * headDim, (head + 1) * headDim)
      return attend(
        scaled.map((x) => x / Math.sqrt(headDim)),
        { keys, values, first, last: t, rows: q.length },
      )
    }).flat(),
  )
}

interface Seen {
  keys: Float64Array
  values: Float64Array
  /** The first column of the head. */
  first: number
  /** Of `rows` rows those from 0 to `last` are seen. */
  last: number
  rows: number
}

function attend(query: readonly number[], { keys, values, first, last, rows }: Seen): number[] {
  const weights = new Float64Array(last + 1)
  for (let d = 0; d < query.length; d++) {
    const x = query[d]!
    const at = (first + d) * rows
    for (let s = 0; s <= last; s++) weights[s]! += x * keys[at + s]!
  }
  let largest = Number.NEGATIVE_INFINITY
  for (let s = 0; s <= last; s++) if (weights[s]! > largest) largest = weights[s]!
  let total = 0
  for (let s = 0; s <= last; s++) {
    weights[s] = Math.exp(weights[s]! - largest)
    total += weights[s]!
  }
  return query.map((_, d) => {
    const at = (first + d) * rows
    let sum = 0
    for (let s = 0; s <= last; s++) sum += weights[s]! * values[at + s]!
    return sum / total
  })
}

const turnedHeads = (rows: Rows, headDim: number, turn: Turn): Rows =>
  rows.map((row, t) => headsOf(row, headDim).flatMap((head) => turned(head, t, turn)))

/** down(silu(gate(x) * factor) * up(x)). */
function gatedMlp(rows: Rows, file: HybridFile, path: string, [gate, down] = [1, 1]): Rows {
  const gates = product(rows, vectorOf(file, `${path}.gate_proj.weight`), gate)
  const ups = product(rows, vectorOf(file, `${path}.up_proj.weight`))
  const inner = ups.map((row, t) => row.map((x, i) => x * silu(gates[t]![i]!)))
  return product(inner, vectorOf(file, `${path}.down_proj.weight`), down)
}

const embedded = (file: HybridFile, tokens: readonly number[], scale = 1) => {
  const width: number = file.config.hidden_size
  const table = vectorOf(file, 'model.embed_tokens.weight')
  return tokens.map((token) =>
    Array.from(table.subarray(token * width, (token + 1) * width), (x) => scale * x),
  )
}

/** The logits after each token, flat. */
export function falconH1Logits(file: HybridFile, tokens: readonly number[]): Float64Array {
  const { config } = file
  const eps: number = config.rms_norm_eps
  let hidden = embedded(file, tokens, config.embedding_multiplier)
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `model.layers.${i}`
    const input = normed(hidden, vectorOf(file, `${layer}.input_layernorm.weight`), eps)
    const mamba = falconMamba(file, `${layer}.mamba`, input)
    hidden = added(hidden, mamba, falconAttention(file, `${layer}.self_attn`, input))
    const inner = normed(hidden, vectorOf(file, `${layer}.pre_ff_layernorm.weight`), eps)
    hidden = added(hidden, gatedMlp(inner, file, `${layer}.feed_forward`, config.mlp_multipliers))
  }
  const last = normed(hidden, vectorOf(file, 'model.final_layernorm.weight'), eps)
  const head = vectorOf(
    file,
    config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight',
  )
  return Float64Array.from(product(last, head, config.lm_head_multiplier).flat())
}

function falconMamba(file: HybridFile, path: string, input: Rows): Rows {
  const { config } = file
  const { mamba_d_ssm: dInner, mamba_n_heads: heads, mamba_n_groups: groups } = config
  const groupCols = groups * config.mamba_d_state
  const sizes = [dInner, dInner, groupCols, groupCols, heads]
  const factors = sizes.flatMap((size, i) =>
    new Array<number>(size).fill(config.ssm_multipliers[i]),
  )
  const projected = product(
    input,
    vectorOf(file, `${path}.in_proj.weight`),
    config.ssm_in_multiplier,
  )
  const scaled = projected.map((row) => row.map((x, n) => x * factors[n]!))
  const channels = dInner + 2 * groupCols
  const xBC = convolved(columns(scaled, dInner, dInner + channels), file, `${path}.conv1d`)
  const { y } = stateSpaceRecurrence(
    xBC.map((row, t) => ({
      x: row.slice(0, dInner),
      B: row.slice(dInner, dInner + groupCols),
      C: row.slice(dInner + groupCols),
      dt: scaled[t]!.slice(dInner + channels),
    })),
    {
      heads,
      headDim: dInner / heads,
      dState: config.mamba_d_state,
      groups,
      A: plain(vectorOf(file, `${path}.A_log`)).map((x) => -Math.exp(x)),
      D: plain(vectorOf(file, `${path}.D`)),
      dtBias: plain(vectorOf(file, `${path}.dt_bias`)),
      dtLimit: [0, Number.POSITIVE_INFINITY],
    },
    new Array<number>(dInner * config.mamba_d_state).fill(0),
  )
  const weight = file.vectors.has(`${path}.norm.weight`)
    ? plain(vectorOf(file, `${path}.norm.weight`))
    : undefined
  const options = {
    eps: config.rms_norm_eps,
    groups,
    normBeforeGate: config.mamba_norm_before_gate,
  }
  const gated = y.map((row, t) => {
    const z = scaled[t]!.slice(0, dInner)
    return weight ? gatedRmsNorm(row, z, weight, options) : row.map((x, n) => x * silu(z[n]!))
  })
  return product(gated, vectorOf(file, `${path}.out_proj.weight`), config.ssm_out_multiplier)
}

function falconAttention(file: HybridFile, path: string, input: Rows): Rows {
  const { config } = file
  const { attention_in_multiplier: factor, head_dim: headDim } = config
  const turn = { frequencies: frequenciesOf(config.rope_parameters.rope_theta, headDim) }
  const projected = (name: string, scale: number) =>
    product(input, vectorOf(file, `${path}.${name}.weight`), scale)
  const out = attended(
    turnedHeads(projected('q_proj', factor), headDim, turn),
    turnedHeads(projected('k_proj', factor * config.key_multiplier), headDim, turn),
    projected('v_proj', factor),
    headDim,
  )
  return product(out, vectorOf(file, `${path}.o_proj.weight`), config.attention_out_multiplier)
}

/** The logits after each token, flat. */
export function qwen35Logits(file: HybridFile, tokens: readonly number[]): Float64Array {
  const { config } = file
  const eps: number = config.rms_norm_eps
  let hidden = embedded(file, tokens)
  for (const [i, type] of config.layer_types.entries()) {
    const layer = `model.layers.${i}`
    const input = normed(hidden, vectorOf(file, `${layer}.input_layernorm.weight`), eps, 1)
    const mixer =
      type === 'full_attention'
        ? qwenAttention(file, `${layer}.self_attn`, input)
        : qwenDelta(file, `${layer}.linear_attn`, input)
    hidden = added(hidden, mixer)
    const inner = normed(hidden, vectorOf(file, `${layer}.post_attention_layernorm.weight`), eps, 1)
    hidden = added(hidden, gatedMlp(inner, file, `${layer}.mlp`))
  }
  const last = normed(hidden, vectorOf(file, 'model.norm.weight'), eps, 1)
  const head = vectorOf(
    file,
    config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight',
  )
  return Float64Array.from(product(last, head).flat())
}

function qwenDelta(file: HybridFile, path: string, input: Rows): Rows {
  const { config } = file
  const { linear_num_key_heads: keyHeads, linear_num_value_heads: heads } = config
  const { linear_key_head_dim: keyDim, linear_value_head_dim: valueDim } = config
  const projected = (name: string) => product(input, vectorOf(file, `${path}.${name}.weight`))
  const qkv = convolved(projected('in_proj_qkv'), file, `${path}.conv1d`)
  const [z, b, a] = [projected('in_proj_z'), projected('in_proj_b'), projected('in_proj_a')]
  const keys = keyHeads * keyDim
  const { o } = deltaRule(
    qkv.map((row, t) => ({
      q: row.slice(0, keys),
      k: row.slice(keys, 2 * keys),
      v: row.slice(2 * keys),
      b: b[t]!,
      a: a[t]!,
    })),
    {
      keyHeads,
      heads,
      keyDim,
      valueDim,
      A: plain(vectorOf(file, `${path}.A_log`)).map((x) => -Math.exp(x)),
      dtBias: plain(vectorOf(file, `${path}.dt_bias`)),
    },
    new Float64Array(heads * valueDim * keyDim),
  )
  const weight = plain(vectorOf(file, `${path}.norm.weight`))
  const options = { eps: config.rms_norm_eps, groups: 1, normBeforeGate: true }
  const gated = o.map((row, t) => {
    const gates = headsOf(z[t]!, valueDim)
    return headsOf(row, valueDim).flatMap((head, h) =>
      gatedRmsNorm(head, gates[h]!, weight, options),
    )
  })
  return product(gated, vectorOf(file, `${path}.out_proj.weight`))
}

function qwenAttention(file: HybridFile, path: string, input: Rows): Rows {
  const { config } = file
  const { head_dim: headDim, rms_norm_eps: eps, rope_parameters: rope } = config
  const frequencies = frequenciesOf(rope.rope_theta, headDim * rope.partial_rotary_factor)
  const turn = (name: string) => ({
    norm: plain(vectorOf(file, `${path}.${name}.weight`), 1),
    eps,
    frequencies,
  })
  const projected = (name: string) => product(input, vectorOf(file, `${path}.${name}.weight`))
  // Each head of the query has its gate beside it.
  const both = projected('q_proj').map((row) => headsOf(row, headDim))
  const every = (parity: number) =>
    both.map((heads) => heads.filter((_, h) => h % 2 === parity).flat())
  const gates = every(1)
  const out = attended(
    turnedHeads(every(0), headDim, turn('q_norm')),
    turnedHeads(projected('k_proj'), headDim, turn('k_norm')),
    projected('v_proj'),
    headDim,
  )
  const gated = out.map((row, t) => row.map((x, i) => x * sigmoid(gates[t]![i]!)))
  return product(gated, vectorOf(file, `${path}.o_proj.weight`))
}
