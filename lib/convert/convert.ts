// Converts a checkpoint to the layout of mlx-lm, perhaps quantised: a folder that loads by memory-map, here and, where
// mlx-lm knows the family, there. Families that it does not know keep their names.

import { open } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { throwIfAborted } from '../support/abort.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { listed } from '../support/format.js'
import type { JsonObject } from '../support/json.js'
import { checkOptions, checkPath } from '../support/option-checks.js'
import { optionNames, optionValues } from '../support/option-table.js'
import { openModel } from '../fetch-model.js'
import { type Checkpoint, openCheckpoint } from '../models/checkpoint.js'
import { createDevice } from '../operations/create-device.js'
import { CONVERT, type ConvertOptions, type ConvertQuantization } from '../options/converting.js'
import {
  isQuantized,
  type Quantization,
  quantizationDefaults,
  quantizedKind,
  readQuantization,
} from '../weights/formats/formats.js'
import { parameterCount } from '../weights/parameters.js'
import { readSafetensors } from '../weights/safetensors.js'
import { convertedConfig, edgeMetadata } from './config-file.js'
import { checkFree, copyCompanions, writeNewFolder, writeWhole } from './new-folder.js'
import { type Output, outputOf, statedQuantization } from './outputs.js'
import { planTensors } from './plan.js'
import { writeWeights } from './write-weights.js'

/** What came of a conversion. */
export interface Converted {
  /** The new folder. */
  path: string
  /** Of its weights file. */
  bytes: number
  parameters: number
  /** All that the tensors take, over the parameters: scales and what is not quantised included. */
  bitsPerWeight: number
  /** What the matrices have, but for exceptions; undefined where nothing was quantised. */
  quantization: Quantization | undefined
}

const WEIGHTS = 'model.safetensors'

/**
 * Converts the model at a path, or of a name on the Hub, as `loadModel` finds it, into the new folder `output`. Nothing is there before
 * all of it is. Throws what `loadModel` throws for a checkpoint that is none, and `UnsupportedOptionError` for one that is
 * quantised already.
 *
 * @example
 * const { bitsPerWeight } = await convert('./mamba2-1.3b', './mamba2-1.3b-4bit', { quantize: { bits: 4 } })
 */
export async function convert(
  pathOrId: string,
  output: string,
  options: ConvertOptions = {},
): Promise<Converted> {
  checkOptions('convert', options, optionNames(CONVERT))
  const values = optionValues('convert', CONVERT, options)
  checkPath('convert', pathOrId)
  checkPath('convert', output)
  const quantize = values.quantize && quantizationAsked(values.quantize)
  const { dtype, cacheDir, revision, download } = values
  const { signal, onProgress, onNotice } = options
  throwIfAborted(signal)
  const target = resolve(output)
  await checkFree(target)
  const { checkpoint } = await openModel(pathOrId, {
    ...{ cacheDir, revision, download, signal, onNotice },
    onProgress: onProgress && ((progress) => onProgress({ phase: 'download', ...progress })),
  })
  for (const notice of checkpoint.notices) onNotice?.(notice)
  checkFloats(checkpoint)
  const mlx = checkpoint.mlx?.()
  const form = mlx ?? ownForm(checkpoint)
  const outputs = planTensors(checkpoint, mlx).map((tensor) =>
    outputOf(tensor, { dtype, quantize }, form),
  )
  if (quantize) checkQuantizes(checkpoint, outputs, quantize)
  const quantization: JsonObject | undefined = quantize && statedQuantization(quantize, outputs)
  let bytes = 0
  await writeNewFolder(target, async (folder) => {
    bytes = await writeFile(join(folder, WEIGHTS), outputs, {
      metadata: await metadataOf(checkpoint, quantization),
      signal,
      onProgress:
        onProgress && ((loaded, total) => onProgress({ phase: 'convert', loaded, total })),
    })
    await copyCompanions(checkpoint.folder, folder)
    // Last: without it the folder is no model.
    if (!isEdge(checkpoint)) {
      const text = await convertedConfig(checkpoint, mlx, { dtype, quantization })
      await writeWhole(join(folder, 'config.json'), text)
    }
  })
  return { path: target, bytes, ...(await sizes(target)), quantization: quantize }
}

const isEdge = ({ config }: Checkpoint): boolean => config.format === 'edge-mlx'

/** Edge's own package looks up its embedding in floats. */
const ownForm = (checkpoint: Checkpoint) =>
  isEdge(checkpoint) ? { inFloats: [checkpoint.names.embedding] } : {}

function quantizationAsked({ mode = 'affine', ...asked }: ConvertQuantization): Quantization {
  const defaults = quantizationDefaults(mode)
  const stated = {
    bits: asked.bits ?? defaults.bits,
    group_size: asked.groupSize ?? defaults.group_size,
  }
  const names = { bits: 'quantize.bits', group_size: 'quantize.groupSize' }
  return readQuantization(mode, {
    only<T extends string | number>(key: string, implemented: readonly T[]): T {
      const value = stated[key as keyof typeof stated] as T
      if (implemented.includes(value)) return value
      throw new UnsupportedOptionError(
        `[convert] ${names[key as keyof typeof names]} is ${value}, but ${mode} has ${listed(implemented, 'or')}`,
      )
    },
  })
}

function checkFloats({ tensors, weightsFile, quantizationOf }: Checkpoint): void {
  const scales = [...tensors.keys()].find((name) => name.endsWith('.scales'))
  const module = scales?.replace(/\.scales$/, '')
  if (module === undefined || !isQuantized(tensors, module)) return
  const stated = quantizationOf(module)
  throw new UnsupportedOptionError(
    `[convert] ${weightsFile} is quantised already` +
      `${stated ? ` (${quantizedKind(stated).bitsInWords(stated)})` : ''}: convert the original`,
  )
}

function checkQuantizes(
  { weightsFile }: Checkpoint,
  outputs: readonly Output[],
  quantize: Quantization,
): void {
  if (outputs.some(({ quantization }) => quantization)) return
  throw new UnsupportedOptionError(
    `[convert] quantize: no matrix of ${weightsFile} has ` +
      quantizedKind(quantize).inputsInWords(quantize),
  )
}

async function metadataOf(checkpoint: Checkpoint, quantization: JsonObject | undefined) {
  if (!isEdge(checkpoint)) return { format: 'mlx' }
  const { metadata } = await readSafetensors(checkpoint.weightsFile)
  return edgeMetadata(metadata, quantization)
}

async function writeFile(
  path: string,
  outputs: readonly Output[],
  options: Parameters<typeof writeWeights>[3],
): Promise<number> {
  const file = await open(path, 'wx')
  try {
    // Not a GPU: the bits are to be the same everywhere.
    using device = createDevice('cpu')
    return await writeWeights(file, outputs, device, options)
  } finally {
    await file.close()
  }
}

/** Of the model as whoever loads it finds it. */
async function sizes(path: string) {
  const { tensors, quantizationOf } = await openCheckpoint(path)
  const parameters = parameterCount({ tensors, quantizationOf })
  const bytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
  return { parameters, bitsPerWeight: (8 * bytes) / parameters }
}
