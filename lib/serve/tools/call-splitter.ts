// Parts the calls of a model from its text, as both arrive.

import type { CallFormat, OfferedTool, WrittenCall } from './calls.js'

export interface SplitCalls {
  text: string
  calls: WrittenCall[]
}

/**
 * Text up to a tag is handed on, but for white space and what may be the tag's beginning; a block is held until it is
 * whole. What turns out to be no call is text.
 *
 * @example
 * const splitter = new CallSplitter(format, tools)
 * splitter.push('Let me see.\n<tool_call>{"name": "clock", "argu') // { text: 'Let me see.', calls: [] }
 * splitter.push('ments": {}}</tool_call>') // { text: '', calls: [{ name: 'clock', arguments: {} }] }
 * splitter.flush() // { text: '', calls: [] }
 */
export class CallSplitter {
  readonly #format: CallFormat
  readonly #tools: readonly OfferedTool[]
  #held = ''
  #isOpen: boolean

  /** @param isOpen Whether the prompt ends with the tag that begins a call. */
  constructor(
    format: CallFormat,
    tools: readonly OfferedTool[],
    { isOpen = false }: { isOpen?: boolean } = {},
  ) {
    this.#format = format
    this.#tools = tools
    this.#isOpen = isOpen
  }

  push(piece: string): SplitCalls {
    this.#held += piece
    const result: SplitCalls = { text: '', calls: [] }
    while (this.#step(result));
    return result
  }

  /** What is still held, at the end: a block that a stop token has ended counts. */
  flush(): SplitCalls {
    const held = this.#held
    this.#held = ''
    if (!this.#isOpen) return { text: held.trim() === '' ? '' : held, calls: [] }
    this.#isOpen = false
    return this.#block(held, '')
  }

  #step(result: SplitCalls): boolean {
    const { open, close } = this.#format
    if (this.#isOpen) {
      const end = this.#held.indexOf(close)
      if (end < 0) return false
      const { text, calls } = this.#block(this.#held.slice(0, end), close)
      result.text += text
      result.calls.push(...calls)
      this.#isOpen = false
      this.#held = this.#held.slice(end + close.length)
      return true
    }
    const begin = this.#held.indexOf(open)
    if (begin >= 0) {
      result.text += this.#held.slice(0, begin).trimEnd()
      this.#isOpen = true
      this.#held = this.#held.slice(begin + open.length)
      return true
    }
    const kept = heldBack(this.#held, open)
    result.text += this.#held.slice(0, this.#held.length - kept)
    this.#held = this.#held.slice(this.#held.length - kept)
    return false
  }

  #block(block: string, close: string): SplitCalls {
    const calls = this.#format.parse(block.trim(), this.#tools)
    return calls ? { text: '', calls } : { text: this.#format.open + block + close, calls: [] }
  }
}

/** How much of a text's end may be white space before a tag, or its beginning. */
function heldBack(text: string, tag: string): number {
  let begun = Math.min(tag.length - 1, text.length)
  while (begun > 0 && !text.endsWith(tag.slice(0, begun))) begun -= 1
  return text.length - text.slice(0, text.length - begun).trimEnd().length
}
