// What is tuned for a GPU: the table of native/metal/tuning.h, and the checks of values from outside.

import { addon } from './addon.js'
import { checkOptions, describe, integerOption } from '../support/option-checks.js'

/** A value for each name of `tunables()`. */
export type Tuning = Readonly<Record<string, number>>

/** A number that any value of is right, and of which the fastest depends on the GPU. */
export interface Tunable {
  name: string
  meaning: string
  least: number
  most: number
  /** The values worth measuring. */
  candidates: readonly number[]
}

let table: readonly Tunable[] | undefined

/** What there is to tune, on a GPU of any kind. */
export function tunables(): readonly Tunable[] {
  table ??= addon().tunables()
  return table
}

/**
 * Values for some of the names, checked. Throws `UnsupportedOptionError` for a name that does not
 * exist, `TypeError` and `RangeError` for a value that cannot be.
 */
export function checkTuning(operation: string, tuning: unknown): Tuning {
  if (typeof tuning !== 'object' || tuning === null || Array.isArray(tuning)) {
    throw new TypeError(`[${operation}] tuning must be an object but is ${describe(tuning)}`)
  }
  const names = tunables().map(({ name }) => name)
  checkOptions(operation, tuning, names)
  const checked: Record<string, number> = {}
  for (const { name, least, most } of tunables()) {
    const given = Object.hasOwn(tuning, name)
      ? (tuning as Record<string, unknown>)[name]
      : undefined
    const value = integerOption(operation, `tuning.${name}`, given, { min: least, max: most })
    if (value !== undefined) checked[name] = value
  }
  return checked
}
