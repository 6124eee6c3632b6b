// What values have by name, index or slice.

import { bound } from './arguments.js'
import { stringMethod } from './strings.js'
import { itemAt } from './slices.js'
import {
  Callable,
  equal,
  keyOf,
  Loop,
  Namespace,
  orUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js'

// What would change a value, which Jinja's sandbox forbids.
const LIST_CHANGES = ['append', 'clear', 'extend', 'insert', 'pop', 'remove', 'reverse', 'sort']
const MAP_CHANGES = ['clear', 'pop', 'popitem', 'setdefault', 'update']

/**
 * `value[key]`, or with `isItem` false `value.key`: the two look among methods and items in another order.
 *
 * @throws TemplateError for anything of an undefined value.
 */
export function member(value: Value, key: Value, isItem = true): Value {
  if (value instanceof Undefined) throw new TemplateError(value.message)
  const byName = () => (typeof key === 'string' ? attribute(value, key) : undefined)
  const first = isItem ? item(value, key) : byName()
  // Null is a value that was found.
  const found = first !== undefined ? first : isItem ? byName() : item(value, key)
  return orUndefined(found, `'${typeName(value)} object' has no attribute '${nameOf(key)}'`)
}

const nameOf = (key: Value) =>
  typeof key === 'string' || typeof key === 'number' ? key : typeName(key)

function item(value: Value, key: Value): Value | undefined {
  if (value instanceof Map) {
    return key !== null && typeof key === 'object' ? undefined : value.get(keyOf(key))
  }
  if (value instanceof Namespace) return undefined
  const index = typeof key === 'boolean' ? Number(key) : key
  return typeof index === 'number' ? itemAt(value, index) : undefined
}

function attribute(value: Value, name: string): Value | undefined {
  if (value instanceof Namespace) return value.values.get(name)
  if (name.startsWith('_')) return undefined
  if (value instanceof Loop) return value.attribute(name)
  if (typeof value === 'string') {
    const method = stringMethod(name)
    return method && new Callable(name, (args, named) => method(value, args, named))
  }
  if (value instanceof Map) return mapMethod(value, name)
  if (Array.isArray(value) || value instanceof Tuple) return listMethod(value, name)
  if (value instanceof Callable && name === 'name') return value.name
  return undefined
}

function mapMethod(map: Map<Value, Value>, name: string): Value | undefined {
  switch (name) {
    case 'get':
      return new Callable(name, (args, named) => {
        const { key = null, default: other = null } = bound('get', ['key', 'default'], args, named)
        return map.get(keyOf(key)) ?? (map.has(keyOf(key)) ? null : other)
      })
    case 'items':
      return new Callable(
        name,
        () =>
          new View(
            'dict_items',
            [...map].map((pair) => new Tuple(pair)),
          ),
      )
    case 'keys':
      return new Callable(name, () => new View('dict_keys', [...map.keys()]))
    case 'values':
      return new Callable(name, () => new View('dict_values', [...map.values()]))
    case 'copy':
      return new Callable(name, () => new Map(map))
    default:
      return MAP_CHANGES.includes(name) ? forbidden(name, 'dict') : undefined
  }
}

function listMethod(value: Value[] | Tuple, name: string): Value | undefined {
  const items = value instanceof Tuple ? value.items : value
  switch (name) {
    case 'index':
      return new Callable(name, ([sought = null]) => {
        const index = items.findIndex((one) => equal(one, sought))
        if (index < 0) throw new TemplateError('the value is not in the list')
        return index
      })
    case 'count':
      return new Callable(
        name,
        ([sought = null]) => items.filter((one) => equal(one, sought)).length,
      )
    case 'copy':
      return Array.isArray(value) ? new Callable(name, () => [...items]) : undefined
    default:
      return Array.isArray(value) && LIST_CHANGES.includes(name)
        ? forbidden(name, 'list')
        : undefined
  }
}

const forbidden = (name: string, type: string) =>
  new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`)
