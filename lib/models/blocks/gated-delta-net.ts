// The gated DeltaNet mixer (Yang, Kautz and Hatamizadeh, "Gated delta networks", 2024), as Qwen3.5 has it:
//   qkv, z, b, a = in_proj_qkv(u), in_proj_z(u), in_proj_b(u), in_proj_a(u)
//   q, k, v      = silu(conv1d(qkv))
//   o            = gated delta rule(q, k, v, b, a)
//   out          = out_proj(norm(o) * silu(z))         each head normed by itself
// Decode takes six operations: four products side by side, with the norm before the layer; what lies between the
// projections; out_proj with the gated norm and the residual.

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

/** The gated DeltaNet mixer. */
export interface GatedDeltaNetConfig {
  kind: 'gated_delta_net'
  /** Heads of q and k; head h of v uses head h / (numHeads / numKeyHeads). */
  numKeyHeads: number
  /** Heads of v, of the state and of the gate. */
  numHeads: number
  /** Columns of a head of q or k, and of a head's state. */
  keyDim: number
  /** Columns of a head of v; rows of a head's state. */
  valueDim: number
  /** Taps of the causal convolution. */
  dConv: number
  normEpsilon: number
}

/** What a family calls its modules and tensors, inside the layer. */
export interface GatedDeltaNetNames {
  inProjQkv: string
  inProjZ: string
  inProjB: string
  inProjA: string
  outProj: string
  convWeight: string
  dtBias: string
  /** A = -exp of it. */
  aLog: string
  gatedNorm: string
}

interface Sizes {
  /** Columns of q, and of k. */
  keys: number
  /** Columns of v, z and o. */
  values: number
  /** Of the convolution: q, k and v side by side. */
  channels: number
}

function sizesOf({ numKeyHeads, numHeads, keyDim, valueDim }: GatedDeltaNetConfig): Sizes {
  const keys = numKeyHeads * keyDim
  const values = numHeads * valueDim
  return { keys, values, channels: 2 * keys + values }
}

export const gatedDeltaNet = {
  kind: 'gated_delta_net',
  stateFields(config, activationType) {
    const { dConv, numHeads, valueDim, keyDim } = config
    return [
      { name: 'conv', dtype: activationType, shape: [dConv, sizesOf(config).channels] },
      { name: 'delta', dtype: 'float32', shape: [numHeads, valueDim, keyDim] },
    ]
  },
  describe: ({ numKeyHeads, numHeads, keyDim, valueDim, dConv }) =>
    `${numHeads} heads x ${valueDim}, ${numKeyHeads} key heads x ${keyDim}, d_conv ${dConv}`,
  describeState: () => 'the states of its gated DeltaNet layers',
  matrices: ({ inProjQkv, inProjZ, inProjB, inProjA, outProj }) => [
    inProjQkv,
    inProjZ,
    inProjB,
    inProjA,
    outProj,
  ],
  load: (config, source) => GatedDeltaNetBlock.load(config, source),
} satisfies BlockKind<GatedDeltaNetConfig, GatedDeltaNetNames>

interface GatedDeltaNetWeights {
  inProjQkv: Linear
  inProjZ: Linear
  inProjB: Linear
  inProjA: Linear
  outProj: Linear
  convWeight: Tensor
  A: Tensor
  dtBias: Tensor
  /** That of a head, once for each head. */
  gatedNorm: Tensor
}

export class GatedDeltaNetBlock implements Block {
  readonly state: readonly StateField[]
  readonly #config: GatedDeltaNetConfig
  readonly #sizes: Sizes
  readonly #norm: Norm | undefined
  readonly #weights: GatedDeltaNetWeights

  private constructor(
    config: GatedDeltaNetConfig,
    state: readonly StateField[],
    norm: Norm | undefined,
    weights: GatedDeltaNetWeights,
  ) {
    this.state = state
    this.#config = config
    this.#sizes = sizesOf(config)
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: GatedDeltaNetConfig,
    { loader, names, path, dModel, norm, state }: BlockSource<GatedDeltaNetNames>,
  ): Promise<GatedDeltaNetBlock> {
    const { numHeads, valueDim, dConv } = config
    const { values, channels } = sizesOf(config)
    const project = (name: string, rows: number) => loader.linear(path(name), rows, dModel, false)
    return new GatedDeltaNetBlock(config, state, norm, {
      inProjQkv: await project(names.inProjQkv, channels),
      inProjZ: await project(names.inProjZ, values),
      inProjB: await project(names.inProjB, numHeads),
      inProjA: await project(names.inProjA, numHeads),
      outProj: await loader.linear(path(names.outProj), dModel, values, false),
      convWeight: await loader.convolution(path(names.convWeight), channels, dConv),
      A: await loader.mappedVector(path(names.aLog), numHeads, (x) => -Math.exp(x)),
      dtBias: await loader.vector(path(names.dtBias), numHeads),
      gatedNorm: await loader.repeatedVector(path(names.gatedNorm), valueDim, numHeads),
    })
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { numHeads } = this.#config
    const { convWeight, A, dtBias } = this.#weights
    const leading = stream.input.shape.slice(0, -1)
    const projected = this.#project(pass, stream.input)
    const out = workspace.take('delta', leading, this.#sizes.values)
    const squares = workspace.take('squares', leading, numHeads, 'float32')
    cl.deltaUpdate({
      ...projected,
      convWeight,
      convState: state.conv!,
      A,
      dtBias,
      state: state.delta!,
      position: positions,
      rows,
      out,
      squares,
    })
    recordLinear(cl, out, this.#weights.outProj, stream.out, {
      role,
      norm: { ...this.#gatedNorm(), squares },
      residual: stream.residual,
    })
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    const { cl, workspace, rows, positions, role } = pass
    const { keys, values, channels } = this.#sizes
    const { convWeight, A, dtBias } = this.#weights
    const leading = stream.input.shape.slice(0, -1)
    const { qkv, z, b, a } = this.#project(pass, stream.input)
    const convolved = workspace.take('conv', leading, channels)
    cl.conv1dPrefill({
      x: qkv,
      weight: convWeight,
      rows,
      state: state.conv!,
      position: positions,
      out: convolved,
    })
    const out = workspace.take('delta', leading, values)
    cl.deltaChunkScan({
      q: convolved.columns(0, keys),
      k: convolved.columns(keys, 2 * keys),
      v: convolved.columns(2 * keys, channels),
      b,
      a,
      A,
      dtBias,
      state: state.delta!,
      rows,
      out,
    })
    const { weight, ...options } = this.#gatedNorm()
    cl.gatedRmsNorm(out, z, weight, out, { ...options, normBeforeGate: true })
    recordLinear(cl, out, this.#weights.outProj, stream.out, { role, residual: stream.residual })
  }

  #project({ cl, workspace, role }: Pass, input: Tensor) {
    const { inProjQkv, inProjZ, inProjB, inProjA } = this.#weights
    const { values, channels } = this.#sizes
    const project = (name: string, linear: Linear, columns: number) => {
      const out = workspace.take(name, input.shape.slice(0, -1), columns)
      recordLinear(cl, input, linear, out, { role, norm: this.#norm })
      return out
    }
    return {
      qkv: project('in_proj_qkv', inProjQkv, channels),
      z: project('in_proj_z', inProjZ, values),
      b: project('in_proj_b', inProjB, this.#config.numHeads),
      a: project('in_proj_a', inProjA, this.#config.numHeads),
    }
  }

  #gatedNorm() {
    const { normEpsilon: eps, numHeads: groups } = this.#config
    return { weight: this.#weights.gatedNorm, eps, groups }
  }
}
