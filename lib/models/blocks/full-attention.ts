// Causal attention over all positions so far, with grouped heads:
//   q, k, v = q_proj(x), k_proj(x), v_proj(x)         or columns of qkv_proj(x), perhaps convolved along the positions
//   q, k    = rotary(norm(q)), rotary(norm(k))        where the model has them
//   out     = out_proj(softmax(scale * q · k) v * sigmoid(gate))
// Keys and values lie in pages. Decode takes five operations: three products, attention with all that stands before it,
// and out_proj.

import type { Tensor } from '../../operations/tensor.js'
import type { Linear, Multiplier } from '../../weights/loader.js'
import {
  type Block,
  type BlockKind,
  type BlockSource,
  type BlockState,
  type Norm,
  type Pass,
  recordLinear,
  type StateField,
  type Stream,
} from './block.js'
import type { Rotary } from './rotary.js'

/** Attention over all positions so far. */
export interface FullAttentionConfig {
  kind: 'full_attention'
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
  outBias: boolean
  /** Taps of a causal convolution over the columns of qkv_proj, which has a bias and no activation. */
  dConv?: number
  /** What models multiply the outputs of the projections by. */
  qMultiplier?: Multiplier
  kMultiplier?: Multiplier
  vMultiplier?: Multiplier
  outMultiplier?: Multiplier
}

/** What a family calls its modules, inside the layer. */
export interface FullAttentionNames {
  /** Three modules, or one for q ‖ k ‖ v. */
  projections: readonly [q: string, k: string, v: string] | readonly [qkv: string]
  outProj: string
  /** Tensors of the convolution. */
  convWeight?: string
  convBias?: string
  /** Tensors of the norms of queries and keys. */
  qNorm?: string
  kNorm?: string
}

export const fullAttention = {
  kind: 'full_attention',
  stateFields(config, activationType) {
    const { dConv } = config
    if (dConv === undefined) return []
    return [{ name: 'conv', dtype: activationType, shape: [dConv, qkvCols(config)] }]
  },
  pagedFields({ numKvHeads, headDim }, type) {
    const shape = [numKvHeads * headDim]
    return [
      { name: 'keys', dtype: type, shape },
      { name: 'values', dtype: type, shape },
    ]
  },
  describe({ numHeads, headDim, numKvHeads, rotary, qkNormEpsilon, outputGate }) {
    const parts = [
      `${numHeads} heads x ${headDim}`,
      `${numKvHeads} key/value heads`,
      rotary ? `rotary (${rotary.description})` : 'no positions',
      ...(qkNormEpsilon === undefined ? [] : ['q/k norm']),
      ...(outputGate ? ['output gate'] : []),
    ]
    return parts.join(', ')
  },
  describeState: () => 'the convolutions of its attention layers',
  matrices: ({ projections, outProj }) => [...projections, outProj],
  load: (config, source) => FullAttentionBlock.load(config, source),
} satisfies BlockKind<FullAttentionConfig, FullAttentionNames>

/** Columns of q, k and v side by side. */
function qkvCols({ numHeads, numKvHeads, headDim }: FullAttentionConfig): number {
  return (numHeads + 2 * numKvHeads) * headDim
}

interface FullAttentionWeights {
  /** Of q, k and v, or of all of them. */
  projections: readonly Linear[]
  outProj: Linear
  convWeight: Tensor | undefined
  convBias: Tensor | undefined
  qNorm: Tensor | undefined
  kNorm: Tensor | undefined
  /** float32 (rotary columns / 2). */
  frequencies: Tensor | undefined
}

export class FullAttentionBlock implements Block {
  readonly state: readonly StateField[]
  readonly pagedState: readonly StateField[]
  readonly #config: FullAttentionConfig
  readonly #norm: Norm | undefined
  readonly #weights: FullAttentionWeights

  private constructor(
    config: FullAttentionConfig,
    { state, pagedState, norm }: BlockSource<FullAttentionNames>,
    weights: FullAttentionWeights,
  ) {
    this.state = state
    this.pagedState = pagedState
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: FullAttentionConfig,
    source: BlockSource<FullAttentionNames>,
  ): Promise<FullAttentionBlock> {
    const { loader, names, path, dModel } = source
    const { numHeads, headDim, outBias, rotary, dConv, qkNormEpsilon, qkNormOffset = 0 } = config
    const headNorm = async (name: string | undefined) => {
      if (qkNormEpsilon === undefined || name === undefined) return undefined
      return loader.mappedVector(path(name), headDim, (weight) => weight + qkNormOffset)
    }
    const convolution = names.convWeight !== undefined && dConv !== undefined
    return new FullAttentionBlock(config, source, {
      projections: await loadProjections(config, source),
      outProj: await loader.linear(
        path(names.outProj),
        dModel,
        numHeads * headDim,
        outBias,
        config.outMultiplier,
      ),
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

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, role } = pass
    const { headDim, scale, outputGate: gated } = this.#config
    const { q, k, v } = this.#project(pass, stream.input, state)
    const { qNorm, kNorm, frequencies } = this.#weights
    const out = workspace.take('attention', [q.shape[0]!], this.#queryCols)
    cl.pagedAttentionDecode(
      { q, k, v, qNorm, kNorm, frequencies, ...this.#pages(pass, state), out },
      { headDim, scale, gated, ...this.#turn() },
    )
    recordLinear(cl, out, this.#weights.outProj, stream.out, { role, residual: stream.residual })
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, role } = pass
    const { headDim, scale, outputGate: gated, qkNormEpsilon, rotary } = this.#config
    const { q, k, v } = this.#project(pass, stream.input, state)
    const { qNorm, kNorm, frequencies } = this.#weights
    const pages = this.#pages(pass, state)
    if (qkNormEpsilon !== undefined || rotary) {
      const { position, rows } = pages
      const turned = { frequencies, position: rotary && position, rows }
      const headStride = gated ? 2 * headDim : headDim
      cl.rotary({ x: q, normWeight: qNorm, ...turned }, { headDim, headStride, ...this.#turn() })
      cl.rotary({ x: k, normWeight: kNorm, ...turned }, { headDim, ...this.#turn() })
    }
    const out = workspace.take('attention', q.shape.slice(0, -1), this.#queryCols)
    cl.kvPagesWrite({ k, v, ...pages })
    cl.pagedAttentionPrefill({ q, ...pages, out }, { headDim, scale, gated })
    recordLinear(cl, out, this.#weights.outProj, stream.out, { role, residual: stream.residual })
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

async function loadProjections(
  config: FullAttentionConfig,
  { loader, names, path, dModel }: BlockSource<FullAttentionNames>,
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
