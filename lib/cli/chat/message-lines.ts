// Lines of an input, joined to messages.

const QUOTES = '"""'

/**
 * Joins lines to messages. A line is a message, unless it ends with a backslash, which goes on in the next line, or
 * begins with `"""`: then the message ends with the line that ends so.
 *
 * @example
 * const lines = new MessageLines()
 * lines.push('first \\') // undefined
 * lines.push('second') // 'first \nsecond'
 */
export class MessageLines {
  readonly #lines: string[] = []
  #isQuoted = false

  /** Whether a message has begun that has not ended. */
  get isOpen(): boolean {
    return this.#isQuoted || this.#lines.length > 0
  }

  /** The message that ends with this line. With `goesOn` it does not end here. */
  push(line: string, { goesOn = false } = {}): string | undefined {
    let rest = line
    if (!this.isOpen && rest.startsWith(QUOTES)) {
      this.#isQuoted = true
      rest = rest.slice(QUOTES.length)
      if (rest === '') return undefined
    }
    if (this.#isQuoted) {
      if (!rest.endsWith(QUOTES)) return this.#add(rest)
      const last = rest.slice(0, -QUOTES.length)
      return this.#end(last === '' ? [] : [last])
    }
    if (goesOn) return this.#add(rest)
    return rest.endsWith('\\') ? this.#add(rest.slice(0, -1)) : this.#end([rest])
  }

  /** Forgets what has begun. */
  clear(): void {
    this.#lines.length = 0
    this.#isQuoted = false
  }

  #add(line: string): undefined {
    this.#lines.push(line)
  }

  #end(last: string[]): string {
    const message = [...this.#lines, ...last].join('\n')
    this.clear()
    return message
  }
}
