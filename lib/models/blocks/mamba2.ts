// The Mamba-2 mixer (Dao and Gu, "Transformers are SSMs", 2024):
//   z, xBC, dt = in_proj(u)                 columns in the order z | x | B | C | dt
//   xBC        = silu(conv1d(xBC) + bias)
//   y          = SSD(x, dt, A, B, C, D)
//   out        = out_proj(gated_norm(y, z))
// and the discrete one of Llamba and Mohawk (Bick et al., "Transformers to SSMs", 2024):
//   xBC, z, A_log = in_proj(u)              columns in the order x | B | C | z | A_log
//   xBC           = conv1d(xBC) + bias
//   S             = exp(-softplus(A_log)) * S + x ⊗ B,   y = S · C + D * x
//   out           = out_proj(y * silu(z + z_bias))
// Decode takes three operations: in_proj with the norm before the layer; what lies between the
// projections; out_proj with the gated norm and the residual.

import type { Mamba2Options } from '../../operations/arguments.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Linear, Multiplier } from '../../weights/loader.js'
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

/** The Mamba-2 mixer. */
export interface Mamba2Config {
  kind: 'mamba2'
  /** numHeads * headDim. */
  dInner: number
  numHeads: number
  headDim: number
  /** Columns of a head's SSM state. */
  dState: number
  /** Groups of B and C; head h uses group h / (numHeads / nGroups). */
  nGroups: number
  /** Taps of the causal convolution. */
  dConv: number
  /** Groups of the gated norm: `nGroups`, but 1 in files of Cartesia Edge, whose own code norms the whole row. */
  normGroups: number
  normBeforeGate: boolean
  /** The discrete one: each token states the decay itself. Defaults to false. */
  discrete?: boolean
  /** After the convolution. Defaults to `silu`. */
  convActivation?: 'silu' | 'none'
  /** False for models whose result is gated without a norm: y * silu(z). */
  hasGatedNorm?: boolean
  /** Bounds of the step size after softplus. */
  dtLimit: readonly [number, number]
  /** Of in_proj, and of out_proj unless `outBias` says otherwise. */
  projectionBias: boolean
  outBias?: boolean
  convBias: boolean
  normEpsilon: number
  /** What models multiply the outputs of in_proj and out_proj by. */
  inMultiplier?: Multiplier
  outMultiplier?: Multiplier
}

/** Columns of the convolution: x, B and C side by side. */
export function convDim(config: Mamba2Config): number {
  return config.dInner + 2 * config.nGroups * config.dState
}

/** What a family calls its tensors, inside the layer. */
export interface Mamba2Names {
  inProj: string
  outProj: string
  convWeight: string
  convBias: string
  D: string
  gatedNorm?: string
  /** Not where it is discrete. */
  dtBias?: string
  /** A = -exp(A_log), or A as it is. Not where it is discrete. */
  decay?: 'A_log' | 'A'
  /** What is added to z. */
  zBias?: string
}

export const mamba2 = {
  kind: 'mamba2',
  stateFields(config, activationType) {
    const { dConv, numHeads, headDim, dState } = config
    return [
      { name: 'conv', dtype: activationType, shape: [dConv, convDim(config)] },
      { name: 'ssm', dtype: 'float32', shape: [numHeads, headDim, dState] },
    ]
  },
  describe({ numHeads, headDim, dState, nGroups, dConv, normBeforeGate, discrete }) {
    const gated = normBeforeGate ? 'norm before gate' : 'gate before norm'
    const order = discrete ? 'discrete' : gated
    return `${numHeads} heads x ${headDim}, d_state ${dState}, n_groups ${nGroups}, d_conv ${dConv}, ${order}`
  },
  describeState: () => 'the states of its Mamba-2 layers',
  matrices: ({ inProj, outProj }) => [inProj, outProj],
  load: (config, source) => Mamba2Block.load(config, source),
} satisfies BlockKind<Mamba2Config, Mamba2Names>

interface Mamba2Weights {
  inProj: Linear
  outProj: Linear
  convWeight: Tensor
  convBias: Tensor | undefined
  A: Tensor
  D: Tensor
  dtBias: Tensor
  gatedNorm: Tensor | undefined
}

export class Mamba2Block implements Block {
  readonly state: readonly StateField[]
  readonly #config: Mamba2Config
  readonly #norm: Norm | undefined
  readonly #weights: Mamba2Weights

