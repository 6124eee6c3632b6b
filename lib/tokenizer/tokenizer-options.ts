// Options of tokenizers: a row of a table each, from which the checks follow.

import type { OnNotice } from '../support/notices.js'
import type { OptionTable } from '../support/option-table.js'

/** Options of {@link Tokenizer.fromFile}. */
export interface TokenizerOptions {
  /** Called with what the caller should know though nothing failed. */
  onNotice?: OnNotice | undefined
}

export const TOKENIZER = {
  onNotice: { type: 'function', description: 'called with what the caller should know' },
} as const satisfies OptionTable<TokenizerOptions>

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /**
   * Add what the tokenizer's files ask for around a text, such as `<s>`: `add_bos_token` and
   * `add_eos_token` of tokenizer_config.json where it has them, else the post-processor of the
   * tokenizer.json. Defaults to `true`. GPT-NeoX-20B's and OLMo's tokenizers add nothing.
   */
  addSpecialTokens?: boolean | undefined
  /**
   * Whether a special token written out in the text, such as `<|endoftext|>`, becomes that token. `false`
   * is for text that others wrote: it is then encoded as any other text. Defaults to `true`.
   */
  parseSpecial?: boolean | undefined
}

export const ENCODE = {
  addSpecialTokens: {
    type: 'boolean',
    default: true,
    description: 'whether what the tokenizer puts around a text comes with it',
  },
  parseSpecial: {
    type: 'boolean',
    default: true,
    description: 'whether <|endoftext|> and the like in the text become tokens',
  },
} as const satisfies OptionTable<EncodeOptions>

/** Options of a {@link DetokenizerStream}. */
export interface DetokenizerOptions {
  /** Leave special tokens such as `<|endoftext|>` out of the text. Defaults to `true`. */
  skipSpecialTokens?: boolean
  /**
   * Keep the space that SentencePiece-style tokenizers put before a text's first word: for text that
   * continues other text. Defaults to `false`. Makes no difference to byte-level tokenizers.
   */
  keepLeadingSpace?: boolean
}

export const DETOKENIZER = {
  skipSpecialTokens: {
    type: 'boolean',
    default: true,
    description: 'leave special tokens out of the text',
  },
  keepLeadingSpace: {
    type: 'boolean',
    default: false,
    description: "keep the space before a text's first word",
  },
} as const satisfies OptionTable<DetokenizerOptions>
