// The weights of a folder as it was published, downloaded, copied or renamed.

import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import {
  CorruptFileError,
  ModelNotFoundError,
  UnsupportedArchitectureError,
} from '../support/errors.js'
import { completionAdvice, danglingLink } from '../hub/snapshots.js'
import type { Notice } from '../support/notices.js'
import type { CheckpointFile } from './checkpoint.js'
import { readPytorchCheckpoint } from './pytorch.js'
import { readSafetensors } from './safetensors.js'
import {
  isShard,
  readSafetensorsIndex,
  readShards,
  type ShardSet,
  shardSets,
  shardsNamedIn,
} from './shards.js'
import {
  INDEX,
  INDEX_NAME,
  leftovers,
  PYTORCH,
  SHARDED_PICKLE,
  SINGLE,
  weightsAmong,
} from './weights-among.js'

export interface Weights extends CheckpointFile {
  /** What messages about tensors name: the file, the index of its shards, or their folder. */
  file: string
  notices: Notice[]
}

/** What a folder has, but for hidden files, such as the ._model.safetensors that macOS leaves on other systems' disks. */
async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => !name.startsWith('.'))
}

/** Reads where the tensors of a folder lie. */
export async function readWeightsOf(folder: string): Promise<Weights> {
  const names = await namesIn(folder)
  const choice = weightsAmong(names)
  switch (choice.kind) {
    case 'file':
      return readFile(join(folder, choice.file))
    case 'index':
      return readIndex(join(folder, choice.file), choice.complete, choice.others)
    case 'shards':
      return readSet(folder, choice.set)
    case 'sharded-pickle':
      throw new UnsupportedArchitectureError(`${folder}: ${SHARDED_PICKLE}`)
    case 'several': {
      const other = await chooseModel(folder, choice.files)
      if (other !== undefined) return readFile(join(folder, other))
    }
  }
  const { sets, complete, candidates } = leftovers(names)
  if (sets.length > 0) throw await withoutAllShards(folder, sets, complete)
  throw await withoutWeights(folder, names, candidates)
}

/** Reads where the tensors of one file lie, or of all shards where it is the index or one of them. */
export async function readWeightsFile(file: string): Promise<Weights> {
  const name = basename(file)
  const folder = dirname(file)
  if (name.endsWith('.index.json') || INDEX_NAME.test(name)) {
    const sets = shardSets(await namesIn(folder))
    return readIndex(
      file,
      sets.filter(({ missing }) => missing.length === 0),
      [],
    )
  }
  if (!isShard(name)) return readFile(file)
  const set = shardSets(await namesIn(folder)).find(({ files }) => files.includes(name))
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

/**
 * By the index; where that does not fit the files, or names some shards of a complete set only, by the one
 * set of shards that is complete, or by the one other file that is a model.
 */
async function readIndex(
  file: string,
  complete: readonly ShardSet[],
  others: readonly string[],
): Promise<Weights> {
  await requireFile(file)
  const folder = dirname(file)
  const set = complete.length === 1 ? complete[0] : undefined
  const ignored = (weights: Weights, reason: string): Weights => {
    const message = `ignored an index that does not fit the files beside it: ${reason}`
    return { ...weights, notices: [{ code: 'INDEX_IGNORED', message }] }
  }
  try {
    const weights = await readSafetensorsIndex(file)
    const named = new Set([...weights.tensors.values()].map((tensor) => basename(tensor.file)))
    const isPart =
      set && named.size < set.files.length && [...named].every((name) => set.files.includes(name))
    if (!isPart) return { ...weights, file, notices: [] }
    return ignored(
      await readSet(folder, set),
      `${file}: names ${named.size} of the ${set.files.length} shards`,
    )
  } catch (error) {
    if (!(error instanceof CorruptFileError) || !error.message.startsWith(`${file}:`)) throw error
    if (set) return ignored(await readSet(folder, set), error.message)
    const other = await modelBeside(file, others)
    if (other !== undefined) {
      return ignored(await readFile(join(folder, other)), error.message)
    }
    error.message += await completionAdvice(folder)
    throw error
  }
}

/** The model beside an index none of whose shards are there. */
async function modelBeside(index: string, others: readonly string[]): Promise<string | undefined> {
  const named = await shardsNamedIn(index).catch(() => undefined)
  const names = await namesIn(dirname(index))
  if (!named || named.some((name) => names.includes(name))) return undefined
  const { models } = await modelsAmong(dirname(index), others)
  return models.length === 1 ? models[0] : undefined
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

// An embedding or a head, in any family.
const OF_A_MODEL =
  /(?:^|\.)(?:embeddings?|embedding\.encoder|embed_tokens|wte|lm_head|head\.linear)\.weight$/

/** The one file that is a model, by what is in it where there are several. */
async function chooseModel(folder: string, names: readonly string[]): Promise<string | undefined> {
  if (names.length <= 1) return names[0]
  const { models, problem } = await modelsAmong(folder, names)
  if (models.length === 0 && problem !== undefined) throw problem
  if (models.length <= 1) return models[0]
  throw new ModelNotFoundError(
    `${folder}: has several models, ${models.join(', ')}: give the path of one of them`,
  )
}

/** Those files that are models, by what is in them; what kept from reading the first that cannot be read. */
async function modelsAmong(
  folder: string,
  names: readonly string[],
): Promise<{ models: string[]; problem: unknown }> {
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
  return { models, problem }
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
