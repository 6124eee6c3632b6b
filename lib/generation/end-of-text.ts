// The tokens that end a model's text: all that its files name.

import { basename } from 'node:path'
import type { GenerationConfig } from './generation-config.js'
import type { EndOfText } from '../tokenizer/special-tokens.js'
import type { Checkpoint } from '../models/checkpoint.js'

/** A token that ends a model's text. */
export interface EndOfTextToken {
  readonly id: number
  /** What says so: names of files, or `the format`. */
  readonly sources: readonly string[]
}

/**
 * The tokens that end the text of a checkpoint: the union of what its configuration,
 * generation_config.json and its tokenizer's files say. The id built into a format counts only when no
 * tokenizer is at hand.
 *
 * @param ofTokenizer What the tokenizer's files say; undefined where no tokenizer is at hand.
 * @example endOfText(checkpoint, generationConfig, tokenizer.endsOfText) // [{ id: 2, sources: ['config.json', ...] }]
 */
export function endOfText(
  { config, configFile, usualEndOfText }: Checkpoint,
  generationConfig: Pick<GenerationConfig, 'name' | 'eosTokenIds'>,
  ofTokenizer: readonly EndOfText[] | undefined,
): readonly EndOfTextToken[] {
  const sources = new Map<number, string[]>()
  const add = (id: number, source: string) => {
    const known = sources.get(id)
    if (!known) sources.set(id, [source])
    else if (!known.includes(source)) known.push(source)
  }
  for (const id of config.eosTokenIds) add(id, basename(configFile))
  for (const id of generationConfig.eosTokenIds) add(id, generationConfig.name)
  if (ofTokenizer !== undefined) for (const { id, source } of ofTokenizer) add(id, source)
  else if (usualEndOfText !== undefined && sources.size === 0) add(usualEndOfText, 'the format')
  return Object.freeze([...sources].map(([id, names]) => Object.freeze({ id, sources: names })))
}
