// Reads a text character by character: what the parsers of regular expressions and grammars share.

import { GrammarError } from './grammar-node.js'

export class TextReader {
  readonly #characters: readonly string[]
  #at = 0

  constructor(text: string, maxLength: number) {
    if (text.length > maxLength) {
      throw new GrammarError(
        `has ${text.length} characters, but ${maxLength} is as long as it may be`,
      )
    }
    if (/\p{Surrogate}/u.test(text)) throw new GrammarError('has half of a surrogate pair in it')
    this.#characters = [...text]
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#characters.length
  }

  /** The character that comes next; empty at the end. */
  peek(ahead = 0): string {
    return this.#characters[this.#at + ahead] ?? ''
  }

  next(): string {
    const character = this.peek()
    this.#at++
    return character
  }

  /** Takes `text` if it comes next. */
  take(text: string): boolean {
    const characters = [...text]
    const comes = characters.every((character, index) => this.peek(index) === character)
    if (comes) this.#at += characters.length
    return comes
  }

  /** Takes as many characters as `wanted` matches. */
  takeWhile(wanted: RegExp): string {
    let taken = ''
    while (!this.isAtEnd && wanted.test(this.peek())) taken += this.next()
    return taken
  }

  /** Takes `count` hexadecimal digits. */
  hex(count: number): number {
    const digits = Array.from({ length: count }, () => this.next()).join('')
    if (!/^[\da-f]+$/i.test(digits) || digits.length !== count) {
      this.fail(`${count} hexadecimal digits must follow`)
    }
    return Number.parseInt(digits, 16)
  }

  /** @throws GrammarError that says where. */
  fail(what: string): never {
    const before = this.#characters.slice(0, this.#at)
    const line = before.filter((character) => character === '\n').length + 1
    const column = before.length - before.lastIndexOf('\n')
    const where = this.#characters.includes('\n')
      ? `line ${line}, column ${column}`
      : `character ${column}`
    throw new GrammarError(`is wrong at ${where}: ${what}`)
  }
}
