// Attention over all positions so far, then out_proj. Decode takes five operations: three products, attention with all
// that stands before it, and out_proj.

import type { Linear, Multiplier } from '../../weights/loader.js'
import {
  type Block,
  type BlockKind,
  type BlockSource,
  type BlockState,
  type Pass,
  recordLinear,
  type StateField,
  type Stream,
} from './block.js'
import {
  attentionMatrices,
  attentionPagedFields,
  attentionStateFields,
  describeAttention,
  PagedAttention,
  type PagedAttentionConfig,
  type PagedAttentionNames,
} from './paged-attention.js'

/** Attention over all positions so far. */
export interface FullAttentionConfig extends PagedAttentionConfig {
  kind: 'full_attention'
  outBias: boolean
  /** What models multiply the outputs of out_proj by. */
  outMultiplier?: Multiplier
}

/** What a family calls its modules, inside the layer. */
export interface FullAttentionNames extends PagedAttentionNames {
  outProj: string
}

export const fullAttention = {
  kind: 'full_attention',
  stateFields(config, activationType) {
    return attentionStateFields(config, activationType)
  },
  pagedFields(config, type) {
    return attentionPagedFields(config, type)
  },
  describe(config) {
    return describeAttention(config)
  },
  describeState: () => 'the convolutions of its attention layers',
  matrices: (names) => [...attentionMatrices(names), names.outProj],
  load: (config, source) => FullAttentionBlock.load(config, source),
} satisfies BlockKind<FullAttentionConfig, FullAttentionNames>

export class FullAttentionBlock implements Block {
  readonly state: readonly StateField[]
  readonly pagedState: readonly StateField[]
  readonly #attention: PagedAttention
  readonly #outProj: Linear

  private constructor(
    { state, pagedState }: BlockSource<FullAttentionNames>,
    attention: PagedAttention,
    outProj: Linear,
  ) {
    this.state = state
    this.pagedState = pagedState
    this.#attention = attention
    this.#outProj = outProj
  }

  static async load(
    config: FullAttentionConfig,
    source: BlockSource<FullAttentionNames>,
  ): Promise<FullAttentionBlock> {
    const { loader, names, path, dModel } = source
    const { numHeads, headDim, outBias, outMultiplier } = config
    const attention = await PagedAttention.load(config, source)
    const inputs = numHeads * headDim
    const outProj = await loader.linear(path(names.outProj), dModel, inputs, outBias, outMultiplier)
    return new FullAttentionBlock(source, attention, outProj)
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state)
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state)
  }

  #record(pass: Pass, { input, residual, out }: Stream, state: BlockState): void {
    const results = this.#attention.record(pass, input, state)
    recordLinear(pass.cl, results, this.#outProj, out, { role: pass.role, residual })
  }
}
