// Reads the values of a config.json (or of the header that stands for one) and checks them: nothing
// in such a file is trusted, and no dimension is used before it was bounded here.

import { CorruptFileError, UnsupportedArchitectureError } from '../support/errors.js'
import { describe } from '../support/option-checks.js'
import { isJsonObject, type JsonObject, type JsonValue } from '../support/json.js'

// Larger than any published model by far, small enough that no product of two overflows and no list
// of layers fills memory before the tensors of the file are looked at.
const LARGEST_DIMENSION = 2 ** 24
const MOST_LAYERS = 4096

/** One object of a config, with the path to it for error messages. */
export class ConfigReader {
  readonly #file: string
  readonly #path: string
  readonly #values: JsonObject
  /** Keys that have a default because the file leaves them out. */
  readonly #leftOut = new Set<string>()

  constructor(file: string, values: JsonObject, path = '') {
    this.#file = file
    this.#values = values
    this.#path = path
  }

  /** Whether the key is there with a value other than null. */
  has(key: string): boolean {
    const value = this.#get(key)
    return value !== undefined && value !== null
  }

  /** Whether the key is there and null. */
  isNull(key: string): boolean {
    return this.#get(key) === null
  }

  isFalse(key: string): boolean {
    return this.#get(key) === false
  }

  isValue(key: string, value: string): boolean {
    return this.#get(key) === value
  }

  isTrue(key: string): boolean {
    return this.#get(key) === true
  }

  /** A whole number from 1 to 2^24. Missing without a default is an error. */
  dimension(key: string, byDefault?: number): number {
    return this.#whole(key, LARGEST_DIMENSION, byDefault)
  }

