// What the files beside a tokenizer.json say about its tokens: which one ends a text, and which ones are
// put around a text before a model sees it.

import { basename, join } from 'node:path'
import { CorruptFileError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import { describe, isObject, type JsonFile, readJsonObject } from './json-file.js'

/** What tokenizer_config.json and special_tokens_map.json say; empty objects where they are missing. */
export interface TokenizerSettings {
  readonly config: JsonFile
  readonly specialTokensMap: JsonFile
}

/** Looks a token up by its content. */
export type IdOf = (content: string) => number | undefined

/** A token that ends a text. */
export interface EndOfText {
  readonly id: number
  /** As it is written in the vocabulary. */
  readonly content: string
  /** Name of the file that says so. */
  readonly source: string
}

/** Token ids that are put before and after a text. */
export interface TokensAround {
  readonly before: readonly number[]
  readonly after: readonly number[]
}

type NamedToken = 'bos_token' | 'eos_token'

// The names that end-of-text tokens go by, for folders whose files name none.
const USUAL_ENDS = ['<|endoftext|>', '</s>', '<|end_of_text|>']

/** No tokens around a text. */
export const NOTHING_AROUND: TokensAround = { before: [], after: [] }

/**
 * Reads both files of `folder`. A special_tokens_map.json that cannot be used is left out with a notice:
 * it is the older of the two, and most tokenizers have none.
 *
 * @throws CorruptFileError for a tokenizer_config.json that cannot be used: a text might be encoded wrongly
 *   without it.
 * @example const settings = await readTokenizerSettings('models/mamba2-130m')
 */
export async function readTokenizerSettings(
  folder: string,
  onNotice?: OnNotice,
): Promise<TokenizerSettings> {
  const configFile = join(folder, 'tokenizer_config.json')
  const mapFile = join(folder, 'special_tokens_map.json')
  const config = (await readJsonObject(configFile)) ?? {}
  const map = await readJsonObject(mapFile).catch((error: Error) => {
    onNotice?.({ code: 'FILE_NOT_USED', message: `not used: ${error.message}` })
    return undefined
  })
  return {
    config: { file: configFile, values: config },
    specialTokensMap: { file: mapFile, values: map ?? {} },
  }
}

// A token is named by its content or by an object that has it.
function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = isObject(value) ? value.content : undefined
  return typeof content === 'string' ? content : undefined
}

/**
 * The tokens that end a text: all that the two files name, or else one of a usual name in the
 * tokenizer.json. Names that are no token are left out.
 *
 * @param idOf Looks up a token of the tokenizer.json; where that cannot be read, always undefined.
 * @param isSpecial Whether a token of the tokenizer.json is special.
 */
export function endsOfText(
  settings: TokenizerSettings,
  idOf: IdOf,
  isSpecial: (id: number) => boolean,
): EndOfText[] {
  const named = [settings.config, settings.specialTokensMap].flatMap(({ file, values }) => {
    const content = contentOf(values.eos_token)
    if (content === undefined) return []
    const id = idOf(content) ?? configuredId(settings, content)
    return id === undefined ? [] : [{ id, content, source: basename(file) }]
  })
  if (named.length > 0) return named
  for (const content of USUAL_ENDS) {
    const id = idOf(content)
    if (id !== undefined && isSpecial(id)) return [{ id, content, source: 'tokenizer.json' }]
  }
  return []
}

/** The id that `added_tokens_decoder` of tokenizer_config.json gives to a token. */
function configuredId({ config }: TokenizerSettings, content: string): number | undefined {
  const decoder = config.values.added_tokens_decoder
  if (!isObject(decoder)) return undefined
  const found = Object.entries(decoder).find(([, value]) => contentOf(value) === content)
  return found !== undefined && /^\d{1,9}$/.test(found[0]) ? Number(found[0]) : undefined
}

/** Contents of tokens that tokenizer_config.json declares special besides those of the tokenizer.json. */
export function declaredSpecialTokens({ config }: TokenizerSettings): string[] {
  return contentsOf([config.values.additional_special_tokens, config.values.extra_special_tokens])
}

/**
 * Contents of the tokens that begin and end a text. Some files name an ordinary token of the vocabulary here, which
 * stays text.
 */
export function boundaryTokens({ config }: TokenizerSettings): string[] {
  return contentsOf([config.values.bos_token, config.values.eos_token])
}

function contentsOf(values: unknown[]): string[] {
  return values
    .flatMap((tokens) => (isNamed(tokens) ? Object.values(tokens) : tokens))
    .map(contentOf)
    .filter((content): content is string => content !== undefined && content !== '')
}

// Tokens by name, not one token.
const isNamed = (value: unknown): value is object => isObject(value) && !('content' in value)

/**
 * The tokens that stand around a text. As soon as tokenizer_config.json has `add_bos_token` or
 * `add_eos_token`, the two alone decide, as in update_post_processor of transformers 5; without them the
 * `post_processor` of the tokenizer.json does.
 *
 * @throws CorruptFileError for what neither can mean.
 * @example tokensAround(null, 'tokenizer.json', settings, (content) => ids.get(content)) // { before: [], after: [] }
 */
