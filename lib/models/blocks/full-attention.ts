// Causal attention over all positions so far, with grouped heads:
//   q, k, v = q_proj(x), k_proj(x), v_proj(x)
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
  /** What models multiply the outputs of the projections by. */
  qMultiplier?: Multiplier
  kMultiplier?: Multiplier
  vMultiplier?: Multiplier
  outMultiplier?: Multiplier
}

/** What a family calls its modules, inside the layer. */
export interface FullAttentionNames {
  qProj: string
  kProj: string
  vProj: string
  outProj: string
  /** Tensors of the norms of queries and keys. */
  qNorm?: string
  kNorm?: string
}

export const fullAttention = {
  kind: 'full_attention',
  stateFields: () => [],
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
  describeState: () => 'attention over all positions',
  matrices: ({ qProj, kProj, vProj, outProj }) => [qProj, kProj, vProj, outProj],
  load: (config, source) => FullAttentionBlock.load(config, source),
} satisfies BlockKind<FullAttentionConfig, FullAttentionNames>

interface FullAttentionWeights {
  qProj: Linear
  kProj: Linear
  vProj: Linear
  outProj: Linear
  qNorm: Tensor | undefined
  kNorm: Tensor | undefined
  /** float32 (rotary columns / 2). */
  frequencies: Tensor | undefined
}

export class FullAttentionBlock implements Block {
  readonly state = []
  readonly pagedState: readonly StateField[]
  readonly #config: FullAttentionConfig
  readonly #norm: Norm | undefined
  readonly #weights: FullAttentionWeights

  private constructor(
    config: FullAttentionConfig,
    pagedState: readonly StateField[],
    norm: Norm | undefined,
    weights: FullAttentionWeights,
  ) {
    this.pagedState = pagedState
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: FullAttentionConfig,
    source: BlockSource<FullAttentionNames>,
  ): Promise<FullAttentionBlock> {
    const { loader, names, path, dModel, norm, pagedState } = source
    const { numHeads, numKvHeads, headDim, qkvBias, outBias, rotary } = config
    const queryRows = numHeads * headDim
    const keyRows = numKvHeads * headDim
    const project = (name: string, rows: number, multiplier: Multiplier | undefined) =>
      loader.linear(path(name), rows, dModel, qkvBias, multiplier)
    const headNorm = async (name: string | undefined) => {
      if (config.qkNormEpsilon === undefined || name === undefined) return undefined
      return await loader.vector(path(name), headDim, config.qkNormOffset)
    }
    const qRows = config.outputGate ? 2 * queryRows : queryRows
    return new FullAttentionBlock(config, pagedState, norm, {
      qProj: await project(names.qProj, qRows, config.qMultiplier),
      kProj: await project(names.kProj, keyRows, config.kMultiplier),
      vProj: await project(names.vProj, keyRows, config.vMultiplier),
      outProj: await loader.linear(
        path(names.outProj),
        dModel,
        queryRows,
        outBias,
        config.outMultiplier,
      ),
      qNorm: await headNorm(names.qNorm),
      kNorm: await headNorm(names.kNorm),
      frequencies: rotary && loader.constant(Float32Array.from(rotary.frequencies)),
    })
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, role } = pass
    const { headDim, scale, outputGate: gated } = this.#config
    const { q, k, v } = this.#project(pass, stream.input)
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
    const { q, k, v } = this.#project(pass, stream.input)
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

  #project({ cl, workspace, role }: Pass, input: Tensor) {
    const { numKvHeads, headDim, outputGate } = this.#config
    const { qProj, kProj, vProj } = this.#weights
    const leading = input.shape.slice(0, -1)
    const keyCols = numKvHeads * headDim
    const q = workspace.take('queries', leading, (outputGate ? 2 : 1) * this.#queryCols)
    const k = workspace.take('keys', leading, keyCols)
    const v = workspace.take('values', leading, keyCols)
    const options = { role, norm: this.#norm }
    recordLinear(cl, input, qProj, q, options)
    recordLinear(cl, input, kProj, k, options)
    recordLinear(cl, input, vProj, v, options)
    return { q, k, v }
  }
}
