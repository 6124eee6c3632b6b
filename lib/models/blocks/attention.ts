// Causal sliding-window attention with multi- or grouped-query heads, no rotary embedding:
//   q, k, v = qkv_proj(x)                   columns in the order q | k | v
//   out     = out_proj(softmax(scale * q · k) v) over the last `window` positions

import type { Tensor } from '../../operations/tensor.js'
import type { Linear } from '../../weights/loader.js'
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

/** Causal attention over the last `window` positions, without rotary embedding. */
export interface AttentionConfig {
  kind: 'attention'
  numHeads: number
  numKvHeads: number
  headDim: number
  window: number
  qkvBias: boolean
  outBias: boolean
  scale: number
}

/** What a family calls its modules, inside the layer. */
export interface AttentionNames {
  qkvProj: string
  outProj: string
}

export const attention = {
  kind: 'attention',
  stateFields({ window, numKvHeads, headDim }, activationType) {
    const shape = [window, numKvHeads * headDim]
    return [
      { name: 'keys', dtype: activationType, shape },
      { name: 'values', dtype: activationType, shape },
    ]
  },
  describe: ({ numHeads, headDim, numKvHeads, window }) =>
    `${numHeads} heads x ${headDim}, ${numKvHeads} key/value heads, window ${window}`,
  describeState: ({ window }) => `attention over a window of ${window} positions`,
  matrices: ({ qkvProj, outProj }) => [qkvProj, outProj],
  load: (config, source) => AttentionBlock.load(config, source),
} satisfies BlockKind<AttentionConfig, AttentionNames>

export class AttentionBlock implements Block {
  readonly state: readonly StateField[]
  readonly #config: AttentionConfig
  readonly #norm: Norm | undefined
  readonly #qkvProj: Linear
  readonly #outProj: Linear

  private constructor(
    config: AttentionConfig,
    state: readonly StateField[],
    norm: Norm | undefined,
    qkvProj: Linear,
    outProj: Linear,
  ) {
    this.state = state
    this.#config = config
    this.#norm = norm
    this.#qkvProj = qkvProj
    this.#outProj = outProj
  }

  static async load(
    config: AttentionConfig,
    { loader, names, path, dModel, norm, state }: BlockSource<AttentionNames>,
  ): Promise<AttentionBlock> {
    const { numHeads, numKvHeads, headDim, qkvBias, outBias } = config
    const qkvRows = (numHeads + 2 * numKvHeads) * headDim
    return new AttentionBlock(
      config,
      state,
      norm,
      await loader.linear(path(names.qkvProj), qkvRows, dModel, qkvBias),
      await loader.linear(path(names.outProj), dModel, numHeads * headDim, outBias),
    )
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, stream.input, state)
    pass.cl.attentionDecode(tensors, { headDim, scale })
    recordLinear(pass.cl, tensors.out, this.#outProj, stream.out, {
      role: pass.role,
      residual: stream.residual,
    })
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, stream.input, state)
    const { k, v, rows, keys, values, position } = tensors
    pass.cl.attentionPrefill(tensors, { headDim, scale })
    pass.cl.kvCacheWrite({ k, v, rows, keys, values, position }, { headDim })
    recordLinear(pass.cl, tensors.out, this.#outProj, stream.out, {
      role: pass.role,
      residual: stream.residual,
    })
  }

  #project(pass: Pass, input: Tensor, state: BlockState) {
    const { cl, workspace, rows, positions, role } = pass
    const { numHeads, numKvHeads, headDim } = this.#config
    const leading = input.shape.slice(0, -1)
    const queryCols = numHeads * headDim
    const keyCols = numKvHeads * headDim
    const qkv = workspace.take('in_proj', leading, queryCols + 2 * keyCols)
    recordLinear(cl, input, this.#qkvProj, qkv, { role, norm: this.#norm })
    return {
      q: qkv.columns(0, queryCols),
      k: qkv.columns(queryCols, queryCols + keyCols),
      v: qkv.columns(queryCols + keyCols, queryCols + 2 * keyCols),
      rows,
      keys: state.keys!,
      values: state.values!,
      position: positions,
      out: workspace.take('attention', leading, queryCols),
    }
  }
}
