// Variables of a block and of those around it.

import type { Value } from './values.js'

export class Scope {
  readonly #values: Map<string, Value>
  readonly #outer: Scope | undefined

  constructor(values: Map<string, Value>, outer?: Scope) {
    this.#values = values
    this.#outer = outer
  }

  inner(): Scope {
    return new Scope(new Map(), this)
  }

  get(name: string): Value | undefined {
    const value = this.#values.get(name)
    return value === undefined ? this.#outer?.get(name) : value
  }

  /** Here only: what a loop or macro sets is gone behind it. */
  set(name: string, value: Value): void {
    this.#values.set(name, value)
  }
}
