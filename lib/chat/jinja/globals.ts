// Functions that every template has.

import { integer, text } from './arguments.js'
import { strftime } from './strftime.js'
import { textOf } from './text.js'
import { Callable, keyOf, Namespace, needItems, Range, TemplateError } from './values.js'
import { TemplateRefusal, typeName, type Value } from './values.js'

// As in Jinja's sandbox.
const LARGEST_RANGE = 100_000

/** The functions by their names. `now` gives the time to strftime_now. */
export function globalsAt(now: Date): Map<string, Value> {
  const functions: Callable[] = [
    new Callable('range', rangeOf),
    new Callable('dict', (args, named) => new Map([...pairsOf(args), ...named])),
    new Callable('namespace', (args, named) => {
      const values = new Map<string, Value>()
      for (const [name, value] of [...pairsOf(args), ...named]) {
        setMember(new Namespace(values), textOf(name), value)
      }
      return new Namespace(values)
    }),
    new Callable('raise_exception', ([message = '']) => {
      throw new TemplateRefusal(textOf(message))
    }),
    new Callable('strftime_now', ([format]) => strftime(text('strftime_now', format), now)),
    new Callable('joiner', ([separator = ', ']) => {
      let isUsed = false
      return new Callable('joiner', () => {
        if (isUsed) return separator
        isUsed = true
        return ''
      })
    }),
    ...['cycler', 'lipsum'].map((name) => {
      return new Callable(name, () => {
        throw new TemplateError(`the function ${name} is not implemented here`)
      })
    }),
  ]
  return new Map(functions.map((one) => [one.name, one]))
}

/** `{% set namespace.name = value %}`. */
export function setMember(target: Value, name: string, value: Value): void {
  if (!(target instanceof Namespace)) {
    throw new TemplateError('cannot assign attribute on non-namespace object')
  }
  if (name.startsWith('_')) {
    throw new TemplateError(`a namespace cannot have the attribute ${name}, which begins with _`)
  }
  target.values.set(name, value)
}

function rangeOf(args: Value[]): Value {
  const [first, second, third] = args.map((value) => integer('range', value))
  if (first === undefined) throw new TemplateError('range expected at least 1 argument, got 0')
  const [start, stop, step] = second === undefined ? [0, first, 1] : [first, second, third ?? 1]
  if (step === 0) throw new TemplateError('range() arg 3 must not be zero')
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (length > LARGEST_RANGE) throw new TemplateError(`a range of more than ${LARGEST_RANGE} items`)
  const name = step === 1 ? `range(${start}, ${stop})` : `range(${start}, ${stop}, ${step})`
  return new Range(
    name,
    Array.from({ length }, (_, index) => start + index * step),
  )
}

function pairsOf([source]: Value[]): [Value, Value][] {
  if (source === undefined) return []
  if (source instanceof Map) return [...source]
  return needItems(source).map((pair) => {
    const [key, value] = needItems(pair)
    if (key === undefined || value === undefined) {
      throw new TemplateError(`dict() needs pairs, not '${typeName(pair)}'`)
    }
    return [keyOf(key), value]
  })
}
