// Opens a checkpoint of any family: finds its files, recognises the family by content, reads the
// configuration and where each tensor lies. Loads no weights.

import { readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { CorruptFileError, ModelNotFoundError } from '../support/errors.js'
import { completionAdvice } from '../hub/snapshots.js'
import type { Notice } from '../support/notices.js'
import type { TensorEntry } from '../weights/checkpoint.js'
import type { WeightSource } from '../weights/planned-format.js'
import { mistakenFor } from '../weights/file-reader.js'
import { readWeightsFile, readWeightsOf } from '../weights/folder.js'
import { parseConfigJson } from '../support/json.js'
import type { ModelConfig } from './config.js'
import { ConfigReader } from './config-reader.js'
import { familyInHeader, familyOf } from './families/families.js'
import type { ModelDescription } from './families/family.js'
import { tieByFile } from './tied-head.js'
import { skipUnused } from './unused-tensors.js'

export interface Checkpoint extends ModelDescription, WeightSource {
  config: ModelConfig
  /** Folder with the files. */
  folder: string
  /** The file that the configuration was read from. */
  configFile: string
  /** Those that the model has; what it does not use is left out. */
  tensors: Map<string, TensorEntry>
  /** What a caller should know. */
  notices: readonly Notice[]
}

const LARGEST_CONFIG = 16 * 2 ** 20

/**
 * Opens the checkpoint at `path`: a folder, or a weights file in one. Throws `ModelNotFoundError` when
 * there is none, `CorruptFileError` for damaged files, `UnsupportedArchitectureError` for other models.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const full = resolve(path)
  const info = await stat(full).catch(() => undefined)
  if (!info) throw new ModelNotFoundError(`${full}: no such file or folder`)
  const folder = info.isDirectory() ? full : dirname(full)
  const configFile = join(folder, 'config.json')
  const hasConfig = (await stat(configFile).catch(() => undefined))?.isFile() ?? false
  const weights = info.isDirectory() ? await readWeightsOf(folder) : await readWeightsFile(full)
  const { file: weightsFile, tensors, metadata } = weights
  const inHeader = familyInHeader(weightsFile, metadata)
  const { family, config } =
    inHeader ?? familyOf(languageConfig(await readConfig(configFile, hasConfig)))
  const stated = family.describe(config, tensors)
  const { description, notices } = await tieByFile(stated, tensors, weightsFile)
  notices.unshift(...weights.notices)
  notices.push(...skipUnused(description, tensors, weightsFile))
  return finished({
    ...description,
    config: { ...description.config, layers: description.layers.map(({ config }) => config) },
    folder,
    configFile: inHeader ? weightsFile : configFile,
    weightsFile,
    tensors,
    notices,
  })
}

// Nobody may change the configuration of a model that runs: it is public.
function finished(checkpoint: Checkpoint): Checkpoint {
  const { config } = checkpoint
  for (const layer of config.layers) Object.freeze(layer)
  for (const list of [config.layers, config.eosTokenIds, config.quantization]) Object.freeze(list)
  Object.freeze(config)
  return checkpoint
}

// What a model that is part of another one takes from around it.
const SHARED_KEYS = ['eos_token_id', 'quantization', 'quantization_config', 'tie_word_embeddings']

/** The configuration of the language model, which others keep in `text_config`. */
function languageConfig(config: ConfigReader): ConfigReader {
  if (!config.has('text_config')) return config
  const isInner = config.object('text_config').has('model_type')
  const outer = isInner ? config.picked([...SHARED_KEYS, 'text_config']) : config
  const inner = outer.withInner('text_config')
  // transformers ties the head by the outer key, mlx-lm by the inner one; a head that is in the file counts in any case.
  return outer.isTrue('tie_word_embeddings') ? inner.withValue('tie_word_embeddings', true) : inner
}

/** Throws `UnsupportedArchitectureError` for a config.json of no family that is known. Errors call the file `label`. */
export async function checkFamily(file: string, label: string): Promise<void> {
  familyOf(languageConfig(await readConfig(file, true, label)))
}

async function readConfig(file: string, exists: boolean, label = file): Promise<ConfigReader> {
  if (!exists) {
    throw new ModelNotFoundError(
      `${file} is missing, and the weights beside it carry no configuration of their own` +
        (await completionAdvice(dirname(file))),
    )
  }
  const { size } = await stat(file)
  if (size > LARGEST_CONFIG) {
    throw new CorruptFileError(`${label}: is ${size} bytes, too large for a configuration`)
  }
  const bytes = await readFile(file)
  const mistake = mistakenFor(bytes, label)
  if (mistake !== '') throw new CorruptFileError(`${label}: expected JSON${mistake}`)
  return new ConfigReader(label, parseConfigJson(bytes.toString('utf8'), label))
}
