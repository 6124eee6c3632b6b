// Arguments of functions, filters and macros.

import { textOf } from './text.js'
import { type Named, TemplateError, typeName, type Value } from './values.js'

/**
 * Arguments by their parameters' names, undefined where none is given.
 *
 * @example const { width, first } = bound('indent', ['width', 'first'], args, named)
 */
export function bound<Name extends string>(
  operation: string,
  parameters: readonly Name[],
  args: readonly Value[],
  named: Named,
): Partial<Record<Name, Value>> {
  if (args.length > parameters.length) {
    throw new TemplateError(
      `${operation}() takes at most ${parameters.length} arguments but ${args.length} are given`,
    )
  }
  const values: Partial<Record<Name, Value>> = {}
  args.forEach((value, index) => {
    values[parameters[index]!] = value
  })
  for (const [name, value] of named) {
    const parameter = parameters.find((known) => known === name)
    if (parameter === undefined) {
      throw new TemplateError(`${operation}() got an unexpected keyword argument '${name}'`)
    }
    if (values[parameter] !== undefined) {
      throw new TemplateError(`${operation}() got multiple values for argument '${name}'`)
    }
    values[parameter] = value
  }
  return values
}

/** A whole number; `fallback` where none is given. */
export function integer(operation: string, value: Value | undefined, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return Number(value)
  throw new TemplateError(`${operation}() needs an integer, not ${kind(value)}`)
}

/** A text; `fallback` where none is given. */
export function text(operation: string, value: Value | undefined, fallback?: string): string {
  if (value === undefined && fallback !== undefined) return fallback
  if (typeof value === 'string') return value
  throw new TemplateError(`${operation}() needs a string, not ${kind(value)}`)
}

/** As `text`, of any value: what filters make of theirs. */
export function soft(value: Value | undefined, fallback: string): string {
  return value === undefined ? fallback : textOf(value)
}

const kind = (value: Value | undefined) => (value === undefined ? 'nothing' : typeName(value))
