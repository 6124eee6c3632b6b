// Causal sliding-window attention with multi- or grouped-query heads, no rotary embedding:
//   q, k, v = qkv_proj(x)                   columns in the order q | k | v
//   out     = out_proj(softmax(scale * q · k) v) over the last `window` positions

import type { Tensor } from '../../operations/tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import type { AttentionConfig } from '../config.js'
import type { TensorNames } from '../families/family.js'
import type { StateField } from '../state-fields.js'
import { type Block, type BlockState, type Norm, type Pass, recordLinear } from './block.js'

export class AttentionBlock implements Block {
  readonly state: readonly StateField[]
  readonly #config: AttentionConfig
  readonly #norm: Norm
  readonly #qkvProj: Linear
  readonly #outProj: Linear

  private constructor(
    config: AttentionConfig,
    state: readonly StateField[],
    norm: Norm,
    qkvProj: Linear,
    outProj: Linear,
  ) {
    this.state = state
    this.#config = config
    this.#norm = norm
    this.#qkvProj = qkvProj
    this.#outProj = outProj
  }

  /** Loads the weights under `prefix`. */
  static async load(
    loader: WeightLoader,
    config: AttentionConfig,
    state: readonly StateField[],
    norm: Norm,
    dModel: number,
    names: TensorNames['attention'],
    prefix: string,
  ): Promise<AttentionBlock> {
    const { numHeads, numKvHeads, headDim, qkvBias, outBias } = config
    const qkvRows = (numHeads + 2 * numKvHeads) * headDim
    return new AttentionBlock(
      config,
      state,
      norm,
      await loader.linear(`${prefix}.${names.qkvProj}`, qkvRows, dModel, qkvBias),
      await loader.linear(`${prefix}.${names.outProj}`, dModel, numHeads * headDim, outBias),
    )
  }

  decode(pass: Pass, hidden: Tensor, state: BlockState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, hidden, state)
    pass.cl.attentionDecode(tensors, { headDim, scale })
    recordLinear(pass.cl, tensors.out, this.#outProj, hidden, {
      role: pass.role,
      residual: hidden,
    })
  }

  prefill(pass: Pass, hidden: Tensor, state: BlockState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, hidden, state)
    const { k, v, rows, keys, values, position } = tensors
    pass.cl.attentionPrefill(tensors, { headDim, scale })
    pass.cl.kvCacheWrite({ k, v, rows, keys, values, position }, { headDim })
    recordLinear(pass.cl, tensors.out, this.#outProj, hidden, {
      role: pass.role,
      residual: hidden,
    })
  }

  #project(pass: Pass, hidden: Tensor, state: BlockState) {
    const { cl, workspace, rows, positions, role } = pass
    const { numHeads, numKvHeads, headDim } = this.#config
    const leading = hidden.shape.slice(0, -1)
    const queryCols = numHeads * headDim
    const keyCols = numKvHeads * headDim
    const qkv = workspace.take('in_proj', leading, queryCols + 2 * keyCols)
    recordLinear(cl, hidden, this.#qkvProj, qkv, { role, norm: this.#norm })
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
