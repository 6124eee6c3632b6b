// Where a block of calls ends: a closing tag inside of a string is the string's.

/** Looks for the end of a block that arrives in pieces. */
export interface BlockEnd {
  /** Where the closing tag stands in a block, of which each time more is given; -1: not yet. */
  find(block: string): number
}

export interface Quoting {
  /** Characters that begin a string. */
  readonly quotes: string
  /** Whether one ends it, too; undefined where it depends on what comes. */
  endsString(block: string, position: number): boolean | undefined
  /** Whether a string is on one line. */
  readonly isOneLine: boolean
}

export const JSON_QUOTING: Quoting = { quotes: '"', endsString: () => true, isOneLine: true }

/** Of blocks with strings in quotes. */
export class QuotedBlockEnd implements BlockEnd {
  readonly #close: string
  readonly #quoting: Quoting
  #quote = ''
  #position = 0

  constructor(close: string, quoting: Quoting) {
    this.#close = close
    this.#quoting = quoting
  }

  find(block: string): number {
    const { quotes, endsString, isOneLine } = this.#quoting
    while (this.#position < block.length) {
      const next = block[this.#position]!
      if (this.#quote === '') {
        const rest = block.slice(this.#position, this.#position + this.#close.length)
        if (rest === this.#close) return this.#position
        if (this.#close.startsWith(rest)) return -1
        if (quotes.includes(next)) this.#quote = next
      } else if (next === '\\') {
        // What it stands before is part of the string.
        if (this.#position + 1 === block.length) return -1
        this.#position += 1
      } else if (next === this.#quote) {
        const isEnd = endsString(block, this.#position)
        if (isEnd === undefined) return -1
        if (isEnd) this.#quote = ''
      } else if (isOneLine && next === '\n') {
        this.#quote = ''
      }
      this.#position += 1
    }
    return -1
  }
}

/** Of blocks with values between tags. */
export class TaggedBlockEnd implements BlockEnd {
  readonly #close: string
  readonly #open: string
  readonly #end: string
  #isInside = false
  #position = 0

  /** @param value What begins and what ends a value. */
  constructor(close: string, value: readonly [open: string, end: string]) {
    this.#close = close
    ;[this.#open, this.#end] = value
  }

  find(block: string): number {
    for (;;) {
      const tags = this.#isInside ? [this.#end] : [this.#open, this.#close]
      const places = tags.map((tag) => block.indexOf(tag, this.#position))
      const [first, close = -1] = places as [number, number?]
      const found = this.#isInside || close < 0 || (first >= 0 && first < close) ? first : close
      if (found < 0) {
        // A tag may have begun.
        const longest = Math.max(...tags.map(({ length }) => length))
        this.#position = Math.max(this.#position, block.length - longest + 1)
        return -1
      }
      if (!this.#isInside && found === close) return close
      this.#position = found + tags[0]!.length
      this.#isInside = !this.#isInside
    }
  }
}
