// A language model on a device: token ids to logits, written in device operations.
//   h = embedding(tokens);  h = h + layer(norm(h)) for each layer;  logits = head(norm(h))

import type { ActivationType, Device } from '../device.js'
import { CorruptFileError } from '../errors.js'
import type { Memory, Tensor } from '../tensor.js'
import { type Linear, type LoaderOptions, type Weight, WeightLoader } from '../weights/loader.js'
import { DeviceStore, type WeightStore } from '../weights/store.js'
import type { WeightWishes } from '../weights/weight-format.js'
import type { Checkpoint } from './checkpoint.js'
import { layerStateBytes, type ModelConfig, stateBytes } from './config.js'
import type { TensorNames } from './families/family.js'
import { AttentionLayer } from './layers/attention.js'
import {
  type Layer,
  type LayerState,
  type Pass,
  recordEmbedding,
  recordLinear,
} from './layers/layer.js'
import { Mamba2Layer } from './layers/mamba2.js'
import { MlpLayer } from './layers/mlp.js'

interface Block {
  norm: Tensor
  layer: Layer
}

/** What layers compute in: float32, or float16 where `dtype` asks for it and the device can. */
export function activationTypeOf(
  { activationTypes }: Pick<Device, 'activationTypes'>,
  { dtype }: WeightWishes,
): ActivationType {
  return dtype === 'float16' && activationTypes.includes('float16') ? 'float16' : 'float32'
}

/** The state of all layers, in order. */
export type ModelState = readonly LayerState[]

export class LanguageModel {
  readonly device: Device
  readonly config: ModelConfig
  /** What layers compute in: float32, or float16 where `dtype` asks for it and the device can. */
  readonly activationType: ActivationType
  /** Bytes of the weights as the device holds them. */
  readonly weightBytes: number
  readonly #embedding: Weight
  readonly #blocks: readonly Block[]
  readonly #finalNorm: Tensor
  readonly #head: Linear
  readonly #owned: readonly Memory[]

  private constructor(
    device: Device,
    config: ModelConfig,
    activationType: ActivationType,
    memory: { bytes: number; owned: readonly Memory[] },
    weights: { embedding: Weight; blocks: Block[]; finalNorm: Tensor; head: Linear },
  ) {
    this.device = device
    this.config = config
    this.activationType = activationType
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
    options: LoaderOptions & { onTensors?: (model: LanguageModel) => void },
    store: WeightStore = new DeviceStore(device, checkpoint.tensors, options.signal),
  ): Promise<LanguageModel> {
    const { config, names } = checkpoint
    const { dModel, paddedVocabSize } = config
    const loader = new WeightLoader(checkpoint, options, store)
    try {
      const embedding = await loader.weight(names.embedding, paddedVocabSize, dModel)
      const blocks: Block[] = []
      for (const index of config.layers.keys()) {
        const block = `${names.block}.${index}`
        blocks.push({
          norm: await loader.vector(`${block}.${names.norm}`, dModel),
          layer: await loadLayer(loader, config, index, names, `${block}.${names.layer}`),
        })
      }
      const finalNorm = await loader.vector(names.finalNorm, dModel)
      const head: Linear = config.tieEmbeddings
        ? { weight: embedding, bias: undefined }
        : await loader.linear(names.head, paddedVocabSize, dModel, config.headBias)
      loader.checkAllUsed()
      checkStateSize(checkpoint)
      const activationType = activationTypeOf(device, options)
      const weights = { embedding, blocks, finalNorm, head }
      const model = new LanguageModel(
        device,
        config,
        activationType,
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

  /** The state of `batch` sequences that have seen nothing. */
  createState(batch: number): ModelState {
    return this.#blocks.map(({ layer }) =>
      layer.createState(this.device, batch, this.activationType),
    )
  }

  /**
   * Records one token a sequence: tokens uint32 (batch). Returns the scratch tensor of the logits
   * (batch, paddedVocabSize).
   */
  decode(pass: Pass, tokens: Tensor, state: ModelState): Tensor {
    return this.#logits(pass, this.#forward(pass, tokens, state, 'decode'))
  }

  /**
   * Records a chunk of a prompt: tokens uint32 (batch, length). Returns the scratch tensor of the
   * logits: of every position (batch, length, paddedVocabSize), of the last one
   * (batch, paddedVocabSize), or none, which saves the head.
   */
  prefill(
    pass: Pass,
    tokens: Tensor,
    state: ModelState,
    logits: 'all' | 'last' | 'none',
  ): Tensor | undefined {
    const hidden = this.#forward(pass, tokens, state, 'prefill')
    if (logits === 'none') return undefined
    return this.#logits(pass, logits === 'all' ? hidden : hidden.select(tokens.cols - 1))
  }

  #forward(pass: Pass, tokens: Tensor, state: ModelState, mode: 'decode' | 'prefill'): Tensor {
    const { cl, workspace } = pass
    const { dModel, normEpsilon } = this.config
    // What runs through all layers is float32, whatever they compute in.
    const hidden = workspace.take('hidden', tokens.shape, dModel, 'float32')
    recordEmbedding(cl, tokens, this.#embedding, hidden)
    for (const [index, { norm, layer }] of this.#blocks.entries()) {
      layer[mode](pass, hidden, { weight: norm, eps: normEpsilon }, state[index]!)
    }
    return hidden
  }

  #logits({ cl, workspace }: Pass, hidden: Tensor): Tensor {
    const { paddedVocabSize, normEpsilon: eps } = this.config
    const logits = workspace.take('logits', hidden.shape.slice(0, -1), paddedVocabSize, 'float32')
    recordLinear(cl, hidden, this.#head, logits, { norm: { weight: this.#finalNorm, eps } })
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
  const cause =
    largest.kind === 'attention'
      ? `attention over a window of ${largest.window} positions`
      : 'the states of its Mamba-2 layers'
  throw new CorruptFileError(
    `${configFile}: one sequence would need ${bytes} bytes for ${cause}; ` +
      `a model with ${weightBytes} bytes of weights may need ${most}`,
  )
}

function loadLayer(
  loader: WeightLoader,
  config: ModelConfig,
  index: number,
  names: TensorNames,
  prefix: string,
): Promise<Layer> {
  const layer = config.layers[index]!
  switch (layer.kind) {
    case 'mamba2':
      return Mamba2Layer.load(loader, layer, config.dModel, names.mamba2, prefix)
    case 'mlp':
      return MlpLayer.load(loader, layer, config.dModel, names.mlp, prefix)
    case 'attention':
      return AttentionLayer.load(loader, layer, config.dModel, names.attention, prefix)
  }
}
