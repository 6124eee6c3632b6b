// What a family of checkpoints is, and what it says about a model: its configuration and the names of its tensors. Each
// has a file of its own in this folder and a line in the table of families.ts.

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { Quantization } from '../../weights/formats/formats.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ModelConfig } from '../config.js'
import type { ConfigReader } from '../config-reader.js'
import type { MlxForm } from './mlx-form.js'
import type { TensorNames } from './tensor-names.js'

export interface ModelDescription {
  config: Omit<ModelConfig, 'layers'>
  names: TensorNames
  /** In order. */
  layers: readonly LayerDescription[]
  /**
   * What counts where a configuration ties the head to the embedding and the file has both with different
   * values: both as they are (transformers 5), or the head's for both (mamba_ssm reads the two, one after
   * the other, into one). Undefined for formats in which they are never tied.
   */
  tying: 'two matrices' | 'the head' | undefined
  /** Of tensors inside the model's own modules those that it does without. */
  isUnused?(tensor: string): boolean
  /** The token that ends a text where neither a file says it nor a tokenizer is at hand. */
  usualEndOfText?: number
  /**
   * How mlx-lm has it; reads keys that nothing else needs, and throws for those that are wrong. Absent where mlx-lm does
   * not know the family: its names stay what they are.
   */
  mlx?(): MlxForm
  /** Quantisation of the module at this path, when it is quantised. Throws for one that is not implemented. */
  quantizationOf(path: string): Quantization | undefined
}

/** Where people find a model of a family. */
export interface PublishedModel {
  /** On the Hugging Face Hub. */
  name: string
  /** As its authors say it: `1.3B`. */
  parameters: string
}

export interface Family {
  /** As the error that lists what is implemented has it. */
  readonly name: string
  /** The best known models, the smallest first. */
  readonly published: readonly PublishedModel[]
  /** Of all of them, as their authors name it. */
  readonly licence: string
  /** Whether a config.json is of the family. */
  isConfig?(config: ConfigReader): boolean
  /** The configuration in the header of a weights file, where that has one of the family. */
  configInHeader?(file: string, metadata: Record<string, string>): ConfigReader | undefined
  /** Throws for what is not implemented, and for what cannot be. */
  describe(config: ConfigReader, tensors: ReadonlyMap<string, TensorEntry>): ModelDescription
}

/** Whether a config.json has this `model_type`. Throws where it is no text. */
export function hasModelType(config: ConfigReader, type: string): boolean {
  return config.has('model_type') && config.string('model_type') === type
}
