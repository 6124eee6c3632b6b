// A language model on a device: token ids to logits, written in device operations.
//   h = embedding(tokens);  h = block(h) for each block;  logits = head(norm(h))

import type { ActivationType, Device } from '../operations/device.js'
import { CorruptFileError } from '../support/errors.js'
import type { Memory, Tensor } from '../operations/tensor.js'
import type { Weight } from '../weights/formats/format.js'
import { type Linear, type LoaderOptions, WeightLoader } from '../weights/loader.js'
import type { WeightWishes } from '../weights/planned-format.js'
import { DeviceStore, type WeightStore } from '../weights/store.js'
import type { Checkpoint } from './checkpoint.js'
import type { ModelConfig } from './config.js'
import {
  type BlockState,
  type LayerNorm,
  type Norm,
  type Pass,
  recordLinear,
  type StateField,
} from './blocks/block.js'
import { blockKind } from './blocks/blocks.js'
import {
  type BlockTypes,
  isLayerNorm,
  loadBlocks,
  loadNorm,
  type PlacedBlock,
  recordLayerNorm,
  streamOf,
} from './placed-blocks.js'
import { layerStateBytes, stateBytes } from './state-fields.js'
import type { Workspace } from './workspace.js'

/** What layers compute in: float32, or float16 where `dtype` asks for it and the device can. */
export function activationTypeOf(
  { activationTypes }: Pick<Device, 'activationTypes'>,
  { dtype }: WeightWishes,
): ActivationType {
  return dtype === 'float16' && activationTypes.includes('float16') ? 'float16' : 'float32'
}

/** The states of all blocks, in order. */
export type ModelState = readonly BlockState[]

/** Tokens of a prompt up to which products run as they do in decoding. */
export const STEP_TOKENS = 8

/** A forward pass, but for what the model decides. */
export type PassContext = Omit<Pass, 'role'>

/** What a model is made of. */
interface ModelWeights {
  embedding: Weight
  blocks: PlacedBlock[]
  finalNorm: Norm | LayerNorm
  head: Linear
}

/** Asks a loader for every tensor of a model. */
export async function loadWeights(
  loader: WeightLoader,
  { config, names, layers }: Pick<Checkpoint, 'config' | 'names' | 'layers'>,
  types: BlockTypes,
): Promise<ModelWeights> {
  const { dModel, paddedVocabSize, headBias, logitsMultiplier = 1 } = config
  const embedding = await loader.weight(names.embedding, paddedVocabSize, dModel)
  const blocks = await loadBlocks(loader, config, layers, types)
  const finalNorm = await loadNorm(loader, names.finalNorm, config)
  const head: Linear = config.tieEmbeddings
    ? {
        ...loader.scaled(embedding, paddedVocabSize, logitsMultiplier),
        bias: headBias ? await loader.vector(`${names.head}.bias`, paddedVocabSize) : undefined,
      }
    : await loader.linear(names.head, paddedVocabSize, dModel, headBias, {
        weight: logitsMultiplier,
        bias: logitsMultiplier,
      })
  return { embedding, blocks, finalNorm, head }
}

export class LanguageModel {
  readonly device: Device
  readonly config: ModelConfig
  /** What layers compute in: float32, or float16 where `dtype` asks for it and the device can. */
  readonly activationType: ActivationType
  /** Type of the keys and values that are kept of each position. */
  readonly kvType: ActivationType
  /** Bytes of the weights as the device holds them. */
  readonly weightBytes: number
  readonly #embedding: Weight
  readonly #blocks: readonly PlacedBlock[]
  readonly #finalNorm: Norm | LayerNorm
  readonly #head: Linear
  readonly #owned: readonly Memory[]

  private constructor(
    device: Device,
    config: ModelConfig,
    { activationType, kvType }: BlockTypes,
    memory: { bytes: number; owned: readonly Memory[] },
    weights: ModelWeights,
  ) {
    this.device = device
    this.config = config
    this.activationType = activationType
    this.kvType = kvType
    this.weightBytes = memory.bytes
    this.#owned = memory.owned
    this.#embedding = weights.embedding
    this.#blocks = weights.blocks
    this.#finalNorm = weights.finalNorm
    this.#head = weights.head
  }

  /**
   * Brings the weights of a checkpoint to a device, or to where else `store` brings them. Frees what it has loaded when it fails. Calls
   * `onTensors` when every weight has its tensor, before all of them have their values: lists can be
   * recorded and prepared then, not run.
   */
  static async load(
    device: Device,
    checkpoint: Checkpoint,
    options: LoaderOptions & {
      kvDtype?: ActivationType | undefined
      onTensors?: (model: LanguageModel) => void
    },
    store: WeightStore = new DeviceStore(device, checkpoint.tensors, options.signal),
  ): Promise<LanguageModel> {
    const { config } = checkpoint
    const loader = new WeightLoader(checkpoint, options, store)
    const activationType = activationTypeOf(device, options)
    const types = { activationType, kvType: options.kvDtype ?? activationType }
    try {
      const weights = await loadWeights(loader, checkpoint, types)
      loader.checkAllUsed()
      checkStateSize(checkpoint)
      const model = new LanguageModel(
        device,
        config,
        types,
        { bytes: loader.weightBytes, owned: store.owned },
        weights,
      )
      options.onTensors?.(model)
      await loader.finish()
      return model
    } catch (error) {
      for (const memory of store.owned) memory.dispose()
      throw error
    } finally {
      await store.close()
    }
  }

