// Checks of options that come from outside: unknown names and wrong values are errors.

import type { Signal } from './abort.js'
import { UnsupportedOptionError } from './errors.js'
import { nearest } from './nearest.js'
import { typedArrayName } from './realms.js'

/**
 * Throws `UnsupportedOptionError` for a key that is not known, naming the nearest one. `group`: the option whose own
 * options these are.
 */
export function checkOptions(
  operation: string,
  options: object,
  known: readonly string[],
  group?: string,
): void {
  const lead = group === undefined ? `[${operation}]` : `[${operation}] [${group}]`
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${lead} options must be an object but is ${describe(options)}`)
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    throw new UnsupportedOptionError(
      `${lead} unknown option ${JSON.stringify(key)}` +
        (near ? `: did you mean ${JSON.stringify(near)}?` : `. Known: ${known.join(', ')}`),
    )
  }
}

interface Range {
  readonly min?: number
  readonly max?: number
}

/** The value when it is a finite number in range, undefined when absent; otherwise throws. */
export function numberOption(
  operation: string,
  name: string,
  value: unknown,
  { min = -Infinity, max = Infinity }: Range = {},
): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number') {
    throw new TypeError(`[${operation}] ${name} must be a number but is ${describe(value)}`)
  }
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new RangeError(
      `[${operation}] ${name} must be ${rangeText('a number', min, max)} but is ${value}`,
    )
  }
  return value
}

/** As `numberOption`, for whole numbers. */
export function integerOption(
  operation: string,
  name: string,
  value: unknown,
  { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: Range = {},
): number | undefined {
  const number = numberOption(operation, name, value)
  if (number === undefined) return undefined
  if (!Number.isSafeInteger(number) || number < min || number > max) {
    throw new RangeError(
      `[${operation}] ${name} must be ${rangeText('a whole number', min, max)} but is ${number}`,
    )
  }
  return number
}

/** The value when it is a string, undefined when absent; otherwise throws. */
export function stringOption(operation: string, name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  throw new TypeError(`[${operation}] ${name} must be a string but is ${describe(value)}`)
}

/** Throws unless the value is a path: a text that is not empty. */
export function checkPath(operation: string, path: unknown): void {
  if (typeof path === 'string' && path !== '') return
  throw new TypeError(`[${operation}] the path must be a text but is ${describe(path)}`)
}

/** The value when it is true or false, undefined when absent; otherwise throws. */
export function booleanOption(
  operation: string,
  name: string,
  value: unknown,
): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw new TypeError(`[${operation}] ${name} must be true or false but is ${describe(value)}`)
}

/** The value when it is a function, undefined when absent; otherwise throws. */
export function functionOption<Value>(operation: string, name: string, value: Value): Value {
  if (value === undefined || typeof value === 'function') return value
  throw new TypeError(`[${operation}] ${name} must be a function but is ${describe(value)}`)
}

/** Throws unless the value is an AbortSignal, of this realm or another, or absent. */
export function checkSignal(operation: string, value: unknown): void {
  if (value === undefined) return
  const signal = value as Partial<Signal> | null
  if (typeof signal?.addEventListener === 'function' && typeof signal.aborted === 'boolean') return
  throw new TypeError(`[${operation}] signal must be an AbortSignal but is ${describe(value)}`)
}

function rangeText(kind: string, min: number, max: number): string {
  const from = min > Number.MIN_SAFE_INTEGER
  const to = max < Number.MAX_SAFE_INTEGER
  if (from && to) return `${kind} from ${min} to ${max}`
  if (from) return `${kind}, at least ${min}`
  return to ? `${kind}, at most ${max}` : kind
}

/** A value in an error message, short whatever it is. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  const typed = typedArrayName(value)
  if (typed)
    return `${/^[AEIOU](?!int)/.test(typed) ? 'an' : 'a'} ${typed} of ${(value as ArrayLike<unknown>).length}`
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  return String(value)
}
