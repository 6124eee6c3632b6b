// The configuration of a converted model: that of the checkpoint, with what mlx-lm needs to find in it.

import { readFile } from 'node:fs/promises'
import type { Checkpoint } from '../models/checkpoint.js'
import type { MlxForm } from '../models/families/mlx-form.js'
import { isJsonObject, type JsonObject, type JsonValue, parseConfigJson } from '../support/json.js'
import type { FloatType } from '../weights/float-types.js'

/** What a conversion changes. */
export interface ConfigChanges {
  dtype: FloatType | undefined
  quantization: JsonObject | undefined
}

/** The text of its config.json; `mlx` as for `planTensors`. */
export async function convertedConfig(
  { configFile, config }: Checkpoint,
  mlx: MlxForm | undefined,
  { dtype, quantization }: ConfigChanges,
): Promise<string> {
  const found = parseConfigJson(await readFile(configFile, 'utf8'), configFile)
  const tied = mlx && { tie_word_embeddings: config.tieEmbeddings && !mlx.hasOwnHead }
  const keys: JsonObject = { ...mlx?.config, ...tied }
  const { text_config: inner, ...outer } = found
  let converted: JsonObject
  if (mlx?.isWholeConfig) converted = keys
  else if (!isJsonObject(inner)) converted = { ...found, ...keys }
  else if (mlx?.keepsTextConfig) {
    const { model_type: type, ...others } = keys
    converted = { ...outer, model_type: type!, ...tied, text_config: { ...inner, ...others } }
  } else converted = { ...outer, ...inner, ...keys }
  // What some writers said of it in their own words.
  delete converted.quantization
  delete converted.quantization_config
  if (dtype) withType(converted, dtype)
  // Twice, as mlx-lm: websites look for the second.
  if (quantization) Object.assign(converted, { quantization, quantization_config: quantization })
  return `${JSON.stringify(tagged(converted), null, 2)}\n`
}

function withType(config: JsonObject, dtype: FloatType): void {
  for (const key of ['dtype', 'torch_dtype']) if (key in config) config[key] = dtype
  if (isJsonObject(config.text_config)) withType(config.text_config, dtype)
}

/** Infinities and NaN as transformers 5 and mlx-lm write them: JSON has no words for them. */
function tagged(value: JsonValue): JsonValue {
  if (typeof value === 'number' && !Number.isFinite(value)) return { __float__: String(value) }
  if (Array.isArray(value)) return value.map(tagged)
  if (!isJsonObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, tagged(each)]))
}

/**
 * The header's metadata of an Edge file, which is its configuration: quantised alike are then all modules but the
 * embedding.
 */
export function edgeMetadata(
  metadata: Readonly<Record<string, string>>,
  quantization: JsonObject | undefined,
): Record<string, string> {
  if (!quantization) return { ...metadata }
  const isOfQuantization = (key: string) => /(?:^|\.)quantization_kwargs(?:\.|$)/.test(key)
  const others = Object.entries(metadata).filter(([key]) => !isOfQuantization(key))
  const stated = Object.entries(quantization).map(
    ([key, value]) => [`quantization_kwargs.${key}`, JSON.stringify(value)] as const,
  )
  return Object.fromEntries([...others, ...stated])
}