  /** The same config with values for keys that are left out. One that is null is not left out. */
  withDefaults(defaults: JsonObject): ConfigReader {
    const values: JsonObject = Object.assign(Object.create(null), defaults, this.#values)
    const file = new ConfigReader(this.#file, values, this.#path)
    for (const key of Object.keys(defaults)) {
      if (!Object.hasOwn(this.#values, key)) file.#leftOut.add(key)
    }
    return file
  }

  /** The same config, where the keys of an object inside it count first, unless they are null there only. */
  withInner(key: string): ConfigReader {
    const inner = this.object(key)
    const values: JsonObject = Object.assign(Object.create(null), this.#values, inner.#values)
    for (const name of inner.keys()) values[name] ??= this.#values[name] ?? null
    return new ConfigReader(this.#file, values, this.#path)
  }

  /** The same config with another value of one key. */
  withValue(key: string, value: JsonValue): ConfigReader {
    const values: JsonObject = Object.assign(Object.create(null), this.#values, { [key]: value })
    return new ConfigReader(this.#file, values, this.#path)
  }

  /** The same config with these keys only. */
  picked(keys: readonly string[]): ConfigReader {
    const there = keys.filter((key) => Object.hasOwn(this.#values, key))
    const values = Object.fromEntries(there.map((key) => [key, this.#values[key]!]))
    return new ConfigReader(this.#file, values, this.#path)
  }

  layerCount(key: string): number {
    return this.#whole(key, MOST_LAYERS)
  }

  /** How many of the layers something is said of: none, or more of them than there are. */
  someLayers(key: string, byDefault: number): number {
    return this.#whole(key, MOST_LAYERS, byDefault, 0)
  }

  number(key: string, byDefault?: number): number {
    const value = this.#required(key, byDefault)
    if (typeof value !== 'number' || Number.isNaN(value)) this.#wrong(key, 'a number', value)
    return value
  }

  /** A small positive number. */
  epsilon(key: string, byDefault?: number): number {
    const value = this.number(key, byDefault)
    if (!(value > 0 && value < 1)) this.#wrong(key, 'a number between 0 and 1', value)
    return value
  }

  /** The same config, where the keys of the object count first. */
  withObject(object: ConfigReader): ConfigReader {
    const values: JsonObject = Object.assign(Object.create(null), this.#values, object.#values)
    return new ConfigReader(this.#file, values, object.#path)
  }

  /** The same config with one key under another name. */
  renamed(key: string, name: string): ConfigReader {
    const values: JsonObject = Object.assign(Object.create(null), this.#values)
    values[name] = this.#values[key]!
    return new ConfigReader(this.#file, values, this.#path)
  }

  /** A factor that the model multiplies something by: 1, or what is given, when absent or null. */
  factor(key: string, byDefault = 1): number {
    const value = this.number(key, byDefault)
    if (!Number.isFinite(value) || value === 0) this.#wrong(key, 'a number other than 0', value)
    return value
  }

  /** A number above 0. */
  positive(key: string, byDefault?: number): number {
    const value = this.number(key, byDefault)
    if (!(value > 0 && Number.isFinite(value))) this.#wrong(key, 'a number above 0', value)
    return value
  }

  /** A list of factors: all 1 when absent or null. */
  factors(key: string, count: number): number[] {
    const value = this.#get(key) ?? new Array<number>(count).fill(1)
    const isFactor = (each: JsonValue) => Number.isFinite(each) && each !== 0
    if (!Array.isArray(value) || value.length !== count || !value.every(isFactor)) {
      this.#wrong(key, `a list of ${count} numbers other than 0`, value)
    }
    return value as number[]
  }

  boolean(key: string, byDefault?: boolean): boolean {
    const value = this.#required(key, byDefault)
    if (typeof value !== 'boolean') this.#wrong(key, 'true or false', value)
    return value
  }

  string(key: string, byDefault?: string): string {
    const value = this.#required(key, byDefault)
    if (typeof value !== 'string') this.#wrong(key, 'a string', value)
    return value
  }

  /** An object; empty when absent or null. */
  object(key: string): ConfigReader {
    const value = this.#get(key) ?? {}
    if (!isJsonObject(value)) this.#wrong(key, 'an object', value)
    return new ConfigReader(this.#file, value, this.#name(key))
  }

  /** Objects stored under the keys "0", "1", ...: lists of a flattened config. */
  numberedObjects(key: string): ConfigReader[] {
    const list = this.object(key)
    const count = Object.keys(list.#values).length
    if (count > MOST_LAYERS) this.#wrong(key, `at most ${MOST_LAYERS} entries`, count)
    return Array.from({ length: count }, (_, i) => {
      if (!list.has(String(i))) list.#wrong(String(i), 'an object', undefined)
      return list.object(String(i))
    })
  }

  /** Layer numbers below `layers`; empty when absent. */
  layerIndices(key: string, layers: number): Set<number> {
    const value = this.#get(key) ?? []
    if (!Array.isArray(value)) this.#wrong(key, 'a list of layer numbers', value)
    for (const index of value) {
      if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= layers) {
        this.#wrong(key, `a list of layer numbers from 0 to ${layers - 1}`, index)
      }
    }
    return new Set(value as number[])
  }

  /** What each layer is, as a list of words: `types` says what they mean. */
  layerTypes<T>(key: string, types: Readonly<Record<string, T>>): T[] {
    const value = this.#get(key)
    if (value === undefined || value === null) this.invalid(`${this.#name(key)} is missing`)
    if (!Array.isArray(value)) this.#wrong(key, 'a list of the types of layers', value)
    return this.#types(key, value, types)
  }

  /** What each layer is, as a text of a letter a layer: `types` says what they mean. */
  layerLetters<T>(key: string, types: Readonly<Record<string, T>>): T[] {
    return this.#types(key, [...this.string(key)], types)
  }

  #types<T>(key: string, words: readonly JsonValue[], types: Readonly<Record<string, T>>): T[] {
    if (words.length < 1 || words.length > MOST_LAYERS) {
      this.#wrong(key, `1 to ${MOST_LAYERS} layers`, words.length)
    }
    return words.map((word) => {
      if (typeof word === 'string' && Object.hasOwn(types, word)) return types[word]!
      const known = Object.keys(types).map((type) => JSON.stringify(type))
      const found = typeof word === 'string' ? JSON.stringify(word) : describe(word)
      return this.unsupported(
        `has a layer of type ${found} (${this.#name(key)}); implemented: ${known.join(', ')}`,
      )
    })
  }

  /**
   * Bounds [min, max] of something that is never negative; max may be infinite. As a list, as keys "0" and
   * "1", or as the text of a Python tuple. Either may be null or a text, as writers without a word for
   * infinity have it.
   */
  limits(key: string): readonly [number, number] {
    const value = this.#get(key) ?? [null, null]
    const pair = pairOf(value)
    if (pair?.length === 2) {
      const min = boundOf(pair[0], 0)
      const max = boundOf(pair[1], Number.POSITIVE_INFINITY)
      // What nothing reaches bounds nothing.
      if (min <= max && max >= 0) return [Math.max(min, 0), max]
    }
    this.#wrong(key, 'two numbers [min, max] with min <= max', value)
  }

  /** A token id, a list of them, or null. */
  tokenIds(key: string): number[] {
    const value = this.#get(key)
    if (value === undefined || value === null) return []
    const ids = Array.isArray(value) ? value : [value]
    for (const id of ids) {
      if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= 2 ** 32) {
        this.#wrong(key, 'a token id or a list of them', id)
      }
    }
    return ids as number[]
  }

  keys(): string[] {
    return Object.keys(this.#values)
  }

  /** Throws when a key is none of these: it could change the arithmetic. */
  onlyKnown(known: readonly string[]): void {
    for (const key of this.keys()) {
      if (!known.includes(key)) this.unsupported(`has ${this.#name(key)}, which is not known here`)
    }
  }

  /** Throws unless the value is one of those implemented. Absent counts as the first; null does not. */
  only<T extends JsonValue>(key: string, implemented: readonly T[]): T {
    const found = this.#get(key)
    const value = found === undefined ? implemented[0]! : found
    const match = implemented.find((candidate) => candidate === value)
    if (match === undefined) {
      const choices = implemented.map((choice) => JSON.stringify(choice)).join(' or ')
      this.unsupported(`has ${this.#name(key)} = ${JSON.stringify(value)}; implemented: ${choices}`)
    }
    return match
  }

  unsupported(what: string): never {
    throw new UnsupportedArchitectureError(`${this.#file}: the model ${what}`)
  }

  /** Throws a CorruptFileError about this file. */
  invalid(what: string): never {
    const keys = [...this.#leftOut].filter((key) => what.includes(key))
    const defaults = keys.map(
      (key) => `${key} is left out and ${describe(this.#values[key])} by default`,
    )
    throw new CorruptFileError(`${this.#file}: ${[what, ...defaults].join('; ')}`)
  }

  #whole(key: string, max: number, byDefault?: number, min = 1): number {
    const value = this.#required(key, byDefault)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      this.#wrong(key, `a whole number from ${min} to ${max}`, value)
    }
    return value
  }

  #get(key: string): JsonValue | undefined {
    return Object.hasOwn(this.#values, key) ? this.#values[key] : undefined
  }

  #required(key: string, byDefault?: JsonValue): JsonValue {
    const value = this.#get(key) ?? byDefault
    if (value === undefined && this.isNull(key)) this.invalid(`${this.#name(key)} is null`)
    if (value === undefined)
      throw new CorruptFileError(`${this.#file}: ${this.#name(key)} is missing`)
    return value
  }

  #name(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`
  }

  #wrong(key: string, expected: string, value: unknown): never {
    throw new CorruptFileError(
      `${this.#file}: ${this.#name(key)} must be ${expected} but is ${describe(value)}`,
    )
  }
}

function pairOf(value: JsonValue): JsonValue[] | undefined {
  if (Array.isArray(value)) return value
  if (isJsonObject(value)) {
    const isPair = Object.keys(value).sort().join() === '0,1'
    return isPair ? [value['0']!, value['1']!] : undefined
  }
  const tuple = typeof value === 'string' && /^\s*[([](.*),(.*?),?\s*[)\]]\s*$/.exec(value)
  return tuple ? [tuple[1]!, tuple[2]!] : undefined
}

/** A bound as Python or JavaScript may have written it; NaN for what is none. */
function boundOf(value: JsonValue | undefined, whenNull: number): number {
  if (value === null || value === undefined) return whenNull
  if (typeof value === 'number') return value
  const text = typeof value === 'string' ? value.trim() : ''
  const infinity = /^([+-]?)(?:inf|infinity)$/i.exec(text)
  if (infinity) return infinity[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
}
