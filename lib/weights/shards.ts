// Checkpoints of several safetensors files: by the index that says which tensor lies where, or by names
// such as model-00001-of-00003.safetensors, which say when all are there.

import { basename, dirname, join, win32 } from 'node:path'
import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'
import type { CheckpointFile } from './checkpoint.js'
import { FileReader, mistakenFor } from './file-reader.js'
import { isJsonObject, parseJsonObject } from '../support/json.js'
import { decodeUtf8, HEADER_RULES, MAX_HEADER_LENGTH, readSafetensors } from './safetensors.js'

/** Bytes. An index names each tensor and its shard once, so a header's limit suits it too. */
const MAX_INDEX_LENGTH = MAX_HEADER_LENGTH

/** The shards of one checkpoint that a folder has. */
export interface ShardSet {
  /** In order. */
  files: readonly string[]
  /** Numbers of those that are not there. */
  missing: readonly number[]
  total: number
}

const SHARD = /^(.*?)[-.]?(\d{1,6})-of-(\d{1,6})\.safetensors$/
const MOST_SHARDS = 10_000

/** The sets of shards among the names of a folder, by what their names have in common. */
export function shardSets(names: readonly string[]): ShardSet[] {
  const sets = new Map<string, Map<number, string>>()
  for (const name of names) {
    const [, stem, number, total] = SHARD.exec(name) ?? []
    if (stem === undefined || Number(total) > MOST_SHARDS) continue
    const key = `${Number(total)} ${stem}`
    const set = sets.get(key) ?? new Map<number, string>()
    sets.set(key, set.set(Number(number), name))
  }
  return [...sets].map(([key, set]) => {
    const total = Number.parseInt(key, 10)
    // A few writers count from 0.
    const first = set.has(0) ? 0 : 1
    const numbers = Array.from({ length: total }, (_, i) => first + i)
    const files = numbers.flatMap((number) => set.get(number) ?? [])
    return { files, missing: numbers.filter((number) => !set.has(number)), total }
  })
}

export const isShard = (name: string): boolean => SHARD.test(name)

/** Reads the headers of all shards of a folder and merges them, as `readSafetensorsIndex` does. */
export function readShards(folder: string, { files }: ShardSet): Promise<CheckpointFile> {
  return mergeShards(folder, files, (shard) => readSafetensors(join(folder, shard)))
}

/**
 * Reads `model.safetensors.index.json` and the headers of all shards it names, and merges them. Where
 * shards disagree on a metadata key, the first shard by name wins.
 *
 * @throws CorruptFileError if the index or a shard is damaged, a shard is missing or lies outside the
 *   index's folder, a shard lacks a tensor that the index puts there, or two have the same tensor.
 *
 * @example
 * const { tensors } = await readSafetensorsIndex('model/model.safetensors.index.json')
 */
export async function readSafetensorsIndex(path: string): Promise<CheckpointFile> {
  const shardOf = await readWeightMap(path)
  const shards = [...new Set(shardOf.values())].sort()
  const merged = await mergeShards(path, shards, (shard) => readShard(path, shard))
  for (const [name, shard] of shardOf) {
    const found = merged.tensors.get(name)
    if (found && basename(found.file) === shard) continue
    throw new CorruptFileError(
      `${path}: tensor ${quote(name)}: weight_map puts it in ${quote(shard)}` +
        ` but ${found ? `it is in ${quote(basename(found.file))}` : 'that file does not have it'}`,
    )
  }
  return merged
}

/** The shards that an index names; errors as those of {@link readSafetensorsIndex}. */
export async function shardsNamedIn(path: string): Promise<string[]> {
  return [...new Set((await readWeightMap(path)).values())].sort()
}

/** `path` is what a message about all shards names. */
async function mergeShards(
  path: string,
  shards: readonly string[],
  read: (shard: string) => Promise<CheckpointFile>,
): Promise<CheckpointFile> {
  const merged: CheckpointFile = { tensors: new Map(), metadata: Object.create(null) }
  for (const shard of shards) {
    const { tensors, metadata } = await read(shard)
    for (const tensor of tensors.values()) {
      const other = merged.tensors.get(tensor.name)
      if (other) {
        throw new CorruptFileError(
          `${path}: tensor ${quote(tensor.name)} is in two shards,` +
            ` ${quote(basename(other.file))} and ${quote(shard)}`,
        )
      }
      merged.tensors.set(tensor.name, tensor)
    }
    for (const [key, value] of Object.entries(metadata)) merged.metadata[key] ??= value
  }
  return merged
}

async function readWeightMap(path: string): Promise<Map<string, string>> {
  const text = await FileReader.use(path, async (file) => {
    if (file.size > MAX_INDEX_LENGTH) {
      throw new CorruptFileError(
        `${path}: has ${file.size} bytes but at most ${MAX_INDEX_LENGTH} are read`,
      )
    }
    const bytes = await file.read(0, file.size, 'the index')
    const mistake = mistakenFor(bytes, path)
    if (mistake !== '') throw new CorruptFileError(`${path}: expected JSON${mistake}`)
    return decodeUtf8(bytes, path)
  })
  // `metadata` nests freely there and is not needed, so the depth is only kept from exploding.
  const index = parseJsonObject(text, path, { ...HEADER_RULES, maxDepth: 100 })
  const weightMap = index.weight_map
  if (!isJsonObject(weightMap)) {
    throw new CorruptFileError(`${path}: weight_map must be an object but is ${quote(weightMap)}`)
  }
  const shardOf = new Map<string, string>()
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !isPlainShardName(shard)) {
      throw new CorruptFileError(
        `${path}: tensor ${quote(name)}: weight_map must name a file in the same folder that ends` +
          ` in .safetensors, but has ${quote(shard)}`,
      )
    }
    shardOf.set(name, shard)
  }
  return shardOf
}

// By the rules of Windows too, whose separators and drive letters a POSIX `basename` lets through.
// What the name then resolves to may be a symbolic link: caches of the Hub consist of them.
function isPlainShardName(shard: string): boolean {
  return (
    shard === basename(shard) &&
    shard === win32.basename(shard) &&
    shard.endsWith('.safetensors') &&
    !shard.includes('\0')
  )
}

async function readShard(indexPath: string, shard: string): Promise<CheckpointFile> {
  try {
    return await readSafetensors(join(dirname(indexPath), shard))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENAMETOOLONG') throw error
    throw new CorruptFileError(
      `${indexPath}: weight_map names ${quote(shard)} but that file is missing; download all shards`,
      { cause: error },
    )
  }
}
