// The Mamba-2 mixer (Dao and Gu, "Transformers are SSMs", 2024):
//   z, xBC, dt = in_proj(u)                 columns in the order z | x | B | C | dt
//   xBC        = silu(conv1d(xBC) + bias)
//   y          = SSD(x, dt, A, B, C, D)
//   out        = out_proj(gated_norm(y, z))
// Decode takes three operations: in_proj with the norm before the layer; what lies between the
// projections; out_proj with the gated norm and the residual.

import type { Tensor } from '../../operations/tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import { convDim, type Mamba2Config } from '../config.js'
import type { TensorNames } from '../families/family.js'
import type { StateField } from '../state-fields.js'
import { type Block, type BlockState, type Norm, type Pass, recordLinear } from './block.js'

interface Mamba2Weights {
  inProj: Linear
  outProj: Linear
  convWeight: Tensor
  convBias: Tensor | undefined
  A: Tensor
  D: Tensor
  dtBias: Tensor
  gatedNorm: Tensor
}

export class Mamba2Block implements Block {
  readonly state: readonly StateField[]
  readonly #config: Mamba2Config
  readonly #norm: Norm
  readonly #weights: Mamba2Weights

  private constructor(
    config: Mamba2Config,
    state: readonly StateField[],
    norm: Norm,
    weights: Mamba2Weights,
  ) {
    this.state = state
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  /** Loads the weights under `prefix`. */
  static async load(
    loader: WeightLoader,
    config: Mamba2Config,
    state: readonly StateField[],
    norm: Norm,
    dModel: number,
    names: TensorNames['mamba2'],
    prefix: string,
  ): Promise<Mamba2Block> {
    const { dInner, numHeads, dConv, projectionBias } = config
    const channels = convDim(config)
    const path = (name: string) => `${prefix}.${name}`
    const fromLog = (x: number) => -Math.exp(x)
    return new Mamba2Block(config, state, norm, {
      inProj: await loader.linear(
        path(names.inProj),
        dInner + channels + numHeads,
        dModel,
        projectionBias,
      ),
      outProj: await loader.linear(path(names.outProj), dModel, dInner, projectionBias),
      convWeight: await loader.convolution(path(names.convWeight), channels, dConv),
      convBias: config.convBias ? await loader.vector(path(names.convBias), channels) : undefined,
      A:
        names.decay.name === 'A_log'
          ? await loader.mappedVector(path('A_log'), numHeads, fromLog)
          : await loader.vector(path('A'), numHeads),
      D: await loader.vector(path(names.D), numHeads),
      dtBias: await loader.vector(path(names.dtBias), numHeads),
      gatedNorm: await loader.vector(path(names.gatedNorm), dInner),
    })
  }

  decode(pass: Pass, hidden: Tensor, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { dInner, numHeads, nGroups: groups, normBeforeGate, dtLimit } = this.#config
    const { convWeight, convBias, A, D, dtBias } = this.#weights
    const leading = hidden.shape.slice(0, -1)
    const zxBCdt = this.#project(pass, hidden)
    const out = workspace.take('ssd', leading, dInner)
    const squares = workspace.take('squares', leading, numHeads, 'float32')
    cl.mamba2Update(
      {
        zxBCdt,
        rows,
        convWeight,
        convBias,
        convState: state.conv!,
        A,
        D,
        dtBias,
        ssmState: state.ssm!,
        position: positions,
        out,
        squares,
      },
      { groups, dtLimit, normBeforeGate },
    )
    recordLinear(cl, out, this.#weights.outProj, hidden, {
      role,
      norm: { ...this.#gatedNorm(), squares },
      residual: hidden,
    })
  }

  prefill(pass: Pass, hidden: Tensor, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { dInner, numHeads, dState, nGroups: groups, normBeforeGate, dtLimit } = this.#config
    const { convWeight, convBias, A, D, dtBias } = this.#weights
    const channels = convDim(this.#config)
    const leading = hidden.shape.slice(0, -1)
    const zxBCdt = this.#project(pass, hidden)
    const xBC = workspace.take('conv', leading, channels)
    cl.conv1dPrefill({
      x: zxBCdt.columns(dInner, dInner + channels),
      weight: convWeight,
      bias: convBias,
      rows,
      state: state.conv!,
      position: positions,
      out: xBC,
    })
    const y = workspace.take('ssd', leading, dInner)
    cl.ssdChunkScan(
      {
        x: xBC.columns(0, dInner),
        dt: zxBCdt.columns(dInner + channels, dInner + channels + numHeads),
        A,
        B: xBC.columns(dInner, dInner + groups * dState),
        C: xBC.columns(dInner + groups * dState, channels),
        D,
        dtBias,
        rows,
        state: state.ssm!,
        out: y,
      },
      { groups, dtLimit },
    )
    const { weight, eps, groups: normGroups } = this.#gatedNorm()
    cl.gatedRmsNorm(y, zxBCdt.columns(0, dInner), weight, y, {
      eps,
      groups: normGroups,
      normBeforeGate,
    })
    recordLinear(cl, y, this.#weights.outProj, hidden, { role, residual: hidden })
  }

  #project({ cl, workspace, role }: Pass, hidden: Tensor): Tensor {
    const { dInner, numHeads } = this.#config
    const columns = dInner + convDim(this.#config) + numHeads
    const zxBCdt = workspace.take('in_proj', hidden.shape.slice(0, -1), columns)
    recordLinear(cl, hidden, this.#weights.inProj, zxBCdt, { role, norm: this.#norm })
    return zxBCdt
  }

  #gatedNorm() {
    const { normEpsilon: eps, normGroups: groups } = this.#config
    return { weight: this.#weights.gatedNorm, eps, groups }
  }
}
