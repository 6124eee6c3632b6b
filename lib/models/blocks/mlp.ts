// out_proj(activation(in_proj(x))); gated: out_proj(norm(activation(in_proj(x)) * gate_proj(x))). With a gate of the output
// all of it times sigmoid(output_gate(x)), one number for each token.

import type { Activation } from '../../operations/arguments.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Linear, Multiplier } from '../../weights/loader.js'
import {
  type Block,
  type BlockKind,
  type BlockSource,
  type Norm,
  type Pass,
  recordLinear,
  type Stream,
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
  /** What it adds is multiplied by sigmoid(outputGate(x)), one number for each token. */
  outputGate?: boolean
  /** What models multiply the outputs of in_proj and out_proj by; that of in_proj before the activation. */
  inMultiplier?: Multiplier
  outMultiplier?: Multiplier
}

/** What a family calls its modules, inside the layer. */
export interface MlpNames {
  /** One name for both, in_proj ‖ gate_proj, or two. */
  inProj: string
  gateProj?: string
  outProj: string
  /** The tensor of the norm before out_proj. */
  norm?: string
  outputGate?: string
}

export const mlp = {
  kind: 'mlp',
  stateFields: () => [],
  describe: ({ dInner, gated, activation, outputGate }) =>
    `${dInner} wide, ${gated ? 'gated ' : ''}${activation}${outputGate ? ', output gate' : ''}`,
  describeState: () => 'nothing',
  matrices: ({ inProj, gateProj, outProj, outputGate }, config) => [
    inProj,
    ...(config.gated && gateProj !== undefined ? [gateProj] : []),
    outProj,
    ...(config.outputGate && outputGate !== undefined ? [outputGate] : []),
  ],
  load: (config, source) => MlpBlock.load(config, source),
} satisfies BlockKind<MlpConfig, MlpNames>

interface MlpWeights {
  inProj: Linear
  gateProj: Linear | undefined
  outProj: Linear
  norm: Tensor | undefined
  outputGate: Linear | undefined
}

export class MlpBlock implements Block {
  readonly state = []
  readonly #config: MlpConfig
  readonly #norm: Norm | undefined
  readonly #weights: MlpWeights

  private constructor(config: MlpConfig, norm: Norm | undefined, weights: MlpWeights) {
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: MlpConfig,
    { loader, names, path, dModel, norm }: BlockSource<MlpNames>,
  ): Promise<MlpBlock> {
    const { dInner, bias, gated, inMultiplier, outMultiplier } = config
    const innerNorm = path(names.norm ?? 'norm.weight')
    if (config.hasUnusedNorm) loader.ignore(innerNorm)
    const isFused = gated && names.gateProj === undefined
    const half = (first: number) => (isFused ? { first, count: dInner, of: 2 * dInner } : dInner)
    const gatePath = path(names.gateProj ?? names.inProj)
    return new MlpBlock(config, norm, {
      inProj: await loader.linear(path(names.inProj), half(0), dModel, bias, inMultiplier),
      gateProj: gated ? await loader.linear(gatePath, half(dInner), dModel, bias) : undefined,
      outProj: await loader.linear(path(names.outProj), dModel, dInner, bias, outMultiplier),
      norm: config.norm ? await loader.vector(innerNorm, dInner) : undefined,
      outputGate: config.outputGate
        ? await loader.linear(path(names.outputGate!), 1, dModel, false)
        : undefined,
    })
  }

  decode(pass: Pass, stream: Stream): void {
    this.#record(pass, stream)
  }

  prefill(pass: Pass, stream: Stream): void {
    this.#record(pass, stream)
  }

  #record(pass: Pass, { input, residual, out }: Stream): void {
    const { cl, workspace, role } = pass
    const norm = this.#norm
    const { dInner, activation, normEpsilon } = this.#config
    const { inProj, gateProj, outProj, norm: innerNorm, outputGate } = this.#weights
    const leading = input.shape.slice(0, -1)
    let gate: Tensor | undefined
    if (gateProj) {
      gate = workspace.take('mlp gate', leading, dInner)
      recordLinear(cl, input, gateProj, gate, { role, norm })
    }
    const activated = workspace.take('mlp', leading, dInner)
    recordLinear(cl, input, inProj, activated, { role, norm, activation, gate })
    const outOptions = { role, norm: innerNorm && { weight: innerNorm, eps: normEpsilon } }
    if (!outputGate) {
      recordLinear(cl, activated, outProj, out, { ...outOptions, residual })
      return
    }
    const result = workspace.take('mlp out', leading, out.cols)
    recordLinear(cl, activated, outProj, result, outOptions)
    const weights = this.#recordOutputGate(pass, input, outputGate)
    cl.mixExperts(result.view([...leading, 1, out.cols]), weights, out, { residual })
  }

  // The sigmoid is the weight of an expert that is always chosen.
  #recordOutputGate({ cl, workspace, role }: Pass, input: Tensor, outputGate: Linear): Tensor {
    const leading = input.shape.slice(0, -1)
    const logits = workspace.take('output gate', leading, 1, 'float32')
    const experts = workspace.take('chosen experts', leading, 1, 'uint32')
    const weights = workspace.take('expert weights', leading, 1, 'float32')
    recordLinear(cl, input, outputGate, logits, { role, norm: this.#norm })
    cl.routeExperts({ logits, experts, weights }, { scores: 'sigmoid' })
    return weights
  }
}
