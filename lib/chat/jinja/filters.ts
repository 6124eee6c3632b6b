// Jinja's filters: `x | NAME`.

import { bound, integer, soft, text as textArgument } from './arguments.js'
import { formatted } from './format.js'
import { capitalized, linesOf, repeated, replaced, stringMethod, stripped } from './strings.js'
import { escapedText, fixedText, joinedTexts, jsonText, textOf } from './text.js'
import { member } from './members.js'
import {
  checkItems,
  codePoints,
  compare,
  contains,
  equal,
  Float,
  Generator,
  isTrue,
  lengthOf,
  Markup,
  type Named,
  needItems,
  numberOf,
  orUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wholeNumber,
} from './values.js'

/** Filters and tests by their names, for filters that take those. */
export interface Names {
  filter(name: string, value: Value, args: Value[], named: Named): Value
  passes(name: string, value: Value, args: readonly Value[]): boolean
}

type Filter = (value: Value, args: Value[], named: Named, names: Names) => Value

const method =
  (name: string): Filter =>
  (value) =>
    stringMethod(name)!(textOf(value), [], new Map())

const length: Filter = (value) => {
  const items = lengthOf(value)
  if (items === undefined)
    throw new TemplateError(`object of type '${typeName(value)}' has no len()`)
  return items
}

const json: Filter = (value, args, named) => {
  const parameters = ['ensure_ascii', 'indent', 'separators', 'sort_keys'] as const
  const options = bound('tojson', parameters, args, named)
  const { indent = null, separators = null } = options
  const [item, key] = separators === null ? [] : needItems(separators)
  return jsonText(value, {
    isAscii: isTrue(options.ensure_ascii ?? false),
    indent:
      indent === null
        ? undefined
        : typeof indent === 'string'
          ? indent
          : repeated(' ', integer('tojson', indent)),
    itemSeparator: textArgument('tojson', item, indent === null ? ', ' : ','),
    keySeparator: textArgument('tojson', key, ': '),
    sortsKeys: isTrue(options.sort_keys ?? false),
  })
}

const fallback: Filter = (value, args, named) => {
  const given = bound('default', ['default_value', 'boolean'], args, named)
  const isMissing = value instanceof Undefined || (isTrue(given.boolean ?? false) && !isTrue(value))
  const { default_value: other = '' } = given
  return isMissing ? other : value
}

const join: Filter = (value, args, named) => {
  const { d, attribute } = bound('join', ['d', 'attribute'], args, named)
  const items = needItems(value)
  const picked = attribute === undefined ? items : items.map((item) => at(item, attribute))
  return joinedTexts(picked.map(textOf), soft(d, ''))
}

/** What a dotted path, or an index, leads to. */
function at(value: Value, path: Value): Value {
  const names = typeof path === 'string' ? path.split('.') : [path]
  let found = value
  for (const name of names) {
    found = member(found, typeof name === 'string' && /^\d+$/.test(name) ? Number(name) : name)
  }
  return found
}

/** How items are ordered and told apart: texts without regard to case. */
function sortKey(value: Value, isCaseSensitive: boolean): Value {
  return typeof value === 'string' && !isCaseSensitive ? value.toLowerCase() : value
}

function sorted(
  items: readonly Value[],
  keys: (item: Value) => readonly Value[],
  isReversed: boolean,
): Value[] {
  const order = isReversed ? -1 : 1
  return items
    .map((item) => ({ item, key: new Tuple(keys(item)) }))
    .sort((a, b) => order * compare(a.key, b.key))
    .map(({ item }) => item)
}

const sort: Filter = (value, args, named) => {
  const given = bound('sort', ['reverse', 'case_sensitive', 'attribute'], args, named)
  const isCaseSensitive = isTrue(given.case_sensitive ?? false)
  const { attribute = null } = given
  const paths = typeof attribute === 'string' ? attribute.split(',') : [attribute]
  const keys = (item: Value) =>
    paths.map((path) => sortKey(path === null ? item : at(item, path), isCaseSensitive))
  return sorted(needItems(value), keys, isTrue(given.reverse ?? false))
}