  private constructor(
    config: Mamba2Config,
    state: readonly StateField[],
    norm: Norm | undefined,
    weights: Mamba2Weights,
  ) {
    this.state = state
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: Mamba2Config,
    { loader, names, path, dModel, norm, state }: BlockSource<Mamba2Names>,
  ): Promise<Mamba2Block> {
    const { dInner, dConv, projectionBias, outBias = projectionBias, hasGatedNorm = true } = config
    const channels = convDim(config)
    return new Mamba2Block(config, state, norm, {
      inProj: await loadInProj(config, { loader, names, path, dModel }),
      outProj: await loader.linear(
        path(names.outProj),
        dModel,
        dInner,
        outBias,
        config.outMultiplier,
      ),
      convWeight: await loader.convolution(path(names.convWeight), channels, dConv),
      convBias: config.convBias ? await loader.vector(path(names.convBias), channels) : undefined,
      ...(await loadHeads(config, { loader, names, path })),
      gatedNorm: hasGatedNorm
        ? await loader.vector(path(names.gatedNorm ?? 'norm.weight'), dInner)
        : undefined,
    })
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { dInner, numHeads } = this.#config
    const { convWeight, convBias, A, D, dtBias } = this.#weights
    const leading = stream.input.shape.slice(0, -1)
    const zxBCdt = this.#project(pass, stream.input)
    const out = workspace.take('ssd', leading, dInner)
    const norm = this.#gatedNorm()
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
      this.#options,
    )
    recordLinear(cl, out, this.#weights.outProj, stream.out, {
      role,
      norm: norm && { ...norm, squares },
      residual: stream.residual,
    })
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { dInner, numHeads, dState } = this.#config
    const { groups, dtLimit, discrete, activation, columns, normBeforeGate } = this.#options
    const { convWeight, convBias, A, D, dtBias } = this.#weights
    const channels = convDim(this.#config)
    const leading = stream.input.shape.slice(0, -1)
    const zxBCdt = this.#project(pass, stream.input)
    const [firstZ, firstX] = columns === 'xBCzdt' ? [channels, 0] : [0, dInner]
    const xBC = workspace.take('conv', leading, channels)
    cl.conv1dPrefill(
      {
        x: zxBCdt.columns(firstX, firstX + channels),
        weight: convWeight,
        bias: convBias,
        rows,
        state: state.conv!,
        position: positions,
        out: xBC,
      },
      { activation },
    )
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
      { groups, dtLimit, discrete },
    )
    const z = zxBCdt.columns(firstZ, firstZ + dInner)
    const norm = this.#gatedNorm()
    if (norm) {
      const { weight, ...options } = norm
      cl.gatedRmsNorm(y, z, weight, y, { ...options, normBeforeGate })
    } else {
      cl.mlpActivation(z, y, { activation: 'silu', gate: y })
    }
    recordLinear(cl, y, this.#weights.outProj, stream.out, { role, residual: stream.residual })
  }

  #project({ cl, workspace, role }: Pass, input: Tensor): Tensor {
    const { dInner, numHeads } = this.#config
    const columns = dInner + convDim(this.#config) + numHeads
    const zxBCdt = workspace.take('in_proj', input.shape.slice(0, -1), columns)
    recordLinear(cl, input, this.#weights.inProj, zxBCdt, { role, norm: this.#norm })
    return zxBCdt
  }

  get #options(): Required<Mamba2Options> {
    const { nGroups: groups, dtLimit, normBeforeGate, discrete = false } = this.#config
    const { convActivation: activation = 'silu' } = this.#config
    const columns = discrete ? 'xBCzdt' : 'zxBCdt'
    return { groups, dtLimit, normBeforeGate, discrete, activation, columns }
  }

  /** The norm after the scan, where there is one. */
  #gatedNorm() {
    const { normEpsilon: eps, normGroups: groups } = this.#config
    const weight = this.#weights.gatedNorm
    return weight && { weight, eps, groups }
  }
}

type Source = Pick<BlockSource<Mamba2Names>, 'loader' | 'names' | 'path'>

/** What is added to z is a bias of in_proj. */
async function loadInProj(
  config: Mamba2Config,
  { loader, names, path, dModel }: Source & { dModel: number },
): Promise<Linear> {
  const { dInner, numHeads, projectionBias, inMultiplier } = config
  const channels = convDim(config)
  const outputs = dInner + channels + numHeads
  const inProj = path(names.inProj)
  if (names.zBias === undefined) {
    return loader.linear(inProj, outputs, dModel, projectionBias, inMultiplier)
  }
  const first = config.discrete ? channels : 0
  const bias = await loader.sumOfVectors(outputs, [
    { name: path(names.zBias), first, length: dInner },
    ...(projectionBias ? [{ name: `${inProj}.bias`, first: 0, length: outputs }] : []),
  ])
  return { ...(await loader.linear(inProj, outputs, dModel, false, inMultiplier)), bias }
}

/** What the recurrence has for each head. The discrete one learns D alone. */
async function loadHeads(
  { numHeads }: Mamba2Config,
  { loader, names, path }: Source,
): Promise<Pick<Mamba2Weights, 'A' | 'D' | 'dtBias'>> {
  const { decay, dtBias } = names
  const negated = (x: number) => -Math.exp(x)
  const same = (value: number) => loader.constant(new Float32Array(numHeads).fill(value))
  return {
    A:
      decay === 'A_log'
        ? await loader.mappedVector(path(decay), numHeads, negated)
        : decay === 'A'
          ? await loader.vector(path(decay), numHeads)
          : same(-1),
    D: await loader.vector(path(names.D), numHeads),
    dtBias: dtBias === undefined ? same(0) : await loader.vector(path(dtBias), numHeads),
  }
}
