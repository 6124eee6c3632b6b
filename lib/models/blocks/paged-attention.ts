// Causal attention over all positions so far, with grouped heads; what blocks of attention have in common:
//   q, k, v = q_proj(x), k_proj(x), v_proj(x)         or columns of qkv_proj(x), perhaps convolved along the positions
//   q, k    = rotary(norm(q)), rotary(norm(k))        where the model has them
//   out     = softmax(scale * q · k) v * sigmoid(gate)
// Keys and values lie in pages.

import type { Tensor } from '../../operations/tensor.js'
import type { Linear, Multiplier, RowRange } from '../../weights/loader.js'
import type { ActivationType } from '../../operations/device.js'
import {
  type BlockSource,
  type BlockState,
  type Norm,
  type Pass,
  recordLinear,
  type StateField,
} from './block.js'
import type { Rotary } from './rotary.js'

export interface PagedAttentionConfig {
  numHeads: number
  numKvHeads: number
  headDim: number
  /** Of the scores. */
  scale: number
  /** How queries and keys turn with the position; undefined where they do not. */
  rotary: Rotary | undefined
  /** Epsilon of the norm of each head of queries and keys, where they have one. */
  qkNormEpsilon?: number
  /** What the weights of these norms are stored without: 1 for models that multiply by 1 + w. */
  qkNormOffset?: number
  /** Each head of q_proj is followed by as many outputs for its gate. */
  outputGate?: boolean
  qkvBias: boolean
  /** Taps of a causal convolution over the columns of qkv_proj, which has a bias and no activation. */
  dConv?: number
  /** What models multiply the outputs of the projections by. */
  qMultiplier?: Multiplier
  kMultiplier?: Multiplier
  vMultiplier?: Multiplier
  /** Rank of what is added to q_proj, k_proj and v_proj: up(down(x)), where the family names these modules. */
  adapterRank?: number
}

/** What a family calls the modules. */
export interface PagedAttentionNames {
  /** Three modules, or one for q ‖ k ‖ v. */
  projections: readonly [q: string, k: string, v: string] | readonly [qkv: string]
  /** Tensors of the convolution. */
  convWeight?: string
  convBias?: string
  /** Tensors of the norms of queries and keys. */
  qNorm?: string
  kNorm?: string
  /** Of q, k and v. */
  adapters?: readonly AdapterNames[]
}

/** Two modules, of which one follows the other. */
export interface AdapterNames {
  down: string
  up: string
}

/** up(down(x)), which is added to the outputs of a projection. */
export interface Adapter {
  down: Linear
  up: Linear
  rank: number
}

/** What a sequence keeps between tokens besides pages: the window of the convolution. */
export function attentionStateFields(
  config: PagedAttentionConfig,
  activationType: ActivationType,
): StateField[] {
  const { dConv } = config
  if (dConv === undefined) return []
  return [{ name: 'conv', dtype: activationType, shape: [dConv, qkvCols(config)] }]
}

/** What it keeps of each position. */
export function attentionPagedFields(
  { numKvHeads, headDim }: PagedAttentionConfig,
  type: ActivationType,
): StateField[] {
  const shape = [numKvHeads * headDim]
  return [
    { name: 'keys', dtype: type, shape },
    { name: 'values', dtype: type, shape },
  ]
}

export function describeAttention(config: PagedAttentionConfig): string {
  const { numHeads, headDim, numKvHeads, rotary, qkNormEpsilon, outputGate } = config
  const parts = [
    `${numHeads} heads x ${headDim}`,
    `${numKvHeads} key/value heads`,
    rotary ? `rotary (${rotary.description})` : 'no positions',
    ...(qkNormEpsilon === undefined ? [] : ['q/k norm']),
    ...(outputGate ? ['output gate'] : []),
  ]
  return parts.join(', ')
}

export function attentionMatrices({ projections, adapters = [] }: PagedAttentionNames): string[] {
  return [...projections, ...adapters.flatMap(({ down, up }) => [down, up])]
}

/** Columns of q, k and v side by side. */
function qkvCols({ numHeads, numKvHeads, headDim }: PagedAttentionConfig): number {
  return (numHeads + 2 * numKvHeads) * headDim
}

