// out_proj(activation(in_proj(x))); gated: out_proj(norm(activation(in_proj(x)) * gate_proj(x))).

import type { Activation } from '../../operations/arguments.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Linear } from '../../weights/loader.js'
import {
  type Block,
  type BlockKind,
  type BlockSource,
  type Norm,
  type Pass,
  recordLinear,
} from './block.js'

/** out_proj(activation(in_proj(x))), or out_proj(norm(activation(in_proj(x)) * gate_proj(x))). */
export interface MlpConfig {
  kind: 'mlp'
  dInner: number
  activation: Activation
  gated: boolean
  bias: boolean
  /** An RMS norm before out_proj; only when gated. */
  norm: boolean
  /** The checkpoint holds a norm that the model does not apply. */
  hasUnusedNorm?: boolean
  normEpsilon: number
}

/** What a family calls its modules, inside the layer. */
export interface MlpNames {
  inProj: string
  gateProj: string
  outProj: string
  /** The tensor of the norm before out_proj. */
  norm: string
}

export const mlp = {
  kind: 'mlp',
  stateFields: () => [],
  describe: ({ dInner, gated, activation }) =>
    `${dInner} wide, ${gated ? 'gated ' : ''}${activation}`,
  describeState: () => 'nothing',
  matrices: ({ inProj, gateProj, outProj }, { gated }) =>
    gated ? [inProj, gateProj, outProj] : [inProj, outProj],
  load: (config, source) => MlpBlock.load(config, source),
} satisfies BlockKind<MlpConfig, MlpNames>

interface MlpWeights {
  inProj: Linear
  gateProj: Linear | undefined
  outProj: Linear
  norm: Tensor | undefined
}

export class MlpBlock implements Block {
  readonly state = []
  readonly #config: MlpConfig
  readonly #norm: Norm
  readonly #weights: MlpWeights

  private constructor(config: MlpConfig, norm: Norm, weights: MlpWeights) {
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: MlpConfig,
    { loader, names, path, dModel, norm }: BlockSource<MlpNames>,
  ): Promise<MlpBlock> {
    const { dInner, bias, gated } = config
    if (config.hasUnusedNorm) loader.ignore(path(names.norm))
    return new MlpBlock(config, norm, {
      inProj: await loader.linear(path(names.inProj), dInner, dModel, bias),
      gateProj: gated ? await loader.linear(path(names.gateProj), dInner, dModel, bias) : undefined,
      outProj: await loader.linear(path(names.outProj), dModel, dInner, bias),
      norm: config.norm ? await loader.vector(path(names.norm), dInner) : undefined,
    })
  }

  decode(pass: Pass, hidden: Tensor): void {
    this.#record(pass, hidden)
  }

  prefill(pass: Pass, hidden: Tensor): void {
    this.#record(pass, hidden)
  }

  #record(pass: Pass, hidden: Tensor): void {
    const { cl, workspace, role } = pass
    const norm = this.#norm
    const { dInner, activation, normEpsilon } = this.#config
    const { inProj, gateProj, outProj, norm: innerNorm } = this.#weights
    const leading = hidden.shape.slice(0, -1)
    let gate: Tensor | undefined
    if (gateProj) {
      gate = workspace.take('mlp gate', leading, dInner)
      recordLinear(cl, hidden, gateProj, gate, { role, norm })
    }
    const activated = workspace.take('mlp', leading, dInner)
    recordLinear(cl, hidden, inProj, activated, { role, norm, activation, gate })
    recordLinear(cl, activated, outProj, hidden, {
      role,
      norm: innerNorm && { weight: innerNorm, eps: normEpsilon },
      residual: hidden,
    })
  }
}