export function tokensAround(
  postProcessor: unknown,
  file: string,
  settings: TokenizerSettings,
  idOf: IdOf,
): TokensAround {
  const template = templateTokens(postProcessor, file, idOf)
  const { values } = settings.config
  if (!['add_bos_token', 'add_eos_token'].some((flag) => Object.hasOwn(values, flag))) {
    return template
  }
  return {
    before: flaggedToken('bos_token', settings, template.before, idOf),
    after: flaggedToken('eos_token', settings, template.after, idOf),
  }
}

function flaggedToken(
  name: NamedToken,
  settings: TokenizerSettings,
  template: readonly number[],
  idOf: IdOf,
): readonly number[] {
  const { file, values } = settings.config
  const flag = values[`add_${name}`] ?? false
  if (typeof flag !== 'boolean') {
    throw new CorruptFileError(
      `${file}: add_${name} must be true or false but is ${describe(flag)}`,
    )
  }
  if (!flag) return []
  const named = namedToken(name, settings)
  // Where no file names the token, its class in transformers would: the one of the template.
  if (named === undefined) return template
  const content = contentOf(named)
  if (content === undefined) return []
  const id = idOf(content)
  if (id === undefined) {
    throw new CorruptFileError(
      `${file}: add_${name} is true but ${name} ${JSON.stringify(content)} is not in the vocabulary`,
    )
  }
  return [id]
}

// The special tokens that chat templates know by name.
const TEMPLATE_TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map(
  (name) => `${name}_token`,
)

/**
 * Texts of the special tokens that the two files name: `{ eos_token: '</s>' }`.
 *
 * @example specialTokenTexts(await readTokenizerSettings('models/granite'))
 */
export function specialTokenTexts(settings: TokenizerSettings): Record<string, string> {
  return Object.fromEntries(
    TEMPLATE_TOKENS.flatMap((name) => {
      const content = contentOf(namedToken(name, settings))
      return content === undefined ? [] : [[name, content]]
    }),
  )
}

/** As transformers: special_tokens_map.json counts only beside a config without added_tokens_decoder. */
function namedToken(name: string, { config, specialTokensMap }: TokenizerSettings): unknown {
  const own = config.values[name]
  return Object.hasOwn(config.values, 'added_tokens_decoder')
    ? own
    : (specialTokensMap.values[name] ?? own)
}

function templateTokens(processor: unknown, file: string, idOf: IdOf): TokensAround {
  const wrong = (part: string, expected: string, value: unknown): never => {
    throw new CorruptFileError(`${file}: ${part} must be ${expected} but is ${describe(value)}`)
  }
  if (processor === null || processor === undefined) return NOTHING_AROUND
  if (!isObject(processor)) return wrong('post_processor', 'an object', processor)
  switch (processor.type) {
    case 'ByteLevel':
      return NOTHING_AROUND
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const idOfPair = (name: 'cls' | 'sep'): number => {
        const pair = processor[name]
        const id: unknown = Array.isArray(pair) ? pair[1] : undefined
        return isId(id) ? id : wrong(`post_processor.${name}`, 'a token and its id', pair)
      }
      return { before: [idOfPair('cls')], after: [idOfPair('sep')] }
    }
    case 'TemplateProcessing':
      return piecesAround(processor, file, idOf)
    case 'Sequence': {
      const { processors } = processor
      if (!Array.isArray(processors)) {
        return wrong('post_processor.processors', 'a list', processors)
      }
      // Each works on what those before it gave.
      return processors.reduce<TokensAround>((inner, value: unknown) => {
        if (isObject(value) && value.type === 'Sequence') {
          return wrong('a processor of a sequence', 'one that is not a sequence', value)
        }
        const { before, after } = templateTokens(value, file, idOf)
        return { before: [...before, ...inner.before], after: [...inner.after, ...after] }
      }, NOTHING_AROUND)
    }
    default:
      return wrong(
        'post_processor.type',
        'one of ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence',
        processor.type,
      )
  }
}

/** What `single` of a TemplateProcessing has on either side of the text. */
function piecesAround(template: JsonFile['values'], file: string, idOf: IdOf): TokensAround {
  const { single, special_tokens: specials } = template
  const unusable = (value: unknown): never => {
    throw new CorruptFileError(
      `${file}: post_processor.single must be a list of special tokens around one sequence A but is ` +
        describe(value),
    )
  }
  if (!Array.isArray(single)) return unusable(single)
  const sides: number[][] = [[]]
  for (const piece of single as unknown[]) {
    if (!isObject(piece)) return unusable(piece)
    if (isObject(piece.Sequence)) {
      if (piece.Sequence.id !== 'A') return unusable(piece.Sequence.id)
      sides.push([])
      continue
    }
    const name = isObject(piece.SpecialToken) ? piece.SpecialToken.id : undefined
    if (typeof name !== 'string') return unusable(piece)
    const special = isObject(specials) ? specials[name] : undefined
    const ids = isObject(special) ? special.ids : [idOf(name)]
    if (!Array.isArray(ids) || !ids.every(isId)) {
      throw new CorruptFileError(
        `${file}: post_processor: the special token ${JSON.stringify(name)} must have token ids`,
      )
    }
    sides.at(-1)!.push(...ids)
  }
  const [before, after] = sides
  if (sides.length !== 2) return unusable(single)
  return { before: before!, after: after! }
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31
}