interface PagedAttentionWeights {
  /** Of q, k and v, or of all of them. */
  projections: readonly Linear[]
  /** Of q, k and v, where they have them. */
  adapters: readonly Adapter[]
  convWeight: Tensor | undefined
  convBias: Tensor | undefined
  qNorm: Tensor | undefined
  kNorm: Tensor | undefined
  /** float32 (rotary columns / 2). */
  frequencies: Tensor | undefined
}

/** From the input of a layer to the results of its heads. */
export class PagedAttention {
  readonly #config: PagedAttentionConfig
  readonly #norm: Norm | undefined
  readonly #weights: PagedAttentionWeights

  private constructor(
    config: PagedAttentionConfig,
    norm: Norm | undefined,
    weights: PagedAttentionWeights,
  ) {
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: PagedAttentionConfig,
    source: Omit<BlockSource<PagedAttentionNames>, 'state' | 'pagedState'>,
  ): Promise<PagedAttention> {
    const { loader, names, path, norm } = source
    const { headDim, rotary, dConv, qkNormEpsilon, qkNormOffset = 0 } = config
    const headNorm = async (name: string | undefined) => {
      if (qkNormEpsilon === undefined || name === undefined) return undefined
      return loader.vector(path(name), headDim, qkNormOffset)
    }
    const convolution = names.convWeight !== undefined && dConv !== undefined
    return new PagedAttention(config, norm, {
      projections: await loadProjections(config, source),
      adapters: await loadAdapters(config, source),
      convWeight: convolution
        ? await loader.convolution(path(names.convWeight!), qkvCols(config), dConv)
        : undefined,
      convBias: convolution
        ? await loader.vector(path(names.convBias!), qkvCols(config))
        : undefined,
      qNorm: await headNorm(names.qNorm),
      kNorm: await headNorm(names.kNorm),
      frequencies: rotary && loader.constant(Float32Array.from(rotary.frequencies)),
    })
  }

  /**
   * Records one token a row, input (batch, …), or a chunk of a prompt, (batch, length, …). Returns the scratch tensor of
   * the results, (…, numHeads * headDim).
   */
  record(pass: Pass, input: Tensor, state: BlockState): Tensor {
    return input.shape.length === 2
      ? this.#decode(pass, input, state)
      : this.#prefill(pass, input, state)
  }

