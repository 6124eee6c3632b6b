// Reads tokenizer.json. It comes from the network and is trusted in nothing: every part used later is
// checked here.

import { CorruptFileError, TokenizerNotFoundError } from '../support/errors.js'
import { describe, isObject, readJsonObject } from './json-file.js'

/** Ids above this are refused: the largest published vocabularies have some 260 thousand tokens. */
const maximumTokenId = 2 ** 24

/** Models of @huggingface/tokenizers. Any other it would take for the one that it resembles most. */
const MODEL_TYPES: readonly unknown[] = ['BPE', 'Unigram', 'WordPiece']

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

function corrupt(file: string, part: string, expected: string, got: unknown): never {
  throw new CorruptFileError(`${file}: ${part} must be ${expected} but is ${describe(got)}`)
}

/** Whether a value can be the id of a token. */
export function isTokenId(id: unknown): id is number {
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= maximumTokenId
}

function checkId(file: string, part: string, id: unknown): number {
  if (!isTokenId(id)) {
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
  // Files older than version 0.10 of Hugging Face's tokenizers do not say.
  if (model.type !== undefined && !MODEL_TYPES.includes(model.type)) {
    corrupt(file, 'model.type', `one of ${MODEL_TYPES.join(', ')}`, model.type)
  }
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

/**
 * Token ids by content.
 *
 * @example idsByContent(definition).get('<|endoftext|>') // 0
 */
export function idsByContent({ contents, addedTokens }: TokenizerDefinition): Map<string, number> {
  const ids = new Map<string, number>()
  contents.forEach((content, id) => {
    if (content !== undefined) ids.set(content, id)
  })
  for (const { content, id } of addedTokens) ids.set(content, id)
  return ids
}
