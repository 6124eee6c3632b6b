// The fields of a request, strictly: each is read, or asks for nothing, or is an error.

import { nearest } from '../support/nearest.js'
import { describe } from '../support/option-checks.js'
import { ApiError, badField } from './api-error.js'

interface Range {
  readonly min?: number
  readonly max?: number
}

/**
 * Reads the fields of a JSON object. A field that is null counts as left out. `end` refuses what nobody has read.
 *
 * @example
 * const fields = new Fields(body)
 * const temperature = fields.number('temperature', { min: 0, max: 2 })
 * fields.ignored('user')
 * fields.neutral('store', [false])
 * fields.end()
 */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>
  readonly #path: string
  readonly #known = new Set<string>()

  /** @param path Where the object stands, for errors: `stream_options.`. */
  constructor(object: Readonly<Record<string, unknown>>, path = '') {
    this.#object = object
    this.#path = path
  }

  /** The value of a field as it is; undefined where it is left out or null. */
  any(name: string): unknown {
    this.#known.add(name)
    const value = Object.hasOwn(this.#object, name) ? this.#object[name] : undefined
    return value ?? undefined
  }

  number(name: string, { min = -Infinity, max = Infinity }: Range = {}): number | undefined {
    const value = this.any(name)
    if (value === undefined) return undefined
    if (typeof value === 'number' && value >= min && value <= max) return value
    throw this.wrong(name, `a number${rangeText(min, max)}`, value)
  }

  integer(name: string, { min = -Infinity, max = Infinity }: Range = {}): number | undefined {
    const value = this.any(name)
    if (value === undefined) return undefined
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) {
      return value as number
    }
    throw this.wrong(name, `a whole number${rangeText(min, max)}`, value)
  }

  boolean(name: string): boolean | undefined {
    const value = this.any(name)
    if (value === undefined || typeof value === 'boolean') return value
    throw this.wrong(name, 'true or false', value)
  }

  string(name: string): string | undefined {
    const value = this.any(name)
    if (value === undefined || typeof value === 'string') return value
    throw this.wrong(name, 'a string', value)
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.any(name)
    if (value === undefined || Array.isArray(value)) return value
    throw this.wrong(name, 'a list', value)
  }

  object(name: string): Record<string, unknown> | undefined {
    const value = this.any(name)
    if (value === undefined) return undefined
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
    throw this.wrong(name, 'an object', value)
  }

  /** The fields of an object in a field. */
  fields(name: string): Fields | undefined {
    const object = this.object(name)
    return object && new Fields(object, `${this.#path}${name}.`)
  }

  /** Fields that change nothing of an answer, whatever they say. */
  ignored(...names: string[]): void {
    for (const name of names) this.#known.add(name)
  }

  /** A field that is not supported, unless it asks for nothing: values at which it does. */
  neutral(name: string, values: readonly unknown[] = [], instead = 'leave it out'): void {
    const value = this.any(name)
    if (value === undefined || values.includes(value)) return
    if (Array.isArray(value) && value.length === 0) return
    throw new ApiError(400, `${this.#path}${name} is not supported: ${instead}`, {
      param: this.#path + name,
      code: 'unsupported_parameter',
    })
  }

  /** Throws for a field that nobody has asked for. */
  end(): void {
    for (const [name, value] of Object.entries(this.#object)) {
      if (this.#known.has(name) || value === null) continue
      const near = nearest(name, [...this.#known])
      throw new ApiError(
        400,
        `unknown field ${JSON.stringify((this.#path + name).slice(0, 100))}` +
          (near ? `: did you mean ${this.#path}${near}?` : ''),
        { param: (this.#path + name).slice(0, 100), code: 'unknown_parameter' },
      )
    }
  }

  /** Where a field stands, for errors. */
  pathOf(name: string): string {
    return this.#path + name
  }

  /** The error of a field that is not what it must be. */
  wrong(name: string, expected: string, value: unknown): ApiError {
    const path = this.#path + name
    return badField(path, `${path} must be ${expected} but is ${describe(value)}`)
  }
}

function rangeText(min: number, max: number): string {
  if (min > -Infinity && max < Infinity) return ` from ${min} to ${max}`
  if (min > -Infinity) return ` of at least ${min}`
  return max < Infinity ? ` of at most ${max}` : ''
}
