// Tokens that tokenizer_config.json adds to those of the tokenizer.json, as transformers does: fine-tunes often
// name the tokens of their template there only.

import { isObject } from './json-file.js'
import {
  boundaryTokens,
  declaredSpecialTokens,
  type IdOf,
  type TokenizerSettings,
} from './special-tokens.js'
import {
  type AddedToken,
  idsByContent,
  isTokenId,
  type TokenizerDefinition,
} from './tokenizer-file.js'

type Entry = Readonly<Record<string, unknown>> & AddedToken

/**
 * The definition with the tokens of `added_tokens_decoder` and the additional special tokens. Added tokens that
 * begin or end a text are special, whatever is said of them elsewhere. A token whose id another one has, or that nobody gives an id, is left
 * out.
 *
 * @example withConfiguredTokens(definition, settings).addedTokens // [{ id: 0, content: '<s>', special: true }]
 */
export function withConfiguredTokens(
  definition: TokenizerDefinition,
  settings: TokenizerSettings,
): TokenizerDefinition {
  const ids = idsByContent(definition)
  const contents = [...definition.contents]
  const added = new Map(
    (definition.json.added_tokens as Entry[]).map((token) => [token.content, token]),
  )
  const idOf: IdOf = (content) => ids.get(content)
  for (const token of configuredTokens(settings, idOf)) {
    const known = added.get(token.content)
    if (known) {
      // Whoever calls a token special is right: the other file is older than the fine-tune.
      added.set(token.content, { ...known, special: known.special === true || token.special })
      continue
    }
    const id = idOf(token.content) ?? token.id
    if (contents[id] !== undefined && contents[id] !== token.content) continue
    contents[id] = token.content
    added.set(token.content, { ...token, id })
  }
  for (const content of boundaryTokens(settings)) {
    const token = added.get(content)
    if (token) added.set(content, { ...token, special: true })
  }
  const addedTokens = [...added.values()].map(({ id, content, special }) => ({
    id,
    content,
    special: special === true,
  }))
  return {
    json: { ...definition.json, added_tokens: [...added.values()] },
    contents,
    addedTokens,
  }
}

/** What the settings say of tokens that have an id, there or in the tokenizer.json. */
function configuredTokens(settings: TokenizerSettings, idOf: IdOf): Entry[] {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false }
  const decoder = settings.config.values.added_tokens_decoder
  const tokens: Entry[] = []
  for (const [key, value] of Object.entries(isObject(decoder) ? decoder : {})) {
    const id = /^\d{1,9}$/.test(key) ? Number(key) : undefined
    const content = isObject(value) ? value.content : undefined
    if (!isTokenId(id) || typeof content !== 'string' || content === '') continue
    tokens.push({ ...plain, ...(value as object), id, content, special: isSpecial(value) })
  }
  for (const content of declaredSpecialTokens(settings)) {
    const id = idOf(content)
    if (id !== undefined) tokens.push({ ...plain, id, content, special: true })
  }
  return tokens
}

const isSpecial = (value: unknown): boolean => isObject(value) && value.special === true
