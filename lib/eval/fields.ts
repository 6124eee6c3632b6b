// Fields of rows, which may hold anything.

import { quote } from '../support/format.js'
import type { Row } from './item.js'

/** A text. Throws Error for another value. */
export function textOf(row: Row, name: string): string {
  const value = row[name]
  if (typeof value === 'string') return value
  throw new Error(`"${name}" must be a text but is ${quote(value)}`)
}

/** Texts, at least `least` of them. */
export function textsOf(row: Row, name: string, least = 2): string[] {
  const value = row[name]
  const isRight =
    Array.isArray(value) &&
    value.length >= least &&
    value.every((item): item is string => typeof item === 'string')
  if (isRight) return value
  throw new Error(`"${name}" must be a list of at least ${least} texts but is ${quote(value)}`)
}

/** An object. */
export function objectOf(row: Row, name: string): Row {
  const value = row[name]
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row
  throw new Error(`"${name}" must be an object but is ${quote(value)}`)
}

/** The index of an answer among `count` choices; files have numbers, and numbers as texts. */
export function indexOf(row: Row, name: string, count: number, first = 0): number {
  const value = row[name]
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value
  const index = typeof number === 'number' ? number - first : Number.NaN
  if (Number.isInteger(index) && index >= 0 && index < count) return index
  throw new Error(
    `"${name}" must be the number of the right choice, ${first} to ${first + count - 1}, but is ${quote(value)}; a test set without answers cannot be scored`,
  )
}