const dictsort: Filter = (value, args, named) => {
  const given = bound('dictsort', ['case_sensitive', 'by', 'reverse'], args, named)
  const index = { key: 0, value: 1 }[textArgument('dictsort', given.by, 'key')]
  if (index === undefined) throw new TemplateError('dictsort() needs by="key" or by="value"')
  const isCaseSensitive = isTrue(given.case_sensitive ?? false)
  const pairs = mapOf('dictsort', value).map((pair) => new Tuple(pair))
  const key = (pair: Value) => [sortKey((pair as Tuple).items[index]!, isCaseSensitive)]
  return sorted(pairs, key, isTrue(given.reverse ?? false))
}

function mapOf(operation: string, value: Value): [Value, Value][] {
  if (value instanceof Map) return [...value]
  throw new TemplateError(`${operation}() needs a mapping, not '${typeName(value)}'`)
}

function distinct(items: readonly Value[], args: Value[], named: Named): Value[] {
  const given = bound('unique', ['case_sensitive', 'attribute'], args, named)
  const isCaseSensitive = isTrue(given.case_sensitive ?? false)
  const seen: Value[] = []
  const texts = new Set<string>()
  return items.filter((item) => {
    const key = sortKey(
      given.attribute === undefined ? item : at(item, given.attribute),
      isCaseSensitive,
    )
    if (typeof key === 'string') return texts.size < texts.add(key).size
    if (Array.isArray(key) || key instanceof Map) {
      throw new TemplateError(`unhashable type: '${typeName(key)}'`)
    }
    if (contains(seen, key)) return false
    seen.push(key)
    return true
  })
}

const groupby: Filter = (value, args, named) => {
  const given = bound('groupby', ['attribute', 'default', 'case_sensitive'], args, named)
  const path = given.attribute ?? ''
  const isCaseSensitive = isTrue(given.case_sensitive ?? false)
  const grouper = (item: Value): Value => {
    const found = at(item, path)
    return found instanceof Undefined && given.default !== undefined ? given.default : found
  }
  const key = (item: Value) => sortKey(grouper(item), isCaseSensitive)
  const groups: { key: Value; grouper: Value; items: Value[] }[] = []
  for (const item of sorted(needItems(value), (one) => [key(one)], false)) {
    const last = groups.at(-1)
    if (last && equal(last.key, key(item))) last.items.push(item)
    else groups.push({ key: key(item), grouper: grouper(item), items: [item] })
  }
  return groups.map((group) => new Tuple([group.grouper, group.items]))
}

/** As in Jinja, what is false has no items for the filters that go through a list. */
const itemsIfTrue = (value: Value) => (isTrue(value) ? needItems(value) : [])

const map: Filter = (value, args, named, names) => {
  const items = itemsIfTrue(value)
  const attribute = named.get('attribute')
  if (args.length === 0 && attribute !== undefined) {
    const { default: missing } = bound('map', ['attribute', 'default'], [], named)
    return new Generator(
      items.map((item) => {
        const found = at(item, attribute)
        return found instanceof Undefined && missing !== undefined ? missing : found
      }),
    )
  }
  const [name, ...rest] = args
  const filter = textArgument('map', name)
  return new Generator(items.map((item) => names.filter(filter, item, rest, named)))
}

/** select, reject, and those of an attribute. */
function selection(isKept: boolean, isByAttribute: boolean): Filter {
  return (value, args, _named, names) => {
    const [attribute, ...others] = isByAttribute ? args : [undefined, ...args]
    if (isByAttribute && attribute === undefined) throw new TemplateError('an attribute is missing')
    const [name, ...rest] = others as Value[]
    const test = name === undefined ? undefined : textArgument('select', name)
    const isPicked = (item: Value) => {
      const tested = attribute === undefined ? item : at(item, attribute)
      return test === undefined ? isTrue(tested) : names.passes(test, tested, rest)
    }
    return new Generator(itemsIfTrue(value).filter((item) => isPicked(item) === isKept))
  }
}

