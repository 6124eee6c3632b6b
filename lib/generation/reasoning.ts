// Models that think before they answer write their thoughts between two tags.

import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** What stands around the thoughts of a model. */
export interface ReasoningTags {
  readonly open: string
  readonly close: string
  /** Their ids where they are special tokens, which a detokenizer leaves out of the text. */
  readonly openId?: number | undefined
  readonly closeId?: number | undefined
}

// The tags of published models. Where one's template mentions the closing tag, the model thinks.
const KNOWN_TAGS: readonly { open: string; close: string }[] = [
  { open: '<think>', close: '</think>' }, // DeepSeek, Qwen, Nemotron, Granite, LFM2, Falcon-H1R
  { open: '<seed:think>', close: '</seed:think>' },
  { open: '<|inner_prefix|>', close: '<|inner_suffix|>' }, // Apertus
  { open: '[THINK]', close: '[/THINK]' }, // Magistral
]

/**
 * The tags of a model that thinks; undefined for others. A template that mentions a closing tag is one's: it
 * drops earlier thoughts, or puts an empty block where none are wanted.
 *
 * @example reasoningTags(template.text, model.tokenizer) // { open: '<think>', close: '</think>' }
 */
export function reasoningTags(
  template: string,
  tokenizer: Tokenizer | undefined,
): ReasoningTags | undefined {
  const tags = KNOWN_TAGS.find(({ close }) => template.includes(close))
  if (!tags) return undefined
  const { open, close } = tags
  const [openId, closeId] = [tokenizer?.specialTokenId(open), tokenizer?.specialTokenId(close)]
  return { open, close, openId, closeId }
}

/** The text of a tag that is a special token, which a detokenizer leaves out; empty for other tokens. */
export function tagOf(token: number, tags: ReasoningTags | undefined): string {
  if (token === tags?.openId) return tags.open
  return token === tags?.closeId ? tags.close : ''
}

/** What a piece of text adds to the two. */
export interface SplitText {
  reasoning: string
  text: string
}

/** Whether a prompt ends inside of a block of thoughts that it opened: the answer then begins with thoughts. */
export function opensReasoning(prompt: string, { open }: ReasoningTags): boolean {
  return prompt.trimEnd().endsWith(open)
}

type Place = 'before' | 'reasoning' | 'text'

/**
 * Splits text that arrives in pieces into thoughts and answer. White space beside the tags belongs to
 * neither. A block that is never closed is thoughts to its end; a tag in the answer is text.
 *
 * @example
 * const splitter = new ReasoningSplitter({ open: '<think>', close: '</think>' })
 * splitter.push('<think>Hm.</thi') // { reasoning: 'Hm.', text: '' }
 * splitter.push('nk>\n\nYes') // { reasoning: '', text: 'Yes' }
 * splitter.flush() // { reasoning: '', text: '' }
 */
export class ReasoningSplitter {
  readonly #tags: ReasoningTags
  #place: Place
  /** What may yet turn out to be white space at an edge, or the beginning of a tag. */
  #held = ''
  /** Nothing but white space has come since the last tag. */
  #isAtEdge = true

  /** @param isOpened Whether the prompt opened the block (`opensReasoning`). */
  constructor(tags: ReasoningTags, { isOpened = false }: { isOpened?: boolean } = {}) {
    this.#tags = tags
    this.#place = isOpened ? 'reasoning' : 'before'
  }

  /** Whether what comes next is a thought. */
  get isReasoning(): boolean {
    return this.#place === 'reasoning'
  }

  /** What a piece adds. Part of it may be held back until the next one. */
  push(piece: string): SplitText {
    this.#held += piece
    const result = { reasoning: '', text: '' }
    while (this.#step(result));
    return result
  }

  /** As `push`, for a tag that came as a special token and has no text. */
  pushTag(tag: 'open' | 'close'): SplitText {
    return this.push(this.#tags[tag])
  }

  /** What is still held back, at the end. */
  flush(): SplitText {
    const held = this.#held
    this.#held = ''
    if (this.#place !== 'reasoning') return { reasoning: '', text: held }
    // An unfinished tag is a thought; white space at the end is none.
    return { reasoning: this.#isAtEdge ? held.trim() : held.trimEnd(), text: '' }
  }

  /** Handles what is held; true when a tag was passed, behind which there may be more. */
  #step(result: SplitText): boolean {
    const { open, close } = this.#tags
    if (this.#place === 'before') {
      const text = this.#held.trimStart()
      if (text.startsWith(open)) return this.#enter('reasoning', text.slice(open.length))
      if (open.startsWith(text)) return false
      // There is no block, and white space before the answer is the answer's.
      this.#place = 'text'
      this.#isAtEdge = false
    }
    if (this.#place === 'text') {
      const text = this.#isAtEdge ? this.#held.trimStart() : this.#held
      if (text !== '') this.#isAtEdge = false
      result.text += text
      this.#held = ''
      return false
    }
    if (this.#isAtEdge) {
      this.#held = this.#held.trimStart()
      // Some models open the block that the prompt has opened again.
      if (this.#held.startsWith(open))
        return this.#enter('reasoning', this.#held.slice(open.length))
      if (open.startsWith(this.#held)) return false
    }
    const end = this.#held.indexOf(close)
    if (end >= 0) {
      result.reasoning += this.#held.slice(0, end).trimEnd()
      return this.#enter('text', this.#held.slice(end + close.length))
    }
    const kept = heldBack(this.#held, close)
    if (kept < this.#held.length) this.#isAtEdge = false
    result.reasoning += this.#held.slice(0, this.#held.length - kept)
    this.#held = this.#held.slice(this.#held.length - kept)
    return false
  }

  #enter(place: Place, rest: string): true {
    this.#place = place
    this.#held = rest
    this.#isAtEdge = true
    return true
  }
}

/** How much of a text's end may be white space before a tag, or a tag's beginning. */
function heldBack(text: string, tag: string): number {
  let begun = Math.min(tag.length - 1, text.length)
  while (begun > 0 && !text.endsWith(tag.slice(0, begun))) begun -= 1
  return text.length - text.slice(0, text.length - begun).trimEnd().length
}
