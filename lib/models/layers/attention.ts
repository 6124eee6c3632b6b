// Causal sliding-window attention with multi- or grouped-query heads, no rotary embedding:
//   q, k, v = qkv_proj(x)                   columns in the order q | k | v
//   out     = out_proj(softmax(scale * q · k) v) over the last `window` positions

import type { ActivationType, Device } from '../../device.js'
import type { Tensor } from '../../tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import type { AttentionConfig } from '../config.js'
import type { TensorNames } from '../families/family.js'
import { type Layer, type LayerState, type Norm, type Pass, recordLinear } from './layer.js'

export class AttentionLayer implements Layer {
  readonly #config: AttentionConfig
  readonly #qkvProj: Linear
  readonly #outProj: Linear

  private constructor(config: AttentionConfig, qkvProj: Linear, outProj: Linear) {
    this.#config = config
    this.#qkvProj = qkvProj
    this.#outProj = outProj
  }

  /** Loads the weights under `prefix`. */
  static async load(
    loader: WeightLoader,
    config: AttentionConfig,
    dModel: number,
    names: TensorNames['attention'],
    prefix: string,
  ): Promise<AttentionLayer> {
    const { numHeads, numKvHeads, headDim, qkvBias, outBias } = config
    const qkvRows = (numHeads + 2 * numKvHeads) * headDim
    return new AttentionLayer(
      config,
      await loader.linear(`${prefix}.${names.qkvProj}`, qkvRows, dModel, qkvBias),
      await loader.linear(`${prefix}.${names.outProj}`, dModel, numHeads * headDim, outBias),
    )
  }

  createState(device: Device, batch: number, activationType: ActivationType): LayerState {
    const { window, numKvHeads, headDim } = this.#config
    const shape = [batch, window, numKvHeads * headDim]
    return {
      keys: device.tensor(activationType, shape),
      values: device.tensor(activationType, shape),
    }
  }

  decode(pass: Pass, hidden: Tensor, norm: Norm, state: LayerState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, hidden, norm, state)
    pass.cl.attentionDecode(tensors, { headDim, scale })
    recordLinear(pass.cl, tensors.out, this.#outProj, hidden, { residual: hidden })
  }

  prefill(pass: Pass, hidden: Tensor, norm: Norm, state: LayerState): void {
    const { headDim, scale } = this.#config
    const tensors = this.#project(pass, hidden, norm, state)
    const { k, v, keys, values, position } = tensors
    pass.cl.attentionPrefill(tensors, { headDim, scale })
    pass.cl.kvCacheWrite({ k, v, keys, values, position }, { headDim })
    recordLinear(pass.cl, tensors.out, this.#outProj, hidden, { residual: hidden })
  }

  #project({ cl, workspace, position }: Pass, hidden: Tensor, norm: Norm, state: LayerState) {
    const { numHeads, numKvHeads, headDim } = this.#config
    const leading = hidden.shape.slice(0, -1)
    const queryCols = numHeads * headDim
    const keyCols = numKvHeads * headDim
    const qkv = workspace.take('in_proj', leading, queryCols + 2 * keyCols)
    recordLinear(cl, hidden, this.#qkvProj, qkv, { norm })
    return {
      q: qkv.columns(0, queryCols),
      k: qkv.columns(queryCols, queryCols + keyCols),
      v: qkv.columns(queryCols + keyCols, queryCols + 2 * keyCols),
      keys: state.keys!,
      values: state.values!,
      position,
      out: workspace.take('attention', leading, queryCols),
    }
  }
}
