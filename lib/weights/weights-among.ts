// Which of the files of a folder, or of a repository of the Hub, hold the model: by their names alone.

import { isShard, type ShardSet, shardSets } from './shards.js'

export const SINGLE = 'model.safetensors'
export const INDEX = 'model.safetensors.index.json'
export const PYTORCH = 'pytorch_model.bin'
// Also model.safetensors.index.fp16.json, of a variant.
export const INDEX_NAME = /\.safetensors\.index(?:\.[\w-]+)?\.json$/

export const SHARDED_PICKLE =
  'sharded pytorch_model.bin is not supported; save the model as safetensors'

// Of a trainer, or of an adapter.
const NOT_WEIGHTS = /^(?:training_args|optimizer|scheduler|scaler|rng_state|trainer_state|adapter)/

export type WeightsChoice =
  | { kind: 'file'; file: string }
  /** An index of shards; the sets of shards that are complete, and other files, where it does not fit. */
  | { kind: 'index'; file: string; complete: readonly ShardSet[]; others: readonly string[] }
  | { kind: 'shards'; set: ShardSet }
  | { kind: 'sharded-pickle' }
  /** What is in them says which of these is the model. */
  | { kind: 'several'; files: readonly string[] }
  | { kind: 'none' }

/** The index of shards: the usual one, or else the only one. */
function indexAmong(names: readonly string[]): string | undefined {
  const indices = names.filter((name) => INDEX_NAME.test(name))
  return names.includes(INDEX) ? INDEX : indices.length === 1 ? indices[0] : undefined
}

function isPickleOfWeights(name: string): boolean {
  return /\.(?:bin|pt|pth)$/.test(name) && !NOT_WEIGHTS.test(name)
}

function otherSafetensors(names: readonly string[]): string[] {
  return names.filter(
    (name) => name.endsWith('.safetensors') && !isShard(name) && !NOT_WEIGHTS.test(name),
  )
}

/** In the order of transformers; then what other software writes and people rename. */
export function weightsAmong(names: readonly string[]): WeightsChoice {
  if (names.includes(SINGLE)) return { kind: 'file', file: SINGLE }
  const { sets, complete, candidates } = leftovers(names)
  const others = otherSafetensors(names)
  const file = indexAmong(names)
  if (file !== undefined) return { kind: 'index', file, complete, others }
  if (complete.length === 1) return { kind: 'shards', set: complete[0]! }
  if (names.includes(PYTORCH)) return { kind: 'file', file: PYTORCH }
  if (names.some((name) => /^pytorch_model.*(?:-of-\d+\.bin|\.bin\.index\.json)$/.test(name))) {
    return { kind: 'sharded-pickle' }
  }
  if (others.length === 1) return { kind: 'file', file: others[0]! }
  if (others.length > 1) return { kind: 'several', files: others }
  const isOnly = sets.length === 0 && candidates.length === 1
  return isOnly ? { kind: 'file', file: candidates[0]! } : { kind: 'none' }
}

/** What may be weights among names where none was chosen, for messages. */
export function leftovers(names: readonly string[]) {
  const sets = shardSets(names)
  return {
    sets,
    complete: sets.filter(({ missing }) => missing.length === 0),
    candidates: [...otherSafetensors(names), ...names.filter(isPickleOfWeights)],
  }
}
