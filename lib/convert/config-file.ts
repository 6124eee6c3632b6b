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
  const text = await readFile(configFile, 'utf8')
  const found = parseConfigJson(text, configFile)
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
  const written = JSON.stringify(tagged(converted, floatKeys(text)), null, 2)
  return `${written.replace(MARKED, '$1')}\n`
}

function withType(config: JsonObject, dtype: FloatType): void {
  for (const key of ['dtype', 'torch_dtype']) if (key in config) config[key] = dtype
  if (isJsonObject(config.text_config)) withType(config.text_config, dtype)
}

// transformers 5 refuses 1 for a float: it must be 1.0, which JavaScript does not tell from 1.
const FLOATS = /_(?:limit|multipliers?|scaling|theta|factor|eps|epsilon)$/
const MARK = 'a float: '
const MARKED = new RegExp(`"${MARK}(-?[\\d.]+)"`, 'g')

/** Keys under which a text has floats that are whole numbers, alone or in a list. */
function floatKeys(text: string): (key: string) => boolean {
  const found = new Set<string>()
  for (const [, key] of text.matchAll(/"(\w+)"\s*:\s*\[?\s*-?\d+\.0+(?![\de])/g)) found.add(key!)
  return (key) => FLOATS.test(key) || found.has(key)
}

/**
 * With floats marked, and infinities and NaN as transformers 5 and mlx-lm write them: JSON has no words for them. A value in a list
 * has the list's key.
 */
function tagged(value: JsonValue, isFloat: (key: string) => boolean, key = ''): JsonValue {
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return { __float__: String(value) }
    const isWhole = Number.isInteger(value) && Math.abs(value) < 1e21
    return isWhole && isFloat(key) ? MARK + value.toFixed(1) : value
  }
  if (Array.isArray(value)) return value.map((each) => tagged(each, isFloat, key))
  if (!isJsonObject(value)) return value
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([name, each]) => [name, tagged(each, isFloat, name)]))
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
