// Values as templates see them: Python's, since templates are written for Jinja in Python. Texts, whole numbers,
// true, false, null (None), arrays (lists) and maps (dicts) are JavaScript's own; the rest are classes here.

/** What a template does wrong, or asks for more than it may. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
}

/** What a template says itself, by raise_exception. */
export class TemplateRefusal extends Error {
  override readonly name = 'TemplateRefusal'
}

/** A value, or where there is none an undefined one; null is a value (None). */
export function orUndefined(value: Value | undefined, message: string): Value {
  return value === undefined ? new Undefined(message) : value
}

/** Python's float, apart from whole numbers: 1.0 is printed otherwise than 1. */
export class Float {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

export class Tuple {
  readonly items: readonly Value[]

  constructor(items: readonly Value[]) {
    this.items = items
  }
}

/** A name, key or index that is not there. Prints as nothing; most other uses of it are errors. */
export class Undefined {
  readonly message: string

  constructor(message: string) {
    this.message = message
  }
}

/** What the filters `safe` and `escape` make: a text that escapes what is added to it. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** A function, method or macro. */
export class Callable {
  readonly name: string
  readonly call: (args: Value[], named: Named) => Value

  constructor(name: string, call: (args: Value[], named: Named) => Value) {
    this.name = name
    this.call = call
  }
}

/** What `namespace()` makes: the one thing that a template may change. */
export class Namespace {
  readonly values: Map<string, Value>

  constructor(values: Map<string, Value>) {
    this.values = values
  }
}

/** An iterator of Python, such as most filters give: it is true, has no length and can be read once. */
export class Generator {
  readonly #items: Iterator<Value>

  constructor(items: Iterable<Value>) {
    this.#items = items[Symbol.iterator]()
  }

  [Symbol.iterator](): Iterator<Value> {
    return { next: () => this.#items.next() }
  }
}

/** `dict.items()` and its like. */
export class View {
  readonly name: 'dict_items' | 'dict_keys' | 'dict_values'
  readonly items: readonly Value[]

  constructor(name: 'dict_items' | 'dict_keys' | 'dict_values', items: readonly Value[]) {
    this.name = name
    this.items = items
  }
}

/** `range()`. */
export class Range {
  readonly text: string
  readonly items: readonly number[]

  constructor(text: string, items: readonly number[]) {
    this.text = text
    this.items = items
  }
}

/** The variable `loop`. */
export class Loop {
  readonly items: readonly Value[]
  index = 0
  #before: readonly Value[] | undefined

  constructor(items: readonly Value[]) {
    this.items = items
  }