function extreme(sign: 1 | -1): Filter {
  return (value, args, named) => {
    const given = bound('min', ['case_sensitive', 'attribute'], args, named)
    const isCaseSensitive = isTrue(given.case_sensitive ?? false)
    const key = (item: Value) =>
      sortKey(given.attribute === undefined ? item : at(item, given.attribute), isCaseSensitive)
    const items = needItems(value)
    if (items.length === 0) return new Undefined('No aggregated item, sequence was empty.')
    return items.reduce((best, item) => (sign * compare(key(item), key(best)) < 0 ? item : best))
  }
}

const sum: Filter = (value, args, named) => {
  const { attribute, start = 0 } = bound('sum', ['attribute', 'start'], args, named)
  const items = needItems(value).map((item) =>
    attribute === undefined ? item : at(item, attribute),
  )
  const isFloat = [start, ...items].some((item) => item instanceof Float)
  const total = [start, ...items].reduce<number>((total, item) => {
    const number = numberOf(item)
    if (number === undefined) throw new TemplateError(`sum() of a '${typeName(item)}'`)
    return total + number
  }, 0)
  return isFloat ? new Float(total) : wholeNumber(total)
}

const NUMBER = /^[+-]?(\d+(_\d+)*\.?(\d+)?|\.\d+)(e[+-]?\d+)?$/i

const int: Filter = (value, args, named) => {
  const { default: other = 0, base = 10 } = bound('int', ['default', 'base'], args, named)
  if (base !== 10)
    throw new TemplateError('int() with another base than 10 is not implemented here')
  const number = numberOf(value)
  if (number !== undefined) return Number.isFinite(number) ? wholeNumber(Math.trunc(number)) : other
  const text = typeof value === 'string' ? stripped(value, undefined) : ''
  return NUMBER.test(text) ? wholeNumber(Math.trunc(Number(text.replaceAll('_', '')))) : other
}

const float: Filter = (value, args, named) => {
  const { default: other = new Float(0) } = bound('float', ['default'], args, named)
  const number = numberOf(value)
  if (number !== undefined) return new Float(number)
  const text = typeof value === 'string' ? stripped(value, undefined) : ''
  return NUMBER.test(text) ? new Float(Number(text.replaceAll('_', ''))) : other
}

const round: Filter = (value, args, named) => {
  const given = bound('round', ['precision', 'method'], args, named)
  const precision = integer('round', given.precision, 0)
  const how = textArgument('round', given.method, 'common')
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`round() of a '${typeName(value)}'`)
  const scale = 10 ** precision
  if (how === 'ceil') return new Float(Math.ceil(number * scale) / scale)
  if (how === 'floor') return new Float(Math.floor(number * scale) / scale)
  if (!(value instanceof Float)) return number
  if (precision < 0 || precision > 15) throw new TemplateError('round() needs 0 to 15 digits here')
  return new Float(Number(fixedText(number, precision)))
}

const indent: Filter = (value, args, named) => {
  const given = bound('indent', ['width', 'first', 'blank'], args, named)
  const { width = 4 } = given
  const margin = typeof width === 'string' ? width : repeated(' ', integer('indent', width))
  // The newline is a quirk of Jinja's, without which it would drop one at the end.
  const lines = linesOf(`${textOf(value)}\n`)
  const isBlankToo = isTrue(given.blank ?? false)
  const parts = lines.map((line, index) =>
    index > 0 && (line !== '' || isBlankToo) ? margin + line : line,
  )
  return (isTrue(given.first ?? false) ? margin : '') + joinedTexts(parts, '\n')
}

const first: Filter = (value) => {
  if (value instanceof Generator) {
    const { done, value: item } = value[Symbol.iterator]().next()
    return done ? new Undefined('No first item, sequence was empty.') : item
  }
  return orUndefined(needItems(value)[0], 'No first item, sequence was empty.')
}

const last: Filter = (value) => {
  if (value instanceof Generator) throw new TemplateError("'generator' object is not reversible")
  return orUndefined(needItems(value).at(-1), 'No last item, sequence was empty.')
}

