// Arguments of macros, by Jinja's rules.

import type { Node, Parameter } from './parse.js'
import type { Scope } from './scope.js'
import { type Named, orUndefined, TemplateError, Tuple, type Value } from './values.js'

interface Signature {
  name: string
  parameters: readonly Parameter[]
  /** Whether the body asks for arguments beyond its parameters. */
  takes: { varargs: boolean; kwargs: boolean }
}

/** Puts arguments into the scope of a call. Defaults are evaluated there, and see the parameters before them. */
export function bindParameters(
  { name, parameters, takes }: Signature,
  args: readonly Value[],
  named: Named,
  scope: Scope,
  evaluate: (node: Node, scope: Scope) => Value,
): void {
  const rest = new Map(named)
  const caller = rest.get('caller')
  rest.delete('caller')
  scope.set('caller', orUndefined(caller, 'No caller defined'))
  parameters.forEach((parameter, index) => {
    const key = parameter.type === 'Identifier' ? parameter.value : parameter.key.value
    let value = args[index]
    if (rest.has(key)) {
      if (value !== undefined) throw new TemplateError(`macro '${name}' got '${key}' twice`)
      value = rest.get(key)
      rest.delete(key)
    }
    if (value === undefined && parameter.type !== 'Identifier') {
      value = evaluate(parameter.value, scope)
    }
    scope.set(key, orUndefined(value, `parameter '${key}' was not provided`))
  })
  if (takes.varargs) scope.set('varargs', new Tuple(args.slice(parameters.length)))
  else if (args.length > parameters.length) {
    throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`)
  }
  if (takes.kwargs) scope.set('kwargs', new Map(rest))
  else if (rest.size > 0) {
    throw new TemplateError(`macro '${name}' takes no keyword argument '${[...rest.keys()][0]}'`)
  }
}

/** Whether a variable of this name is used in a tree. */
export function mentions(tree: unknown, name: string): boolean {
  if (typeof tree !== 'object' || tree === null) return false
  if (tree instanceof Map) return mentions([...tree], name)
  if ((tree as Node).type === 'Identifier') return (tree as { value: unknown }).value === name
  return Object.values(tree).some((child) => mentions(child, name))
}
