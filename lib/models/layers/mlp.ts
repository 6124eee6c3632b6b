// out_proj(activation(in_proj(x))); gated: out_proj(norm(activation(in_proj(x)) * gate_proj(x))).

import type { Tensor } from '../../tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import type { MlpConfig } from '../config.js'
import type { TensorNames } from '../families/family.js'
import { type Layer, type LayerState, type Norm, type Pass, recordLinear } from './layer.js'

interface MlpWeights {
  inProj: Linear
  gateProj: Linear | undefined
  outProj: Linear
  norm: Tensor | undefined
}

export class MlpLayer implements Layer {
  readonly #config: MlpConfig
  readonly #weights: MlpWeights

  private constructor(config: MlpConfig, weights: MlpWeights) {
    this.#config = config
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
    return new MlpLayer(config, {
      inProj: await loader.linear(path(names.inProj), dInner, dModel, bias),
      gateProj: gated ? await loader.linear(path(names.gateProj), dInner, dModel, bias) : undefined,
      outProj: await loader.linear(path(names.outProj), dModel, dInner, bias),
      norm: norm ? await loader.vector(path(names.norm), dInner) : undefined,
    })
  }

  createState(): LayerState {
    return {}
  }

  decode(pass: Pass, hidden: Tensor, norm: Norm): void {
    this.#record(pass, hidden, norm)
  }

  prefill(pass: Pass, hidden: Tensor, norm: Norm): void {
    this.#record(pass, hidden, norm)
  }

  #record({ cl, workspace }: Pass, hidden: Tensor, norm: Norm): void {
    const { dInner, activation, normEpsilon } = this.#config
    const { inProj, gateProj, outProj, norm: innerNorm } = this.#weights
    const leading = hidden.shape.slice(0, -1)
    let gate: Tensor | undefined
    if (gateProj) {
      gate = workspace.take('mlp gate', leading, dInner)
      recordLinear(cl, hidden, gateProj, gate, { norm })
    }
    const activated = workspace.take('mlp', leading, dInner)
    recordLinear(cl, hidden, inProj, activated, { norm, activation, gate })
    recordLinear(cl, activated, outProj, hidden, {
      norm: innerNorm && { weight: innerNorm, eps: normEpsilon },
      residual: hidden,
    })
  }
}
