// out_proj(activation(in_proj(x))); gated: out_proj(norm(activation(in_proj(x)) * gate_proj(x))).

import type { Tensor } from '../../tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import type { MlpConfig } from '../config.js'
import type { TensorNames } from '../families/family.js'
import { type Layer, type LayerState, type Pass, recordLinear } from './layer.js'

interface MlpWeights {
  inProj: Linear
  gateProj: Linear | undefined
  outProj: Linear
  norm: Tensor | undefined
}

export class MlpLayer implements Layer {
  readonly #config: MlpConfig
  readonly #dModel: number
  readonly #weights: MlpWeights

  private constructor(config: MlpConfig, dModel: number, weights: MlpWeights) {
    this.#config = config
    this.#dModel = dModel
    this.#weights = weights
  }

  /** Loads the weights under `prefix`. */
  static async load(
    loader: WeightLoader,
    config: MlpConfig,
    dModel: number,
    names: TensorNames['mlp'],
    prefix: string,
  ): Promise<MlpLayer> {
    const { dInner, bias, gated, norm } = config
    const path = (name: string) => `${prefix}.${name}`
    if (config.hasUnusedNorm) loader.ignore(path(names.norm))
    return new MlpLayer(config, dModel, {
      inProj: await loader.linear(path(names.inProj), dInner, dModel, bias),
      gateProj: gated ? await loader.linear(path(names.gateProj), dInner, dModel, bias) : undefined,
      outProj: await loader.linear(path(names.outProj), dModel, dInner, bias),
      norm: norm ? await loader.vector(path(names.norm), dInner) : undefined,
    })
  }

  createState(): LayerState {
    return {}
  }

  decode(pass: Pass, x: Tensor): Tensor {
    return this.#record(pass, x)
  }

  prefill(pass: Pass, x: Tensor): Tensor {
    return this.#record(pass, x)
  }

  #record({ cl, workspace }: Pass, x: Tensor): Tensor {
    const { dInner, activation, normEpsilon } = this.#config
    const { inProj, gateProj, outProj, norm } = this.#weights
    const leading = x.shape.slice(0, -1)
    const hidden = workspace.take('mlp', leading, dInner)
    recordLinear(cl, x, inProj, hidden)
    let gate: Tensor | undefined
    if (gateProj) {
      gate = workspace.take('mlp gate', leading, dInner)
      recordLinear(cl, x, gateProj, gate)
    }
    cl.mlpActivation(hidden, hidden, { activation, gate })
    let normed = hidden
    if (norm) {
      normed = workspace.take('mlp norm', leading, dInner)
      cl.rmsNorm(hidden, norm, normed, { eps: normEpsilon })
    }
    const out = workspace.take('layer', leading, this.#dModel)
    recordLinear(cl, normed, outProj, out)
    return out
  }
}
