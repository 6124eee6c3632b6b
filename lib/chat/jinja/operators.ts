// Operators of Jinja, which are Python's.

import { formatted } from './format.js'
import { repeated } from './strings.js'
import { escapedText, joinedTexts, textOf } from './text.js'
import {
  checkItems,
  compare,
  contains,
  equal,
  Float,
  isTrue,
  Markup,
  numberOf,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wholeNumber,
} from './values.js'

/** `left operator right`, for all but `and` and `or`. */
export function binary(operator: string, left: Value, right: Value): Value {
  switch (operator) {
    case '==':
      return equal(left, right)
    case '!=':
      return !equal(left, right)
    case 'in':
      return contains(right, left)
    case 'not in':
      return !contains(right, left)
    case '~':
      return joinedTexts([textOf(left), textOf(right)], '')
    case '<':
      return compare(left, right, operator) < 0
    case '>':
      return compare(left, right, operator) > 0
    case '<=':
      return compare(left, right, operator) <= 0
    case '>=':
      return compare(left, right, operator) >= 0
    default:
      return arithmetic(operator, left, right)
  }
}

/** `not`, `-` and `+` before a value. */
export function unary(operator: string, value: Value): Value {
  if (operator === 'not') return !isTrue(value)
  const number = numberOf(value)
  if (number === undefined) {
    if (value instanceof Undefined) throw new TemplateError(value.message)
    throw new TemplateError(`bad operand type for unary ${operator}: '${typeName(value)}'`)
  }
  const result = operator === '-' ? -number : number
  return value instanceof Float ? new Float(result) : wholeNumber(result)
}

function arithmetic(operator: string, left: Value, right: Value): Value {
  const [a, b] = [numberOf(left), numberOf(right)]
  if (a !== undefined && b !== undefined) {
    return calculated(operator, a, b, left instanceof Float || right instanceof Float)
  }
  if (left instanceof Undefined) throw new TemplateError(left.message)
  if (right instanceof Undefined) throw new TemplateError(right.message)
  if (operator === '%' && typeof left === 'string') return formatted(left, right)
  const result = operator === '+' ? concatenated(left, right) : undefined
  if (result !== undefined) return result
  if (operator === '*') {
    if (typeof right === 'number') return times(left, right)
    if (typeof left === 'number') return times(right, left)
  }
  throw new TemplateError(
    `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  )
}

/** A Markup with what is added to it; undefined where neither is one. */
function markedUp(left: Value, right: Value): Markup | undefined {
  if (!(left instanceof Markup) && !(right instanceof Markup)) return undefined
  return new Markup(joinedTexts([escapedText(left), escapedText(right)], ''))
}

const isText = (value: Value) => typeof value === 'string' || value instanceof Markup

function concatenated(left: Value, right: Value): Value | undefined {
  if (isText(left) && isText(right)) {
    const marked = markedUp(left, right)
    if (marked) return marked
  }
  if (typeof left === 'string' && typeof right === 'string') return joinedTexts([left, right], '')
  if (Array.isArray(left) && Array.isArray(right)) {
    checkItems(left.length + right.length)
    return [...left, ...right]
  }
  if (left instanceof Tuple && right instanceof Tuple) {
    checkItems(left.items.length + right.items.length)
    return new Tuple([...left.items, ...right.items])
  }
  return undefined
}

function times(value: Value, count: number): Value {
  if (typeof value === 'string') return repeated(value, count)
  const items = Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined
  if (!items) throw new TemplateError(`can't multiply '${typeName(value)}' by an integer`)
  checkItems(items.length * Math.max(0, count))
  const result = Array.from({ length: Math.max(0, count) }, () => items).flat()
  return Array.isArray(value) ? result : new Tuple(result)
}

function calculated(operator: string, a: number, b: number, isFloat: boolean): Value {
  const result = (value: number): Value => (isFloat ? new Float(value) : wholeNumber(value))
  if (b === 0 && ['/', '//', '%'].includes(operator)) throw new TemplateError('division by zero')
  switch (operator) {
    case '+':
      return result(a + b)
    case '-':
      return result(a - b)
    case '*':
      return result(a * b)
    case '/':
      return new Float(a / b)
    case '//':
      return result(Math.floor(a / b))
    case '%': {
      const rest = a % b
      return result(rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest)
    }
    case '**':
      return b < 0 ? new Float(a ** b) : result(a ** b)
    default:
      throw new TemplateError(`the operator ${operator} is not implemented here`)
  }
}
