// The transformer block of Zamba2, whose weights several layers share (Glorioso et al., "The Zamba2 suite", 2024):
//   y   = o_proj(attention(norm(x ‖ embedding)))          attention is twice as wide as the model
//   y   = down_proj(act(gate(norm(y))) * up(norm(y)))
//   out = residual + linear(y)
// Each layer has its own linear, and its own adapters: up(down(x)), added to projections.

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
import {
  type Adapter,
  type AdapterNames,
  attentionMatrices,
  attentionPagedFields,
  describeAttention,
  loadAdapter,
  PagedAttention,
  type PagedAttentionConfig,
  type PagedAttentionNames,
  recordAdapter,
} from './paged-attention.js'

/** The transformer block of Zamba2. */
export interface SharedTransformerConfig {
  kind: 'shared_transformer'
  attention: PagedAttentionConfig
  /** Of the MLP. */
  dInner: number
  activation: 'gelu' | 'silu'
  /** Rank of the adapters of the MLP. */
  adapterRank: number
  bias: boolean
  normEpsilon: number
}

/** What a family calls its tensors and modules, inside the layer. */
export interface SharedTransformerNames {
  /** The norm of x ‖ embedding: (2 * dModel). */
  inputNorm: string
  attention: PagedAttentionNames
  outProj: string
  /** The norm before the MLP. */
  mlpNorm: string
  /** gate ‖ up. */
  gateUpProj: string
  adapter: AdapterNames
  downProj: string
  linear: string
}

export const sharedTransformer = {
  kind: 'shared_transformer',
  stateFields: () => [],
  pagedFields(config, type) {
    return attentionPagedFields(config.attention, type)
  },
  describe: ({ attention, dInner, activation }) =>
    `${describeAttention(attention)}; MLP ${dInner} wide, gated ${activation}`,
  describeState: () => 'nothing',
  matrices: ({ attention, outProj, gateUpProj, adapter, downProj, linear }) => [
    ...attentionMatrices(attention),
    ...[outProj, gateUpProj, adapter.down, adapter.up, downProj, linear],
  ],
  load: (config, source) => SharedTransformerBlock.load(config, source),
} satisfies BlockKind<SharedTransformerConfig, SharedTransformerNames>

interface SharedTransformerWeights {
  attention: PagedAttention
  outProj: Linear
  mlpNorm: Norm
  /** Each with the adapter that is added to it. */
  gate: { projection: Linear; adapter: Adapter }
  up: { projection: Linear; adapter: Adapter }
  downProj: Linear
  linear: Linear
}

export class SharedTransformerBlock implements Block {
  readonly state = []
  readonly readsEmbedding = true
  readonly pagedState: readonly StateField[]
  readonly #config: SharedTransformerConfig
  readonly #weights: SharedTransformerWeights

  private constructor(
    config: SharedTransformerConfig,
    pagedState: readonly StateField[],
    weights: SharedTransformerWeights,
  ) {
    this.pagedState = pagedState
    this.#config = config
    this.#weights = weights
  }

  static async load(
    config: SharedTransformerConfig,
    source: BlockSource<SharedTransformerNames>,
  ): Promise<SharedTransformerBlock> {
    const { loader, names, path, dModel, pagedState } = source
    const { attention, dInner, adapterRank, bias, normEpsilon: eps } = config
    const half = (first: number) => ({ first, count: dInner, of: 2 * dInner })
    const part = async (first: number) => ({
      projection: await loader.linear(path(names.gateUpProj), half(first), dModel, bias),
      adapter: await loadAdapter(source, names.adapter, half(first), adapterRank),
    })
    const inputNorm = { weight: await loader.vector(path(names.inputNorm), 2 * dModel), eps }
    const inputs = attention.numHeads * attention.headDim
    return new SharedTransformerBlock(config, pagedState, {
      attention: await PagedAttention.load(attention, {
        ...{ loader, path, names: names.attention },
        ...{ dModel: 2 * dModel, norm: inputNorm },
      }),
      outProj: await loader.linear(path(names.outProj), dModel, inputs, false),
      mlpNorm: { weight: await loader.vector(path(names.mlpNorm), dModel), eps },
      gate: await part(0),
      up: await part(dInner),
      downProj: await loader.linear(path(names.downProj), dModel, dInner, bias),
      linear: await loader.linear(path(names.linear), dModel, dModel, false),
    })
  }

  decode(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state)
  }

  prefill(pass: Pass, stream: Stream, state: BlockState): void {
    this.#record(pass, stream, state)
  }

  #record(pass: Pass, { input, residual, out }: Stream, state: BlockState): void {
    const { cl, workspace, role } = pass
    const { attention, outProj, downProj, linear } = this.#weights
    const leading = input.shape.slice(0, -1)
    const both = workspace.take('x and embedding', leading, 2 * input.cols, 'float32')
    cl.concatenate(input, pass.embedding!, both)
    const attended = workspace.take('shared', leading, input.cols, 'float32')
    recordLinear(cl, attention.record(pass, both, state), outProj, attended, { role })
    const activated = this.#activate(pass, attended)
    const result = workspace.take('shared result', leading, input.cols)
    recordLinear(cl, activated, downProj, result, { role })
    recordLinear(cl, result, linear, out, { role, residual })
  }

  // act(gate(norm(x))) * up(norm(x))
  #activate(pass: Pass, x: Tensor): Tensor {
    const { cl, workspace, role } = pass
    const { gate, up, mlpNorm: norm } = this.#weights
    const leading = x.shape.slice(0, -1)
    const { dInner, activation } = this.#config
    const gates = workspace.take('mlp gate', leading, dInner)
    const ups = workspace.take('mlp', leading, dInner)
    for (const [part, result] of [[gate, gates] as const, [up, ups] as const]) {
      recordLinear(cl, x, part.projection, result, { role, norm })
      recordAdapter(pass, x, norm, part.adapter, result)
    }
    cl.mlpActivation(gates, ups, { activation, gate: ups })
    return ups
  }
}
