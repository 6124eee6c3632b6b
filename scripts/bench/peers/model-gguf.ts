// A checkpoint as a GGUF file of llama.cpp, from the very same weights. What the families have in common is said once,
// by kind of block (gguf-layers.ts); what architectures have of their own is in gguf-metadata.ts.

import { type FileHandle, open, readFile } from 'node:fs/promises'
import { type Checkpoint, openCheckpoint } from '../../../lib/models/checkpoint.js'
import type { LayerDescription } from '../../../lib/models/blocks/blocks.js'
import { parseConfigJson } from '../../../lib/support/json.js'
import type { TensorEntry } from '../../../lib/weights/checkpoint.js'
import { type GgufTensor, type GgufType, type GgufValue, writeGguf } from './gguf.js'
import { layerTensors, type PlannedTensor, plus } from './gguf-layers.js'
import { type Architecture, ARCHITECTURES } from './gguf-metadata.js'
import { matrixShape, readTensor } from './gguf-source.js'
import { vocabulary } from './gguf-vocabulary.js'

const FILE_TYPES: Record<GgufType, number> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7 }

/** Whether llama.cpp's prebuilt binary has models of this architecture, as `ModelConfig.architecture` names it. */
export const hasGguf = (architecture: string): boolean => architecture in ARCHITECTURES

/** Writes the checkpoint in `folder`, of floats, to `path`, with its matrices in `type`. */
export async function writeModelGguf(folder: string, path: string, type: GgufType): Promise<void> {
  const checkpoint = await openCheckpoint(folder)
  const { config, weightsFile, tensors } = checkpoint
  const architecture = ARCHITECTURES[config.architecture]
  if (!architecture) {
    throw new Error(`[writeModelGguf] ${folder}: llama.cpp has no ${config.architecture}`)
  }
  const stated = parseConfigJson(await readFile(checkpoint.configFile, 'utf8'), folder)
  const layers = blocksOf(checkpoint)
  const blocks = layers.map((block) => block.map((layer) => layer.config))
  const metadata = {
    ...commonKeys(checkpoint, architecture, layers.length, type),
    ...prefixed(architecture.name, architecture.keys({ config, blocks, stated })),
    ...vocabulary(config.paddedVocabSize),
  }
  const file = await open(weightsFile)
  try {
    const planned = [
      ...outerTensors(checkpoint, architecture),
      ...layers.flatMap((block, i) => blockTensors(checkpoint, architecture, block, i)),
    ]
    const written = planned.map((tensor) => {
      const entry = tensors.get(tensor.source)
      if (!entry) throw new Error(`[writeModelGguf] ${folder}: tensor ${tensor.source} is missing`)
      return ggufTensor(file, entry, tensor, type)
    })
    await writeGguf(path, metadata, written)
  } finally {
    await file.close()
  }
}

/** Our blocks by the layer of the checkpoint. */
function blocksOf({ layers }: Checkpoint): LayerDescription[][] {
  const blocks: LayerDescription[][] = []
  for (const layer of layers) {
    const index = Number(/layers\.(\d+)/.exec(layer.path)![1])
    blocks[index] ??= []
    blocks[index].push(layer)
  }
  return blocks
}

function commonKeys(
  { config }: Checkpoint,
  { name }: Architecture,
  blocks: number,
  type: GgufType,
): Record<string, GgufValue> {
  const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
  return {
    'general.architecture': { type: 'string', value: name },
    'general.type': { type: 'string', value: 'model' },
    'general.name': { type: 'string', value: `random ${name}` },
    'general.alignment': uint32(32),
    'general.quantization_version': uint32(2),
    'general.file_type': uint32(FILE_TYPES[type]),
    ...prefixed(name, {
      context_length: uint32(config.maxContext ?? 2 ** 20),
      embedding_length: uint32(config.dModel),
      block_count: uint32(blocks),
      vocab_size: uint32(config.paddedVocabSize),
      'attention.layer_norm_rms_epsilon': { type: 'float32', value: config.normEpsilon },
    }),
  }
}

function prefixed(name: string, keys: Record<string, GgufValue>): Record<string, GgufValue> {
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${name}.${key}`, value]))
}

/** Embedding, last norm, and head. */
function outerTensors(
  { config, names }: Checkpoint,
  { keepsMultipliers, finalNorm = 'output_norm' }: Architecture,
): PlannedTensor[] {
  const { embeddingMultiplier = 1, logitsMultiplier = 1, normOffset = 0, tieEmbeddings } = config
  const by = (factor: number) => (keepsMultipliers ? {} : { change: { factor } })
  const embedding = `${names.embedding}.weight`
  // Without a head of its own llama.cpp ties the two; but its matrices have the multipliers, and differ by them.
  const isTied = tieEmbeddings && (keepsMultipliers || embeddingMultiplier === logitsMultiplier)
  const head = tieEmbeddings ? embedding : `${names.head}.weight`
  return [
    {
      name: 'token_embd.weight',
      source: embedding,
      isMatrix: true,
      ...by(embeddingMultiplier),
    },
    {
      name: `${finalNorm}.weight`,
      source: names.finalNorm,
      isMatrix: false,
      change: plus(normOffset),
    },
    ...(isTied
      ? []
      : [{ name: 'output.weight', source: head, isMatrix: true, ...by(logitsMultiplier) }]),
  ]
}

function blockTensors(
  { config }: Checkpoint,
  architecture: Architecture,
  block: readonly LayerDescription[],
  index: number,
): PlannedTensor[] {
  const normNames = ['attn_norm.weight', architecture.secondNorm]
  const tensors: PlannedTensor[] = []
  for (const layer of block) {
    if (layer.norm) {
      const name = normNames.shift()
      if (!name) throw new Error(`[writeModelGguf] ${layer.path}: a norm without a name`)
      const change = plus(config.normOffset ?? 0)
      tensors.push({ name, source: layer.norm, isMatrix: false, change })
    }
    tensors.push(...layerTensors(layer, architecture))
  }
  return tensors.map((tensor) => ({ ...tensor, name: `blk.${index}.${tensor.name}` }))
}

function ggufTensor(
  file: FileHandle,
  entry: TensorEntry,
  { name, dimensions, isMatrix, change }: PlannedTensor,
  type: GgufType,
): GgufTensor {
  return {
    name,
    dimensions: dimensions ?? dimensionsOf(entry, change),
    type: isMatrix ? type : 'f32',
    pieces: () => readTensor(file, entry, change),
  }
}

function dimensionsOf(entry: TensorEntry, change: PlannedTensor['change']): number[] {
  const { rows: all, cols } = matrixShape(entry)
  const rows = change?.rows?.reduce((sum, { count }) => sum + count, 0) ?? all
  if (entry.shape.length === 1) return [rows]
  if (entry.shape.length === 2) return [cols, rows]
  const experts = entry.shape[0]!
  return [cols, rows / experts, experts]
}
