// Reads tokenizer.json and tokenizer_config.json. Both come from the network and are trusted in
// nothing: sizes are bounded and every part used later is checked here.

import { open, stat } from 'node:fs/promises'
import { CorruptFileError, TokenizerNotFoundError } from '../errors.js'
import { messageOf } from '../realms.js'

/** The largest tokenizer file read, in bytes. The largest published ones are about 35 MB. */
const maximumFileBytes = 256 * 1024 * 1024
/** Ids above this are refused: the largest published vocabularies have some 260 thousand tokens. */
const maximumTokenId = 2 ** 24

/** An entry of `added_tokens`. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

/** A tokenizer.json that passed the checks. */
export interface TokenizerDefinition {
  /** The parsed file, with the optional parts filled in. */
  readonly json: Readonly<Record<string, unknown>>
  /** Token contents by id, added tokens included; holes are ids without a token. */
  readonly contents: readonly (string | undefined)[]
  readonly addedTokens: readonly AddedToken[]
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object') return 'an object'
  const shown = JSON.stringify(value) ?? typeof value
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown
}

function corrupt(file: string, part: string, expected: string, got: unknown): never {
  throw new CorruptFileError(`${file}: ${part} must be ${expected} but is ${describe(got)}`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/**
 * Reads a JSON object from `file`; `undefined` if there is no such file.
 *
 * @throws CorruptFileError if it is not a file, too large, or not a JSON object.
 * @example const config = await readJsonObject('tokenizer_config.json')
 */
export async function readJsonObject(file: string): Promise<Record<string, unknown> | undefined> {
  let size: number
  try {
    const status = await stat(file)
    // Checked before it is opened, for opening a pipe would wait for a writer.
    if (!status.isFile()) {
      throw new CorruptFileError(
        `${file}: must be a file but is ${status.isDirectory() ? 'a folder' : 'a device or pipe'}`,
      )
    }
    size = status.size
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  if (size > maximumFileBytes) {
    throw new CorruptFileError(`${file}: must be at most ${maximumFileBytes} bytes but has ${size}`)
  }
  const handle = await open(file, 'r')
  let text: string
  try {
    text = await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    const reason = messageOf(error)
    throw new CorruptFileError(`${file}: must be JSON but is not: ${reason}`, { cause: error })
  }
  if (!isObject(json)) corrupt(file, 'the file', 'a JSON object', json)
  return json
}

function checkId(file: string, part: string, id: unknown): number {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > maximumTokenId) {
    corrupt(file, part, `an integer from 0 to ${maximumTokenId}`, id)
  }
  return id
}

function readVocabulary(file: string, model: Record<string, unknown>): (string | undefined)[] {
  const contents: (string | undefined)[] = []
  const vocab = model.vocab
  if (Array.isArray(vocab)) {
    // Unigram: a list of [content, score].
    for (const [id, entry] of vocab.entries()) {
      const content: unknown = Array.isArray(entry) ? entry[0] : undefined
      if (typeof content !== 'string') {
        corrupt(file, `model.vocab[${id}]`, 'a pair of token and score', entry)
      }
      contents.push(content)
    }
    return contents
  }
  if (!isObject(vocab)) corrupt(file, 'model.vocab', 'an object of token ids by token', vocab)
  for (const [content, value] of Object.entries(vocab)) {
    const id = checkId(file, `model.vocab[${JSON.stringify(content)}]`, value)
    if (contents[id] !== undefined) {
      throw new CorruptFileError(
        `${file}: model.vocab must give each id once but gives ${id} to ` +
          `${JSON.stringify(contents[id])} and ${JSON.stringify(content)}`,
      )
    }
    contents[id] = content
  }
  return contents
}

function checkMerges(file: string, model: Record<string, unknown>): void {
  const merges = model.merges
  if (!Array.isArray(merges)) corrupt(file, 'model.merges', 'a list', merges)
  for (const [index, merge] of merges.entries()) {
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    const isPair =
      Array.isArray(parts) && parts.length === 2 && parts.every((part) => typeof part === 'string')
    if (!isPair) corrupt(file, `model.merges[${index}]`, 'a pair of tokens', merge)
  }
}

function readAddedTokens(file: string, value: unknown): AddedToken[] {
  if (!Array.isArray(value)) corrupt(file, 'added_tokens', 'a list', value)
  return value.map((entry: unknown, index) => {
    const part = `added_tokens[${index}]`
    if (!isObject(entry)) corrupt(file, part, 'an object', entry)
    const content = entry.content
    if (typeof content !== 'string' || content === '') {
      corrupt(file, `${part}.content`, 'a non-empty string', content)
    }
    return {
      id: checkId(file, `${part}.id`, entry.id),
      content,
      special: entry.special === true,
    }
  })
}

/**
 * Reads and checks a tokenizer.json.
 *
 * @throws TokenizerNotFoundError if there is no such file.
 * @throws CorruptFileError if it is not a tokenizer.json; the message says which part is wrong.
 * @example const { contents } = await readTokenizerFile('models/rene/tokenizer.json')
 */
export async function readTokenizerFile(file: string): Promise<TokenizerDefinition> {
  const json = await readJsonObject(file)
  if (json === undefined) {
    throw new TokenizerNotFoundError(
      `${file}: no such file. Rene uses the tokenizer of allenai/OLMo-1B-hf, ` +
        'state-spaces/mamba2-* that of EleutherAI/gpt-neox-20b: name it with --tokenizer, ' +
        'or the option `tokenizer`.',
    )
  }
  const model = json.model
  if (!isObject(model)) corrupt(file, 'model', 'an object', model)
  const contents = readVocabulary(file, model)
  if (model.type === 'BPE') checkMerges(file, model)
  const addedTokens = readAddedTokens(file, json.added_tokens ?? [])
  for (const { id, content } of addedTokens) contents[id] = content
  if (contents.length === 0) corrupt(file, 'model.vocab', 'non-empty', model.vocab)
  return {
    json: {
      ...json,
      added_tokens: json.added_tokens ?? [],
      normalizer: json.normalizer ?? null,
      pre_tokenizer: json.pre_tokenizer ?? null,
      post_processor: json.post_processor ?? null,
      decoder: json.decoder ?? null,
    },
    contents,
    addedTokens,
  }
}
