// Parts the calls of a model from its text, as both arrive.

import type { BlockEnd } from './block-end.js'
import type { OfferedTool, WrittenCall } from './call.js'
import type { CallFormat } from './calls.js'

/** Tags at which a block may end that has no end by its quotes. */
const MOST_TRIES = 8

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
  /** White space before the tag of an open block. */
  #space = ''
  /** Of an open block. */
  #end: BlockEnd | undefined
  #hasCalls = false

  constructor(format: CallFormat, tools: readonly OfferedTool[]) {
    this.#format = format
    this.#tools = tools
  }

  push(piece: string): SplitCalls {
    this.#held += piece
    const result: SplitCalls = { text: '', calls: [] }
    while (this.#step(result));
    return result
  }

  /** What is still held, at the end: a block that a stop token has ended counts. */
  flush(): SplitCalls {
    const result: SplitCalls = { text: '', calls: [] }
    if (this.#end) this.#calls(this.#held.length, this.#held.length, result)
    while (this.#end || this.#open(result)) {
      if (!this.#endAnywhere(result)) this.#noCall(result)
    }
    const isSpace = this.#held.trim() === ''
    if (!(isSpace && this.#hasCalls)) result.text += this.#held
    this.#held = ''
    return result
  }

  #step(result: SplitCalls): boolean {
    if (!this.#end) return this.#open(result)
    const end = this.#end.find(this.#held)
    if (end < 0) return false
    if (!this.#calls(end, end + this.#format.close.length, result)) this.#noCall(result)
    return true
  }

  /** Goes on to where a block begins; false where none does. */
  #open(result: SplitCalls): boolean {
    const { open } = this.#format
    const begin = this.#held.indexOf(open)
    if (begin >= 0) {
      const text = this.#held.slice(0, begin).trimEnd()
      result.text += text
      this.#space = this.#held.slice(text.length, begin)
      this.#end = this.#format.blockEnd()
      this.#held = this.#held.slice(begin + open.length)
      return true
    }
    const kept = heldBack(this.#held, open)
    result.text += this.#held.slice(0, this.#held.length - kept)
    this.#held = this.#held.slice(this.#held.length - kept)
    return false
  }

  /** Closes a block whose end was not found, at the first tag behind calls. */
  #endAnywhere(result: SplitCalls): boolean {
    const { close } = this.#format
    const held = this.#held
    let end = held.indexOf(close)
    for (let tries = 0; end >= 0 && tries < MOST_TRIES; tries++) {
      if (this.#calls(end, end + close.length, result)) return true
      end = held.indexOf(close, end + 1)
    }
    return false
  }

  /** Adds the calls of a block up to `end`, and goes on from `next`; false where it has none. */
  #calls(end: number, next: number, result: SplitCalls): boolean {
    const calls = this.#format.parse(this.#held.slice(0, end).trim(), this.#tools)
    if (!calls) return false
    result.calls.push(...calls)
    this.#hasCalls = true
    this.#end = undefined
    this.#held = this.#held.slice(next)
    return true
  }

  /** What was held is no call, up to its first closing tag; without one its beginning is none. */
  #noCall(result: SplitCalls): void {
    const { open, close } = this.#format
    const at = this.#held.indexOf(close)
    const end = at < 0 ? 0 : at + close.length
    result.text += this.#space + open + this.#held.slice(0, end)
    this.#held = this.#held.slice(end)
    this.#end = undefined
  }
}

/** How much of a text's end may be white space before a tag, or its beginning. */
function heldBack(text: string, tag: string): number {
  let begun = Math.min(tag.length - 1, text.length)
  while (begun > 0 && !text.endsWith(tag.slice(0, begun))) begun -= 1
  return text.length - text.slice(0, text.length - begun).trimEnd().length
}
