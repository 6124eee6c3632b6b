// The gated short convolution of LFM2 (transformers/models/lfm2/modular_lfm2.py, Lfm2ShortConv):
//   B, C, x = in_proj(u)
//   out     = out_proj(C * (conv1d(B * x) + bias))
// Decode takes three operations, and so does prefill.

import type { Recorder } from '../../operations/recorder.js'
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

/** A gated short convolution. */
export interface ShortConvConfig {
  kind: 'short_conv'
  /** Channels of the convolution. */
  dInner: number
  /** Taps of the convolution. */
  dConv: number
  projectionBias: boolean
  convBias: boolean
}

/** What a family calls its tensors, inside the layer. */
export interface ShortConvNames {
  /** B ‖ C ‖ x. */
  inProj: string
  outProj: string
  convWeight: string
  convBias: string
}

export const shortConv = {
  kind: 'short_conv',
  stateFields: ({ dConv, dInner }, activationType) => [
    { name: 'conv', dtype: activationType, shape: [dConv, dInner] },
  ],
  describe: ({ dInner, dConv }) => `${dInner} channels, d_conv ${dConv}`,
  describeState: () => 'the inputs of its short convolutions',
  matrices: ({ inProj, outProj }) => [inProj, outProj],
  load: (config, source) => ShortConvBlock.load(config, source),
} satisfies BlockKind<ShortConvConfig, ShortConvNames>

interface ShortConvWeights {
  inProj: Linear
  outProj: Linear
  convWeight: Tensor
  convBias: Tensor | undefined
}

export class ShortConvBlock implements Block {
  readonly state: readonly StateField[]
  readonly #config: ShortConvConfig
  readonly #norm: Norm | undefined
  readonly #weights: ShortConvWeights

  private constructor(
    config: ShortConvConfig,
    state: readonly StateField[],
    norm: Norm | undefined,
    weights: ShortConvWeights,
  ) {
    this.state = state
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: ShortConvConfig,
    { loader, names, path, dModel, norm, state }: BlockSource<ShortConvNames>,
  ): Promise<ShortConvBlock> {
    const { dInner, dConv, projectionBias, convBias } = config
    return new ShortConvBlock(config, state, norm, {
      inProj: await loader.linear(path(names.inProj), 3 * dInner, dModel, projectionBias),
      outProj: await loader.linear(path(names.outProj), dModel, dInner, projectionBias),
      convWeight: await loader.convolution(path(names.convWeight), dInner, dConv),
      convBias: convBias ? await loader.vector(path(names.convBias), dInner) : undefined,
    })
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state, 'conv1dUpdate')
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state, 'conv1dPrefill')
  }

  #record(
    { cl, workspace, rows, positions, role }: Pass,
    { input, residual, out }: Stream,
    state: BlockState,
    convolve: keyof Pick<Recorder, 'conv1dUpdate' | 'conv1dPrefill'>,
  ): void {
    const { dInner } = this.#config
    const { inProj, outProj, convWeight, convBias } = this.#weights
    const leading = input.shape.slice(0, -1)
    const BCx = workspace.take('in_proj', leading, 3 * dInner)
    recordLinear(cl, input, inProj, BCx, { role, norm: this.#norm })
    const y = workspace.take('conv', leading, dInner)
    cl[convolve](
      {
        x: BCx.columns(2 * dInner, 3 * dInner),
        inputGate: BCx.columns(0, dInner),
        outputGate: BCx.columns(dInner, 2 * dInner),
        weight: convWeight,
        bias: convBias,
        state: state.conv!,
        position: positions,
        rows,
        out: y,
      },
      { activation: 'none' },
    )
    recordLinear(cl, y, outProj, out, { role, residual })
  }
}
