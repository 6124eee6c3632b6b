// What is alive, without keeping it alive.

/**
 * A set that forgets what nobody else holds.
 *
 * @example
 * const sessions = new LiveSet<Session>()
 * sessions.add(session)
 * for (const { stateBytes } of sessions.of(Session)) bytes += stateBytes
 */
export class LiveSet<T extends object> {
  readonly #references = new Set<WeakRef<T>>()
  readonly #referenceOf = new WeakMap<T, WeakRef<T>>()
  readonly #forgotten = new FinalizationRegistry<WeakRef<T>>((reference) =>
    this.#references.delete(reference),
  )

  add(value: T): void {
    const reference = new WeakRef(value)
    this.#references.add(reference)
    this.#referenceOf.set(value, reference)
    this.#forgotten.register(value, reference, value)
  }

  delete(value: T): void {
    const reference = this.#referenceOf.get(value)
    if (!reference) return
    this.#references.delete(reference)
    this.#referenceOf.delete(value)
    this.#forgotten.unregister(value)
  }

  /** Those of a class. */
  *of<U extends T>(type: abstract new (...options: never[]) => U): Generator<U> {
    for (const reference of this.#references) {
      const value = reference.deref()
      if (value instanceof type) yield value
    }
  }
}
