// Which files of a repository a model needs here. Others, such as the same weights in another format, are not fetched.

import { CorruptFileError, ModelNotFoundError, TokenizerNotFoundError } from '../support/errors.js'
import { UnsupportedArchitectureError } from '../support/errors.js'
import { isShard, shardSets } from '../weights/shards.js'
import { INDEX_NAME, SHARDED_PICKLE, weightsAmong } from '../weights/weights-among.js'

const TOKENIZER = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json']
const TEMPLATES = ['chat_template.jinja', 'chat_template.json']
const CONFIGURATION = ['config.json', 'generation_config.json']
const OTHER_TEMPLATE = /^additional_chat_templates\/[^/]+\.jinja$/

const isSmall = (name: string) =>
  TOKENIZER.includes(name) || TEMPLATES.includes(name) || OTHER_TEMPLATE.test(name)

function shown(names: readonly string[]): string {
  const some = names.filter((name) => !name.startsWith('.')).slice(0, 8)
  return some.length === 0 ? 'nothing' : some.join(', ') + (names.length > 8 ? ', ...' : '')
}

/** The files of a tokenizer. `where` is what messages call the repository. */
export function tokenizerFiles(where: string, names: readonly string[]): string[] {
  if (names.includes('tokenizer.json')) return names.filter(isSmall)
  throw new TokenizerNotFoundError(
    `${where} has no tokenizer.json on the Hub; it has ${shown(names)}`,
  )
}

/** What of the weights to fetch, which only the index of shards may say. */
export interface WeightsWanted {
  /** A file that the caller asks for by its address. */
  readonly file?: string | undefined
  /** Fetches an index, and gives the shards that it names. */
  readonly shardsOf: (index: string) => Promise<readonly string[]>
}

/** The files of a model, the weights last. `where` is what messages call the repository. */
export async function modelFiles(
  where: string,
  names: readonly string[],
  wanted: WeightsWanted,
): Promise<string[]> {
  const small = names.filter((name) => CONFIGURATION.includes(name) || isSmall(name))
  const weights = await weightFiles(where, names, wanted)
  return [...new Set([...small, ...weights])]
}

async function weightFiles(
  where: string,
  all: readonly string[],
  { file, shardsOf }: WeightsWanted,
): Promise<readonly string[]> {
  // Those in folders are other models, or the same ones in other formats.
  const names = all.filter((name) => !name.includes('/') && !name.startsWith('.'))
  const lacking = (what: string) =>
    new ModelNotFoundError(`${where} has no ${what} on the Hub; it has ${shown(names)}`)
  if (file !== undefined && !names.includes(file)) throw lacking(file)
  if (file !== undefined && isShard(file)) {
    return shardSets(names).find(({ files }) => files.includes(file))?.files ?? [file]
  }
  if (file !== undefined && !INDEX_NAME.test(file)) return [file]
  const choice = weightsAmong(
    file === undefined ? names : names.filter((name) => isShard(name) || name === file),
  )
  switch (choice.kind) {
    case 'file':
      return [choice.file]
    case 'shards':
      return choice.set.files
    case 'several':
      return choice.files
    case 'sharded-pickle':
      throw new UnsupportedArchitectureError(`${where}: ${SHARDED_PICKLE}`)
    case 'none':
      throw lacking('weights in safetensors, and no pytorch_model.bin,')
  }
  const shards = await shardsOf(choice.file)
  const missing = shards.filter((shard) => !names.includes(shard))
  const set = choice.complete.length === 1 ? choice.complete[0] : undefined
  // As the reader of a folder has it: an index that does not fit is ignored where it can be.
  const isPart =
    set && shards.length < set.files.length && shards.every((shard) => set.files.includes(shard))
  if (set && (isPart || missing.length > 0)) return [choice.file, ...set.files]
  if (missing.length === 0) return [choice.file, ...shards]
  if (missing.length === shards.length && choice.others.length > 0) {
    return [choice.file, ...choice.others]
  }
  throw new CorruptFileError(
    `${where}: ${choice.file} names ${missing.slice(0, 3).join(', ')}, which the repository does not have`,
  )
}
