// The weights of a folder as it was published, downloaded, copied or renamed.

import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CorruptFileError, ModelNotFoundError, UnsupportedArchitectureError } from '../errors.js'
import { completionAdvice, danglingLink } from '../hub/snapshots.js'
import type { Notice } from '../notices.js'
import type { CheckpointFile } from './checkpoint.js'
import { readPytorchCheckpoint } from './pytorch.js'
import { readSafetensors } from './safetensors.js'
import { isShard, readSafetensorsIndex, readShards, type ShardSet, shardSets } from './shards.js'

export interface Weights extends CheckpointFile {
  /** What messages about tensors name: the file, the index of its shards, or their folder. */
  file: string
  notices: Notice[]
}

const SINGLE = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'
const PYTORCH = 'pytorch_model.bin'

/** Reads where the tensors of a folder lie. */
export async function readWeightsOf(folder: string): Promise<Weights> {
  const names = await readdir(folder)
  // In the order of transformers; then what other software writes and people rename.
  if (names.includes(SINGLE)) return readFile(join(folder, SINGLE))
  const sets = shardSets(names)
  const complete = sets.filter(({ missing }) => missing.length === 0)
  if (names.includes(INDEX)) return readIndex(join(folder, INDEX), complete)
  if (complete.length === 1) return readSet(folder, complete[0]!)
  if (names.includes(PYTORCH)) return readFile(join(folder, PYTORCH))
  if (names.some((name) => /^pytorch_model.*(?:-of-\d+\.bin|\.bin\.index\.json)$/.test(name))) {
    throw new UnsupportedArchitectureError(
      `${folder}: sharded pytorch_model.bin is not supported; save the model as safetensors`,
    )
  }
  const others = names.filter(
    (name) => name.endsWith('.safetensors') && !isShard(name) && !NOT_WEIGHTS.test(name),
  )
  const other = await chooseModel(folder, others)
  if (other !== undefined) return readFile(join(folder, other))
  if (sets.length > 0) throw await withoutAllShards(folder, sets, complete)
  const pickles = names.filter(isPickleOfWeights)
  if (others.length === 0 && pickles.length === 1) return readFile(join(folder, pickles[0]!))
  throw await withoutWeights(folder, names, [...others, ...pickles])
}

/** Reads where the tensors of one file lie, or of all shards where it is the index or one of them. */
export async function readWeightsFile(file: string): Promise<Weights> {
  const name = basename(file)
  const folder = dirname(file)
  if (name.endsWith('.index.json')) {
    const sets = shardSets(await readdir(folder))
    return readIndex(
      file,
      sets.filter(({ missing }) => missing.length === 0),
    )
  }
  if (!isShard(name)) return readFile(file)
  const set = shardSets(await readdir(folder)).find(({ files }) => files.includes(name))
  if (set && set.missing.length > 0) throw await withoutAllShards(folder, [set], [])
  return set ? readSet(folder, set) : readFile(file)
}

async function readFile(file: string): Promise<Weights> {
  await requireFile(file)
  return { ...(await readerOf(file)(file)), file, notices: [] }
}

function readerOf(file: string): (file: string) => Promise<CheckpointFile> {
  if (file.endsWith('.safetensors')) return readSafetensors
  if (/\.(bin|pt|pth)$/.test(file)) return readPytorchCheckpoint
  throw new CorruptFileError(
    `${file}: is not a file of weights; expected a folder, *.safetensors, *.safetensors.index.json or *.bin`,
  )
}

async function readSet(folder: string, set: ShardSet): Promise<Weights> {
  for (const name of set.files) await requireFile(join(folder, name))
  return { ...(await readShards(folder, set)), file: folder, notices: [] }
}

/** By the index; where that does not fit the files, by the one set of shards that is complete. */
async function readIndex(file: string, complete: readonly ShardSet[]): Promise<Weights> {
  await requireFile(file)
  try {
    return { ...(await readSafetensorsIndex(file)), file, notices: [] }
  } catch (error) {
    if (!(error instanceof CorruptFileError) || !error.message.startsWith(`${file}:`)) throw error
    if (complete.length !== 1) {
      error.message += await completionAdvice(dirname(file))
      throw error
    }
    const weights = await readSet(dirname(file), complete[0]!)
    const message = `ignored an index that does not fit the shards beside it: ${error.message}`
    return { ...weights, notices: [{ code: 'INDEX_IGNORED', message }] }
  }
}

/** Links to nowhere are what an interrupted download or a cleaned cache leaves. */
async function requireFile(file: string): Promise<void> {
  const target = await danglingLink(file)
  if (target === undefined) return
  throw new ModelNotFoundError(
    `${file}: is a link to ${target}, which is not there: the download is incomplete` +
      (await completionAdvice(dirname(file))),
  )
}

// Of a trainer, or of an adapter.
const NOT_WEIGHTS = /^(?:training_args|optimizer|scheduler|scaler|rng_state|trainer_state|adapter)/

function isPickleOfWeights(name: string): boolean {
  return /\.(?:bin|pt|pth)$/.test(name) && !NOT_WEIGHTS.test(name)
}

// An embedding or a head, in any family.
const OF_A_MODEL =
  /(?:^|\.)(?:embeddings?|embedding\.encoder|embed_tokens|wte|lm_head|head\.linear)\.weight$/

/** The one file that is a model, by what is in it where there are several. */
async function chooseModel(folder: string, names: readonly string[]): Promise<string | undefined> {
  if (names.length <= 1) return names[0]
  const models: string[] = []
  let problem: unknown
  for (const name of names) {
    try {
      const { tensors } = await readSafetensors(join(folder, name))
      if ([...tensors.keys()].some((tensor) => OF_A_MODEL.test(tensor))) models.push(name)
    } catch (error) {
      problem ??= error
    }
  }
  if (models.length === 0 && problem !== undefined) throw problem
  if (models.length <= 1) return models[0]
  throw new ModelNotFoundError(
    `${folder}: has several models, ${models.join(', ')}: give the path of one of them`,
  )
}

async function withoutAllShards(
  folder: string,
  sets: readonly ShardSet[],
  complete: readonly ShardSet[],
): Promise<Error> {
  if (complete.length > 1) {
    const first = complete.map(({ files }) => files[0]!)
    return new ModelNotFoundError(
      `${folder}: has several models, beginning with ${first.join(' and ')}: give the path of one of them`,
    )
  }
  const { files, missing, total } = sets[0]!
  return new CorruptFileError(
    `${folder}: has ${files.length} of ${total} shards such as ${files[0]}; missing: ` +
      missing.slice(0, 5).join(', ') +
      (missing.length > 5 ? ', ...' : '') +
      (await completionAdvice(folder)),
  )
}

async function withoutWeights(
  folder: string,
  names: readonly string[],
  candidates: readonly string[],
): Promise<Error> {
  const found = candidates.length > 0 ? candidates.join(', ') : 'no weights'
  const others = names.filter((name) => !candidates.includes(name)).sort()
  const has = others.length > 0 ? `; it has ${others.slice(0, 8).join(', ')}` : ''
  return new ModelNotFoundError(
    `${folder}: expected one of ${SINGLE}, ${INDEX}, ${PYTORCH} or a single *.safetensors ` +
      `but found ${found}${has}${await completionAdvice(folder)}`,
  )
}
