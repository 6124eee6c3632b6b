// The Mamba-2 mixer (Dao and Gu, "Transformers are SSMs", 2024):
//   z, xBC, dt = in_proj(u)                 columns in the order z | x | B | C | dt
//   xBC        = silu(conv1d(xBC) + bias)
//   y          = SSD(x, dt, A, B, C, D)
//   out        = out_proj(gated_norm(y, z))

import type { Device } from '../../device.js'
import type { Tensor } from '../../tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import { convDim, type Mamba2Config } from '../config.js'
import type { TensorNames } from '../families/family.js'
import { type Layer, type LayerState, type Pass, recordLinear } from './layer.js'

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

export class Mamba2Layer implements Layer {
  readonly #config: Mamba2Config
  readonly #dModel: number
  readonly #weights: Mamba2Weights

  private constructor(config: Mamba2Config, dModel: number, weights: Mamba2Weights) {
    this.#config = config
    this.#dModel = dModel
    this.#weights = weights
  }

  /** Loads the weights under `prefix`. */
  static async load(
    loader: WeightLoader,
    config: Mamba2Config,
    dModel: number,
    names: TensorNames['mamba2'],
    prefix: string,
  ): Promise<Mamba2Layer> {
    const { dInner, numHeads, dConv, projectionBias } = config
    const channels = convDim(config)
    const path = (name: string) => `${prefix}.${name}`
    const fromLog = (x: number) => -Math.exp(x)
    return new Mamba2Layer(config, dModel, {
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

  createState(device: Device, batch: number): LayerState {
    const { dConv, numHeads, headDim, dState } = this.#config
    return {
      conv: device.tensor('float32', [batch, dConv, convDim(this.#config)]),
      ssm: device.tensor('float32', [batch, numHeads, headDim, dState]),
    }
  }

  decode(pass: Pass, x: Tensor, state: LayerState): Tensor {
    return this.#record(pass, x, state, 'decode')
  }

  prefill(pass: Pass, x: Tensor, state: LayerState): Tensor {
    return this.#record(pass, x, state, 'prefill')
  }

  #record(pass: Pass, u: Tensor, state: LayerState, mode: 'decode' | 'prefill'): Tensor {
    const { cl, workspace, position } = pass
    const { dInner, numHeads, dState, nGroups, normGroups, normBeforeGate } = this.#config
    const { dtLimit, normEpsilon } = this.#config
    const weights = this.#weights
    const channels = convDim(this.#config)
    const leading = u.shape.slice(0, -1)

    const zxBCdt = workspace.take('in_proj', leading, dInner + channels + numHeads)
    recordLinear(cl, u, weights.inProj, zxBCdt)
    const z = zxBCdt.columns(0, dInner)
    const dt = zxBCdt.columns(dInner + channels, dInner + channels + numHeads)

    const xBC = workspace.take('conv', leading, channels)
    const convolution = {
      x: zxBCdt.columns(dInner, dInner + channels),
      weight: weights.convWeight,
      bias: weights.convBias,
      state: state.conv!,
      position,
      out: xBC,
    }
    if (mode === 'decode') cl.conv1dUpdate(convolution)
    else cl.conv1dPrefill(convolution)

    const y = workspace.take('ssd', leading, dInner)
    const ssd = {
      x: xBC.columns(0, dInner),
      dt,
      A: weights.A,
      B: xBC.columns(dInner, dInner + nGroups * dState),
      C: xBC.columns(dInner + nGroups * dState, channels),
      D: weights.D,
      dtBias: weights.dtBias,
      state: state.ssm!,
      out: y,
    }
    if (mode === 'decode') cl.ssdUpdate(ssd, { groups: nGroups, dtLimit })
    else cl.ssdChunkScan(ssd, { groups: nGroups, dtLimit })

    cl.gatedRmsNorm(y, z, weights.gatedNorm, y, {
      eps: normEpsilon,
      groups: normGroups,
      normBeforeGate,
    })
    const out = workspace.take('layer', leading, this.#dModel)
    recordLinear(cl, y, weights.outProj, out)
    return out
  }
}