  /** The fields that each block keeps of one sequence. */
  get stateFields(): readonly (readonly StateField[])[] {
    return this.#blocks.map(({ block }) => block.state)
  }

  /** The fields that each block keeps of each position of a sequence, in pages. */
  get pagedFields(): readonly (readonly StateField[])[] {
    return this.#blocks.map(({ block }) => block.pagedState ?? [])
  }

  /**
   * Records one token a row: tokens uint32 (batch). Returns the scratch tensor of the logits
   * (batch, paddedVocabSize).
   */
  decode(context: PassContext, tokens: Tensor, state: ModelState): Tensor {
    const pass = { ...context, role: 'step' } as const
    return this.#logits(pass, this.#forward(pass, tokens, state, 'decode'))
  }

  /**
   * Records a chunk of a prompt: tokens uint32 (batch, length). Returns the scratch tensor of the
   * logits: of every position (batch, length, paddedVocabSize), of the last one
   * (batch, paddedVocabSize), or none, which saves the head. A few tokens run as they would in decoding.
   */
  prefill(
    context: PassContext,
    tokens: Tensor,
    state: ModelState,
    logits: 'all' | 'last' | 'none',
  ): Tensor | undefined {
    const role = tokens.elements <= STEP_TOKENS ? 'step' : 'chunk'
    const hidden = this.#forward({ ...context, role }, tokens, state, 'prefill')
    if (logits === 'none') return undefined
    if (logits === 'all') return this.#logits({ ...context, role }, hidden)
    return this.#logits({ ...context, role: 'step' }, hidden.select(tokens.cols - 1))
  }

  #forward(pass: Pass, tokens: Tensor, state: ModelState, mode: 'decode' | 'prefill'): Tensor {
    const { cl, workspace } = pass
    const { dModel, embeddingMultiplier = 1 } = this.config
    // What runs through all layers is float32, whatever they compute in.
    const hidden = workspace.take('hidden', tokens.shape, dModel, 'float32')
    this.#embedding.lookUp(cl, tokens, hidden, { scale: embeddingMultiplier })
    const places = {
      hidden,
      branches: this.#branches(workspace, tokens.shape) ?? hidden,
      normed: hidden,
    }
    const embedding = this.#keptEmbedding(pass, tokens)
    for (const [index, placed] of this.#blocks.entries()) {
      const { block, layer, layerNorm } = placed
      cl.layer(layer, () => {
        if (layerNorm) places.normed = recordLayerNorm(pass, hidden, layerNorm)
        block[mode]({ ...pass, embedding }, streamOf(placed, places), state[index]!)
      })
    }
    return hidden
  }

  #branches(workspace: Workspace, shape: readonly number[]): Tensor | undefined {
    if (this.#blocks.every(({ out }) => out === 'hidden')) return undefined
    return workspace.take('branches', shape, this.config.dModel, 'float32')
  }

  // Of a copy that stays as it is while the stream goes through the layers.
  #keptEmbedding({ cl, workspace }: Pass, tokens: Tensor): Tensor | undefined {
    if (!this.#blocks.some(({ block }) => block.readsEmbedding)) return undefined
    const { dModel, embeddingMultiplier: scale } = this.config
    const embedding = workspace.take('embedding', tokens.shape, dModel, 'float32')
    this.#embedding.lookUp(cl, tokens, embedding, { scale })
    return embedding
  }

  #logits({ cl, workspace, role }: Pass, hidden: Tensor): Tensor {
    const { paddedVocabSize } = this.config
    const norm = this.#finalNorm
    const logits = workspace.take('logits', hidden.shape.slice(0, -1), paddedVocabSize, 'float32')
    if (isLayerNorm(norm)) {
      recordLinear(cl, recordLayerNorm({ cl, workspace }, hidden, norm), this.#head, logits, {
        role,
      })
    } else {
      recordLinear(cl, hidden, this.#head, logits, { role, norm })
    }
    return logits
  }

  /** Frees the weights once no command list uses them. */
  dispose(): void {
    for (const memory of this.#owned) memory.dispose()
  }
}

// Above what published models need (Mamba-Codestral-7B: 266 MiB, of 14 GB of weights).
const LARGEST_STATE = 2 ** 29

// Once the weights have proved the other sizes, an attention window is the one number that decides
// over memory and stands nowhere but in the configuration.
function checkStateSize({ config, configFile, tensors }: Checkpoint): void {
  const bytes = stateBytes(config)
  const weightBytes = [...tensors.values()].reduce((sum, entry) => sum + entry.byteLength, 0)
  const most = Math.max(LARGEST_STATE, weightBytes)
  if (bytes <= most) return
  const largest = [...config.layers].sort(
    (a, b) => layerStateBytes(b, 'float32') - layerStateBytes(a, 'float32'),
  )[0]!
  const cause = blockKind(largest.kind).describeState(largest)
  throw new CorruptFileError(
    `${configFile}: one sequence would need ${bytes} bytes for ${cause}; ` +
      `a model with ${weightBytes} bytes of weights may need ${most}`,
  )
}
