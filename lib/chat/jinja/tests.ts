// Jinja's tests: `x is NAME`.

import { FILTERS } from './filters.js'
import { stringMethod } from './strings.js'
import { textOf } from './text.js'
import {
  Callable,
  compare,
  contains,
  equal,
  Float,
  Generator,
  itemsOf,
  Markup,
  numberOf,
  Range,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js'

type Test = (value: Value, argument: Value | undefined) => boolean

const isInteger = (value: Value) => typeof value === 'number'
const whole = (value: Value): number => {
  const number = numberOf(value)
  if (number !== undefined) return number
  throw new TemplateError(`a number is needed, not '${typeName(value)}'`)
}
const modulo = (a: number, b: number) => ((a % b) + b) % b
const ordered =
  (operator: string, test: (order: number) => boolean): Test =>
  (value, other) =>
    test(compare(value, needed(other), operator))

const isEqual: Test = (value, other) => equal(value, needed(other))

const TESTS: Record<string, Test> = {
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  none: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  true: (value) => value === true,
  false: (value) => value === false,
  integer: isInteger,
  float: (value) => value instanceof Float,
  number: (value) => numberOf(value) !== undefined,
  string: (value) => typeof value === 'string' || value instanceof Markup,
  mapping: (value) => value instanceof Map,
  // An undefined value of Jinja has the methods that these look for.
  sequence: (value) =>
    value instanceof Undefined ||
    typeof value === 'string' ||
    Array.isArray(value) ||
    value instanceof Map ||
    value instanceof Tuple ||
    value instanceof Range,
  // Not by reading it: a generator can be read once.
  iterable: (value) => value instanceof Generator || itemsOf(value) !== undefined,
  callable: (value) => value instanceof Callable || value instanceof Undefined,
  odd: (value) => modulo(whole(value), 2) === 1,
  even: (value) => modulo(whole(value), 2) === 0,
  divisibleby: (value, by) => modulo(whole(value), whole(needed(by))) === 0,
  lower: (value) => stringMethod('islower')!(textOf(value), [], new Map()) === true,
  upper: (value) => stringMethod('isupper')!(textOf(value), [], new Map()) === true,
  escaped: (value) => value instanceof Markup,
  filter: (value) => typeof value === 'string' && Object.hasOwn(FILTERS, value),
  test: (value) => typeof value === 'string' && Object.hasOwn(TESTS, value),
  sameas: (value, other) => value === needed(other),
  in: (value, container) => contains(needed(container), value),
  eq: isEqual,
  equalto: isEqual,
  '==': isEqual,
  ne: (value, other) => !isEqual(value, other),
  '!=': (value, other) => !isEqual(value, other),
  lt: ordered('<', (order) => order < 0),
  lessthan: ordered('<', (order) => order < 0),
  '<': ordered('<', (order) => order < 0),
  le: ordered('<=', (order) => order <= 0),
  '<=': ordered('<=', (order) => order <= 0),
  gt: ordered('>', (order) => order > 0),
  greaterthan: ordered('>', (order) => order > 0),
  '>': ordered('>', (order) => order > 0),
  ge: ordered('>=', (order) => order >= 0),
  '>=': ordered('>=', (order) => order >= 0),
}

/** Whether `value is name(argument)`. */
export function passes(name: string, value: Value, args: readonly Value[]): boolean {
  const test = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined
  if (!test) throw new TemplateError(`the test "${name}" is not implemented here`)
  return test(value, args[0])
}

function needed(value: Value | undefined): Value {
  if (value !== undefined) return value
  throw new TemplateError('a test lacks its argument')
}
