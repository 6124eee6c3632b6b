// The tokenizer of a checkpoint: the one asked for, the one beside the weights, or that of its authors.

import { dirname, join } from 'node:path'
import { resolveTokenizerPath } from '../hub/cache.js'
import { type Signal, throwIfAborted } from '../support/abort.js'
import { DownloadError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import { type EndOfText, endsOfText, readTokenizerSettings } from './special-tokens.js'
import { Tokenizer } from './tokenizer.js'
import { idsByContent, readTokenizerFile } from './tokenizer-file.js'
import { isError } from '../support/realms.js'

/** What {@link findTokenizer} found. */
export interface FoundTokenizer {
  readonly tokenizer: Tokenizer | undefined
  /** Why the one that is there cannot be used. */
  readonly problem: Error | undefined
  /** The tokens that end a text by its files, used or not; undefined where no tokenizer is at hand. */
  readonly endsOfText: readonly EndOfText[] | undefined
  /** Folder of the tokenizer.json that was found, used or not. */
  readonly tokenizerFolder: string | undefined
}

/** Where to look. */
export interface TokenizerPlaces {
  /** Folder of the checkpoint. */
  readonly folder: string
  /** The authors' tokenizer, for checkpoints that ship none. */
  readonly name: string | undefined
}

/**
 * Finds a checkpoint's tokenizer. The one asked for must be there and usable. One beside the weights or,
 * by the authors' name, in the cache is taken silently. A model whose own cannot be used still works on
 * token ids; a notice says why. `fetch` brings those that are not on this machine.
 *
 * @throws what `Tokenizer.fromFile` and `resolveTokenizerPath` throw, for one that was asked for.
 * @example const { tokenizer } = await findTokenizer({ folder, name: undefined }, {})
 */
export async function findTokenizer(
  { folder, name }: TokenizerPlaces,
  options: {
    tokenizer?: string | undefined
    cacheDir?: string | undefined
    onNotice?: OnNotice | undefined
    /** The tokenizer.json of a name. Defaults to that on this machine. */
    fetch?: (name: string) => Promise<string>
    /** Whether one of the authors' is fetched, too, and not only the one asked for. Defaults to false. */
    fetchesOfAuthors?: boolean
    signal?: Signal | undefined
  },
): Promise<FoundTokenizer> {
  const { cacheDir, onNotice } = options
  const local = (name: string) => resolveTokenizerPath(name, { cacheDir })
  const { fetch = local } = options
  if (options.tokenizer !== undefined) {
    const file = await fetch(options.tokenizer)
    return found(await Tokenizer.fromFile(file, { onNotice }), file)
  }
  for (const [place, find] of [
    [folder, local],
    [name, options.fetchesOfAuthors ? fetch : local],
  ] as const) {
    if (place === undefined) continue
    const file = await find(place).catch((error: unknown) => {
      throwIfAborted(options.signal)
      // What is not on this machine has no message here: who gives a text is told.
      if (error instanceof DownloadError) {
        const message = `the model works on token ids only, because its tokenizer is missing: ${error.message}`
        onNotice?.({ code: 'FILE_NOT_USED', message })
      }
    })
    if (file === undefined) continue
    try {
      return found(await Tokenizer.fromFile(file, { onNotice }), file)
    } catch (error) {
      const problem = isError(error) ? error : new Error(String(error))
      onNotice?.({
        code: 'FILE_NOT_USED',
        message: `the model works on token ids only, because its tokenizer cannot be used: ${problem.message}`,
      })
      const endsOfText = await endsOfUnusable(file)
      return { tokenizer: undefined, problem, endsOfText, tokenizerFolder: dirname(file) }
    }
  }
  // Some checkpoints ship only the settings of a tokenizer, beside a file in another format.
  const ends = await endsOfUnusable(join(folder, 'tokenizer.json'))
  const tokenizerFolder = undefined
  return { tokenizer: undefined, problem: undefined, endsOfText: ends, tokenizerFolder }
}

function found(tokenizer: Tokenizer, file: string): FoundTokenizer {
  const { endsOfText } = tokenizer
  return { tokenizer, problem: undefined, endsOfText, tokenizerFolder: dirname(file) }
}

/** What still can be told of a tokenizer that cannot be used; undefined for nothing. */
async function endsOfUnusable(file: string): Promise<EndOfText[] | undefined> {
  const settings = await readTokenizerSettings(dirname(file)).catch(() => undefined)
  const definition = await readTokenizerFile(file).catch(() => undefined)
  const ids = definition && idsByContent(definition)
  const special = new Set(
    definition?.addedTokens.flatMap((token) => (token.special ? token.id : [])),
  )
  const none = { file, values: {} }
  const ends = endsOfText(
    settings ?? { config: none, specialTokensMap: none },
    (content) => ids?.get(content),
    (id) => special.has(id),
  )
  return ends.length > 0 || definition ? ends : undefined
}