const batch: Filter = (value, args, named) => {
  const { linecount, fill_with: fill = null } = bound(
    'batch',
    ['linecount', 'fill_with'],
    args,
    named,
  )
  const size = integer('batch', linecount)
  if (size < 1) throw new TemplateError('batch() needs at least 1')
  const items = needItems(value)
  const groups: Value[][] = []
  for (let from = 0; from < items.length; from += size) groups.push(items.slice(from, from + size))
  const missing = fill === null ? 0 : size - (groups.at(-1)?.length ?? size)
  checkItems(missing)
  groups.at(-1)?.push(...Array<Value>(missing).fill(fill))
  return new Generator(groups)
}

const replace: Filter = (value, args, named) => {
  const { old, new: by, count = null } = bound('replace', ['old', 'new', 'count'], args, named)
  const times = count === null ? -1 : integer('replace', count)
  return replaced(textOf(value), soft(old, ''), soft(by, ''), times)
}

const title: Filter = (value) =>
  textOf(value)
    .split(/([-\s({[<]+)/)
    .map((word) => capitalized(word))
    .join('')

const abs: Filter = (value) => {
  const number = numberOf(value)
  if (number === undefined)
    throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`)
  return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number)
}

const reverse: Filter = (value) => {
  if (typeof value === 'string') return codePoints(value).reverse().join('')
  return new Generator([...needItems(value)].reverse())
}

const list: Filter = (value) => {
  const items = [...needItems(value)]
  checkItems(items.length)
  return items
}

const escaped: Filter = (value) => new Markup(joinedTexts([escapedText(value)], ''))

const trim: Filter = (value, args, named) =>
  stripped(textOf(value), bound('trim', ['chars'], args, named).chars)

const items: Filter = (value) =>
  value instanceof Undefined
    ? new Generator([])
    : new Generator(mapOf('items', value).map((pair) => new Tuple(pair)))

const unique: Filter = (value, args, named) =>
  new Generator(distinct(needItems(value), args, named))

const attr: Filter = (value, args) => member(value, textArgument('attr', args[0]), false)

const truncate: Filter = (value, args, named) => {
  const given = bound('truncate', ['length', 'killwords', 'end', 'leeway'], args, named)
  const size = integer('truncate', given.length, 255)
  const end = textArgument('truncate', given.end, '...')
  const text = codePoints(textOf(value))
  if (text.length <= size + integer('truncate', given.leeway, 5)) return text.join('')
  const kept = text.slice(0, size - codePoints(end).length).join('')
  if (isTrue(given.killwords ?? false)) return kept + end
  const space = kept.lastIndexOf(' ')
  return (space < 0 ? kept : kept.slice(0, space)) + end
}

/** Filters that give of a Markup what Python's do. */
export const MARKUP_FILTERS: readonly string[] = [
  'count',
  'e',
  'escape',
  'length',
  'safe',
  'string',
]

/** All filters by their names. */
export const FILTERS: Readonly<Record<string, Filter>> = {
  abs,
  attr,
  batch,
  capitalize: (value) => capitalized(textOf(value)),
  center: (value, [width = 80]) => stringMethod('center')!(textOf(value), [width], new Map()),
  count: length,
  d: fallback,
  default: fallback,
  dictsort,
  e: escaped,
  escape: escaped,
  first,
  float,
  format: (value, args) => formatted(textOf(value), new Tuple(args)),
  groupby,
  indent,
  int,
  items,
  join,
  last,
  length,
  list,
  lower: method('lower'),
  map,
  max: extreme(-1),
  min: extreme(1),
  reject: selection(false, false),
  rejectattr: selection(false, true),
  replace,
  reverse,
  round,
  safe: (value) => new Markup(textOf(value)),
  select: selection(true, false),
  selectattr: selection(true, true),
  sort,
  string: (value) => (value instanceof Markup ? value : textOf(value)),
  sum,
  title,
  tojson: json,
  trim,
  truncate,
  unique,
  upper: method('upper'),
  wordcount: (value) => textOf(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
}