  attribute(name: string): Value | undefined {
    const { items, index } = this
    switch (name) {
      case 'index':
        return index + 1
      case 'index0':
        return index
      case 'revindex':
        return items.length - index
      case 'revindex0':
        return items.length - index - 1
      case 'first':
        return index === 0
      case 'last':
        return index === items.length - 1
      case 'length':
        return items.length
      case 'depth':
        return 1 // loops are not recursive here
      case 'depth0':
        return 0
      case 'previtem':
        return orUndefined(items[index - 1], 'there is no previous item')
      case 'nextitem':
        return orUndefined(items[index + 1], 'there is no next item')
      case 'cycle':
        return new Callable('cycle', (values) => {
          if (values.length === 0) throw new TemplateError('no items for cycling given')
          return values[index % values.length]!
        })
      case 'changed':
        return new Callable('changed', (values) => {
          const isSame = this.#before !== undefined && equal([...this.#before], values)
          this.#before = values
          return !isSame
        })
      default:
        return undefined
    }
  }
}

export type Value =
  | string
  | number
  | boolean
  | null
  | Float
  | Tuple
  | Undefined
  | Markup
  | Callable
  | Namespace
  | Generator
  | View
  | Range
  | Loop
  | Value[]
  | Map<Value, Value>

/** Arguments given by name. */
export type Named = ReadonlyMap<string, Value>

/** Characters that a text, and items that a list, may have. */
export const LARGEST_TEXT = 16 * 1024 * 1024
const LARGEST_LIST = 1024 * 1024

/** A length of a text that is about to be made. */
export function checkLength(length: number): void {
  if (length > LARGEST_TEXT) {
    throw new TemplateError(`it makes a text of more than ${LARGEST_TEXT} characters`)
  }
}

/** A length of a list that is about to be made. */
export function checkItems(length: number): void {
  if (length > LARGEST_LIST) {
    throw new TemplateError(`it makes a list of more than ${LARGEST_LIST} items`)
  }
}

/** What JSON has made, as values. */
export function fromJson(json: unknown): Value {
  if (typeof json === 'number') return Number.isSafeInteger(json) ? json : new Float(json)
  if (Array.isArray(json)) return json.map(fromJson)
  if (typeof json === 'object' && json !== null) {
    return new Map(Object.entries(json).map(([key, value]) => [key, fromJson(value)]))
  }
  return json as string | boolean | null
}

/** The name of a value's type in Python. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType'
  if (typeof value === 'string') return 'str'
  if (typeof value === 'number') return 'int'
  if (typeof value === 'boolean') return 'bool'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Map) return 'dict'
  if (value instanceof View) return value.name
  return value.constructor.name.toLowerCase()
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false
  if (value instanceof Float) return value.value !== 0
  if (value instanceof Markup) return value.text !== ''
  if (typeof value === 'object') {
    if (value instanceof Generator) return true
    const length = lengthOf(value)
    return length === undefined || length > 0
  }
  return Boolean(value)
}

/** The number that a value is in arithmetic, where true is 1. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return Number(value)
  return value instanceof Float ? value.value : undefined
}

/** A whole number of Python, which has no largest one; here beyond 2^53 it is an error. */
export function wholeNumber(value: number): number {
  if (Number.isSafeInteger(value)) return value === 0 ? 0 : value
  throw new TemplateError('it counts beyond 2^53')
}

/** A text as Python sees it: a list of code points, not of UTF-16 units. */
export function codePoints(text: string): string[] {
  return isSimple(text) ? text.split('') : Array.from(text)
}

/** Whether each UTF-16 unit is a code point. */
export const isSimple = (text: string): boolean => !/[\ud800-\udfff]/.test(text)

/** Python's `len`; undefined for what has none. */
export function lengthOf(value: Value): number | undefined {
  if (typeof value === 'string') return isSimple(value) ? value.length : codePoints(value).length
  if (value instanceof Markup) return lengthOf(value.text)
  if (Array.isArray(value)) return value.length
  if (value instanceof Map) return value.size
  if (value instanceof Undefined) return 0
  if (value instanceof Loop || value instanceof View || value instanceof Range) {
    return value.items.length
  }
  return value instanceof Tuple ? value.items.length : undefined
}

/** What a loop over a value gives; undefined for what cannot be iterated. */
export function itemsOf(value: Value): readonly Value[] | undefined {
  if (typeof value === 'string') return codePoints(value)
  if (Array.isArray(value)) return value
  if (value instanceof Map) return [...value.keys()]
  if (value instanceof Undefined) return []
  if (value instanceof Generator) return [...value]
  if (value instanceof View || value instanceof Range || value instanceof Tuple) return value.items
  return undefined
}

/** As `itemsOf`, throwing Python's error. */
export function needItems(value: Value): readonly Value[] {
  const items = itemsOf(value)
  if (items) return items
  throw new TemplateError(`'${typeName(value)}' object is not iterable`)
}

/** Python's `==`. */
export function equal(left: Value, right: Value): boolean {
  if (left === right) return true
  const [a, b] = [numberOf(left), numberOf(right)]
  if (a !== undefined || b !== undefined) return a === b
  if (left instanceof Undefined) return right instanceof Undefined
  if (left instanceof Markup) return equal(left.text, right)
  if (right instanceof Markup) return left === right.text
  if (left instanceof Map) {
    if (!(right instanceof Map) || left.size !== right.size) return false
    return [...left].every(([key, value]) => right.has(key) && equal(value, right.get(key)!))
  }
  const [x, y] = [sequence(left), sequence(right)]
  if (!x || !y || typeName(left) !== typeName(right) || x.length !== y.length) return false
  return x.every((item, index) => equal(item, y[index]!))
}

/** Items of what compares item by item. */
function sequence(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value
  return value instanceof Tuple || value instanceof Range ? value.items : undefined
}

/** Negative if `left` comes first, as Python orders; throws for what has no order. */
export function compare(left: Value, right: Value, operator = '<'): number {
  const [a, b] = [numberOf(left), numberOf(right)]
  if (a !== undefined && b !== undefined) return a - b
  if (typeof left === 'string' && typeof right === 'string') return compareTexts(left, right)
  if (left instanceof Undefined) throw new TemplateError(left.message)
  if (right instanceof Undefined) throw new TemplateError(right.message)
  const [x, y] = [sequence(left), sequence(right)]
  if (x && y && typeName(left) === typeName(right) && !(left instanceof Range)) {
    const differs = x.findIndex((item, index) => index < y.length && !equal(item, y[index]!))
    return differs < 0 ? x.length - y.length : compare(x[differs]!, y[differs]!, operator)
  }
  throw new TemplateError(
    `'${operator}' not supported between instances of '${typeName(left)}' and '${typeName(right)}'`,
  )
}

/** By code points: UTF-16 units would put emoji before some characters of the basic plane. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0
  if (isSimple(left) && isSimple(right)) return left < right ? -1 : 1
  const [a, b] = [Array.from(left), Array.from(right)]
  const differs = a.findIndex((character, index) => character !== b[index])
  if (differs < 0) return a.length - b.length
  return (a[differs]!.codePointAt(0) ?? 0) - (b[differs]?.codePointAt(0) ?? -1)
}

/** Python's `in`. */
export function contains(container: Value, item: Value): boolean {
  if (typeof container === 'string') {
    if (typeof item === 'string') return container.includes(item)
    throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`)
  }
  if (container instanceof Map) return container.has(keyOf(item))
  const items = itemsOf(container)
  if (items) return items.some((other) => equal(other, item))
  throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`)
}

/** A value as a key of a dict. */
export function keyOf(value: Value): Value {
  if (value instanceof Float && Number.isSafeInteger(value.value)) return value.value
  // In Python true and 1 are one key.
  if (value === null || (typeof value !== 'object' && typeof value !== 'boolean')) return value
  throw new TemplateError(`a '${typeName(value)}' cannot be the key of a dict here`)
}