  #decode(pass: Pass, input: Tensor, state: BlockState): Tensor {
    const { headDim, scale, outputGate: gated } = this.#config
    const { q, k, v } = this.#project(pass, input, state)
    const { qNorm, kNorm, frequencies } = this.#weights
    const out = pass.workspace.take('attention', [input.shape[0]!], this.#queryCols)
    pass.cl.pagedAttentionDecode(
      { q, k, v, qNorm, kNorm, frequencies, ...this.#pages(pass, state), out },
      { headDim, scale, gated, ...this.#turn() },
    )
    return out
  }

  #prefill(pass: Pass, input: Tensor, state: BlockState): Tensor {
    const { cl, workspace } = pass
    const { headDim, scale, outputGate: gated, qkNormEpsilon, rotary } = this.#config
    const { q, k, v } = this.#project(pass, input, state)
    const { qNorm, kNorm, frequencies } = this.#weights
    const pages = this.#pages(pass, state)
    if (qkNormEpsilon !== undefined || rotary) {
      const { position, rows } = pages
      const turned = { frequencies, position: rotary && position, rows }
      const headStride = gated ? 2 * headDim : headDim
      cl.rotary({ x: q, normWeight: qNorm, ...turned }, { headDim, headStride, ...this.#turn() })
      cl.rotary({ x: k, normWeight: kNorm, ...turned }, { headDim, ...this.#turn() })
    }
    const out = workspace.take('attention', input.shape.slice(0, -1), this.#queryCols)
    cl.kvPagesWrite({ k, v, ...pages })
    cl.pagedAttentionPrefill({ q, ...pages, out }, { headDim, scale, gated })
    return out
  }

  get #queryCols(): number {
    return this.#config.numHeads * this.#config.headDim
  }

  #turn() {
    const { qkNormEpsilon, rotary } = this.#config
    return { eps: qkNormEpsilon, attentionFactor: rotary?.attentionFactor }
  }

  #pages({ pages, positions, rows }: Pass, { keys, values }: BlockState) {
    return { keys: keys!, values: values!, pages: pages!, position: positions, rows }
  }

  #project(pass: Pass, input: Tensor, state: BlockState) {
    const { cl, workspace, role } = pass
    const { projections, convWeight } = this.#weights
    const leading = input.shape.slice(0, -1)
    const cols = this.#projectedCols()
    const outputs = projections.length === 1 ? [cols.q + cols.k + cols.v] : Object.values(cols)
    const results = projections.map((projection, i) => {
      const result = workspace.take(PROJECTED[i]!, leading, outputs[i]!)
      recordLinear(cl, input, projection, result, { role, norm: this.#norm })
      return result
    })
    for (const [i, adapter] of this.#weights.adapters.entries()) {
      recordAdapter(pass, input, this.#norm, adapter, results[i]!)
    }
    if (results.length === 3) return { q: results[0]!, k: results[1]!, v: results[2]! }
    const qkv = convWeight ? this.#convolve(pass, results[0]!, state) : results[0]!
    return {
      q: qkv.columns(0, cols.q),
      k: qkv.columns(cols.q, cols.q + cols.k),
      v: qkv.columns(cols.q + cols.k, qkv.cols),
    }
  }

  #convolve({ cl, workspace, positions, rows }: Pass, qkv: Tensor, state: BlockState): Tensor {
    const out = workspace.take('conv', qkv.shape.slice(0, -1), qkv.cols)
    const tensors = {
      x: qkv,
      weight: this.#weights.convWeight!,
      bias: this.#weights.convBias,
      state: state.conv!,
      position: positions,
      rows,
      out,
    }
    if (qkv.shape.length === 2) cl.conv1dUpdate(tensors, { activation: 'none' })
    else cl.conv1dPrefill(tensors, { activation: 'none' })
    return out
  }

  #projectedCols() {
    const { numKvHeads, headDim, outputGate } = this.#config
    const keyCols = numKvHeads * headDim
    return { q: (outputGate ? 2 : 1) * this.#queryCols, k: keyCols, v: keyCols }
  }
}

// Scratch tensors of the projections; all of them in the first where they are one.
const PROJECTED = ['queries', 'keys', 'values'] as const

type ProjectionSource = Pick<
  BlockSource<PagedAttentionNames>,
  'loader' | 'names' | 'path' | 'dModel'
>

async function loadProjections(
  config: PagedAttentionConfig,
  { loader, names, path, dModel }: ProjectionSource,
): Promise<Linear[]> {
  const { numHeads, numKvHeads, headDim, qkvBias, outputGate } = config
  const load = (name: string, rows: number, multiplier?: Multiplier) =>
    loader.linear(path(name), rows, dModel, qkvBias, multiplier)
  const [q, k, v] = names.projections
  if (k === undefined || v === undefined) return [await load(q, qkvCols(config))]
  const keyRows = numKvHeads * headDim
  return [
    await load(q, (outputGate ? 2 : 1) * numHeads * headDim, config.qMultiplier),
    await load(k, keyRows, config.kMultiplier),
    await load(v, keyRows, config.vMultiplier),
  ]
}

async function loadAdapters(
  { numHeads, numKvHeads, headDim, adapterRank = 0 }: PagedAttentionConfig,
  source: ProjectionSource,
): Promise<Adapter[]> {
  const adapters: Adapter[] = []
  for (const [i, names] of (source.names.adapters ?? []).entries()) {
    const outputs = (i === 0 ? numHeads : numKvHeads) * headDim
    adapters.push(await loadAdapter(source, names, outputs, adapterRank))
  }
  return adapters
}

/** What is added to a projection with so many outputs, or to some of them. */
export async function loadAdapter(
  { loader, path, dModel }: Omit<ProjectionSource, 'names'>,
  { down, up }: AdapterNames,
  outputs: number | RowRange,
  rank: number,
): Promise<Adapter> {
  return {
    down: await loader.linear(path(down), rank, dModel, false),
    up: await loader.linear(path(up), outputs, rank, false),
    rank,
  }
}

/** out += up(down(norm(x))). */
export function recordAdapter(
  { cl, workspace, role }: Pass,
  x: Tensor,
  norm: Norm | undefined,
  { down, up, rank }: Adapter,
  out: Tensor,
): void {
  const between = workspace.take('adapter', x.shape.slice(0, -1), rank)
  recordLinear(cl, x, down, between, { role, norm })
  recordLinear(cl, between, up, out, { role, residual: out })
}
