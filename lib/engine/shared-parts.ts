// Memory that several values may share, counted once.

/** A part of a value. Values that share it have the same object. */
export interface SharedPart {
  readonly bytes: number
}

/** Bytes of the parts of values. */
export class SharedParts {
  /** How many values have a part. */
  readonly #values = new Map<SharedPart, number>()
  #bytes = 0

  /** Of all parts, each once. */
  get bytes(): number {
    return this.#bytes
  }

  /** Of those that no value has yet. */
  missing(parts: readonly SharedPart[]): number {
    let bytes = 0
    for (const part of parts) if (!this.#values.has(part)) bytes += part.bytes
    return bytes
  }

  /** There is a value with these parts. */
  add(parts: readonly SharedPart[]): void {
    this.#bytes += this.missing(parts)
    for (const part of parts) this.#values.set(part, (this.#values.get(part) ?? 0) + 1)
  }

  /** One that was added is gone. */
  remove(parts: readonly SharedPart[]): void {
    for (const part of parts) {
      const left = this.#values.get(part)! - 1
      if (left > 0) this.#values.set(part, left)
      else {
        this.#values.delete(part)
        this.#bytes -= part.bytes
      }
    }
  }
}
