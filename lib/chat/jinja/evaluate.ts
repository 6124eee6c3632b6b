// Runs the tree of a template. Python's Jinja, as transformers configures it, is the model in everything.

import { FILTERS, MARKUP_FILTERS, type Names } from './filters.js'
import { setMember } from './globals.js'
import { member } from './members.js'
import { bindParameters, mentions } from './macros.js'
import { binary, unary } from './operators.js'
import { NEGATED_TEST_PREFIX, TEST_PREFIX } from './parse.js'
import type { CallNode, FilterNode, Node, Parameter, SliceNode } from './parse.js'
import { Scope } from './scope.js'
import { sliced } from './slices.js'
import { passes } from './tests.js'
import { textOf } from './text.js'
import {
  Callable,
  checkItems,
  checkLength,
  Float,
  isTrue,
  keyOf,
  Loop,
  Markup,
  needItems,
  orUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wholeNumber,
} from './values.js'

/** What a block writes. */
class Output {
  readonly #parts: string[] = []
  #length = 0

  add(text: string): void {
    if (text === '') return
    this.#length += text.length
    checkLength(this.#length)
    this.#parts.push(text)
  }

  text(): string {
    return this.#parts.join('')
  }
}

/** How a block ended, if not at its end. */
type Leaving = 'Break' | 'Continue' | undefined

/**
 * The text that a template makes of its variables.
 *
 * @throws TemplateRefusal for what the template refuses, TemplateError for what it does wrong.
 * @example render(parseTemplate('{{ a + 1 }}'), new Map([['a', 1]])) // '2'
 */
export function render(body: readonly Node[], variables: Map<string, Value>): string {
  const output = new Output()
  execute(body, new Scope(variables), output)
  return output.text()
}

function execute(body: readonly Node[], scope: Scope, output: Output): Leaving {
  for (const node of body) {
    const leaving = executeOne(node, scope, output)
    if (leaving) return leaving
  }
  return undefined
}

function executeOne(node: Node, scope: Scope, output: Output): Leaving {
  switch (node.type) {
    case 'Comment':
      return undefined
    case 'Break':
    case 'Continue':
      return node.type
    case 'If':
      return execute(isTrue(evaluate(node.test, scope)) ? node.body : node.alternate, scope, output)
    case 'For':
      return loop(node, scope, output)
    case 'Set':
      set(node, scope)
      return undefined
    case 'Macro':
      scope.set(node.name.value, macro(node.name.value, node.args, node.body, scope))
      return undefined
    case 'CallStatement': {
      const caller = macro('caller', node.callerArgs ?? [], node.body, scope)
      output.add(textOf(call(node.call, scope, caller)))
      return undefined
    }
    case 'FilterStatement':
      output.add(textOf(applied(captured(node.body, scope), node.filter, scope)))
      return undefined
    default:
      output.add(textOf(evaluate(node, scope)))
      return undefined
  }
}

/** What a block writes, in a scope of its own. */
function captured(body: readonly Node[], scope: Scope): string {
  const output = new Output()
  execute(body, scope.inner(), output)
  return output.text()
}

function loop(node: Node & { type: 'For' }, scope: Scope, output: Output): Leaving {
  const { loopvar, iterable, body } = node
  const isFiltered = iterable.type === 'SelectExpression'
  let items = needItems(evaluate(isFiltered ? iterable.lhs : iterable, scope))
  if (isFiltered) {
    items = items.filter((item) => {
      const inner = scope.inner()
      assign(loopvar, item, inner)
      return isTrue(evaluate(iterable.test, inner))
    })
  }
  const state = new Loop(items)
  // As in Jinja, an iteration that `continue` left does not count.
  let isEmpty = true
  for (const [index, item] of items.entries()) {
    state.index = index
    const inner = scope.inner()
    assign(loopvar, item, inner)
    inner.set('loop', state)
    const leaving = execute(body, inner, output)
    if (leaving === 'Break') break
    if (leaving === undefined) isEmpty = false
  }
  return isEmpty ? execute(node.defaultBlock, scope.inner(), output) : undefined
}

function set({ assignee, value, body }: Node & { type: 'Set' }, scope: Scope): void {
  // {% set name | filter %}...{% endset %}
  const filters: FilterNode[] = []
  let target = assignee
  for (; target.type === 'FilterExpression'; target = target.operand) filters.unshift(target.filter)
  const plain: Value = value ? evaluate(value, scope) : captured(body, scope)
  assign(
    target,
    filters.reduce((text: Value, one) => applied(text, one, scope), plain),
    scope,
  )
}

function assign(target: Node, value: Value, scope: Scope): void {
  switch (target.type) {
    case 'Identifier':
      scope.set(target.value, value)
      break
    case 'MemberExpression': {
      const name = target.property.type === 'Identifier' ? target.property.value : ''
      setMember(evaluate(target.object, scope), name, value)
      break
    }
    case 'TupleLiteral': {
      const items = needItems(value)
      const { length } = target.value
      if (items.length !== length) {
        throw new TemplateError(`it unpacks ${items.length} values into ${length}`)
      }
      for (const [index, one] of target.value.entries()) assign(one, items[index]!, scope)
      break
    }
    default:
      throw new TemplateError(`it assigns to a ${target.type}`)
  }
}

function evaluate(node: Node, scope: Scope): Value {
  switch (node.type) {
    case 'Identifier':
      return named(node.value, scope)
    case 'StringLiteral':
      return node.value
    case 'IntegerLiteral':
      return wholeNumber(node.value)
    case 'FloatLiteral':
      return new Float(node.value)
    case 'ArrayLiteral':
      return node.value.map((item) => evaluate(item, scope))
    case 'TupleLiteral':
      return new Tuple(node.value.map((item) => evaluate(item, scope)))
    case 'ObjectLiteral':
      return new Map(
        [...node.value].map(([key, item]) => [keyOf(evaluate(key, scope)), evaluate(item, scope)]),
      )
    case 'MemberExpression':
      return memberOf(node, scope)
    case 'CallExpression':
      return call(node, scope)
    case 'UnaryExpression':
      return unary(node.operator.value, evaluate(node.argument, scope))
    case 'BinaryExpression':
      return binaryOf(node.operator.value, node.left, node.right, scope)
    case 'FilterExpression':
      return applied(evaluate(node.operand, scope), node.filter, scope)
    case 'TestExpression':
      return passes(node.test.value, evaluate(node.operand, scope), []) !== node.negate
    case 'Ternary':
      return evaluate(
        isTrue(evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr,
        scope,
      )
    case 'SelectExpression':
      if (isTrue(evaluate(node.test, scope))) return evaluate(node.lhs, scope)
      return new Undefined(
        'the inline if-expression evaluated to false and no else section was defined.',
      )
    default:
      throw new TemplateError(`a ${node.type} cannot stand there`)
  }
}

function named(name: string, scope: Scope): Value {
  switch (name) {
    case 'true':
    case 'True':
      return true
    case 'false':
    case 'False':
      return false
    case 'none':
    case 'None':
      return null
    default:
      return orUndefined(scope.get(name), `'${name}' is undefined`)
  }
}

function binaryOf(operator: string, left: Node, right: Node, scope: Scope): Value {
  const value = evaluate(left, scope)
  if (operator === 'and') return isTrue(value) ? evaluate(right, scope) : value
  if (operator === 'or') return isTrue(value) ? value : evaluate(right, scope)
  return binary(operator, value, evaluate(right, scope))
}

function memberOf(node: Node & { type: 'MemberExpression' }, scope: Scope): Value {
  const value = evaluate(node.object, scope)
  const { property, computed } = node
  if (property.type === 'SliceExpression') return slice(value, property, scope)
  if (computed) return member(value, evaluate(property, scope))
  // `a.0` is `a[0]`.
  if (property.type === 'IntegerLiteral') return member(value, property.value)
  return member(value, (property as Node & { type: 'Identifier' }).value, false)
}

function slice(value: Value, { start, stop, step }: SliceNode, scope: Scope): Value {
  if (value instanceof Undefined) throw new TemplateError(value.message)
  const part = (node: Node | undefined) => (node ? evaluate(node, scope) : null)
  return sliced(value, part(start), part(stop), part(step))
}

function argumentsOf(nodes: readonly Node[], scope: Scope): [Value[], Map<string, Value>] {
  const args: Value[] = []
  const byName = new Map<string, Value>()
  const name = (key: string, value: Value) => {
    if (byName.has(key)) throw new TemplateError(`multiple values for keyword argument '${key}'`)
    byName.set(key, value)
  }
  for (const node of nodes) {
    if (node.type === 'KeywordArgumentExpression') name(node.key.value, evaluate(node.value, scope))
    else if (node.type === 'SpreadExpression') {
      args.push(...needItems(evaluate(node.argument, scope)))
    } else if (node.type === 'KeywordSpreadExpression') {
      const values = evaluate(node.argument, scope)
      if (!(values instanceof Map)) throw new TemplateError('argument after ** must be a mapping')
      for (const [key, value] of values) name(textOf(key), value)
    } else args.push(evaluate(node, scope))
    checkItems(args.length)
  }
  return [args, byName]
}

function call(node: CallNode, scope: Scope, caller?: Value): Value {
  const callee = evaluate(node.callee, scope)
  const [args, byName] = argumentsOf(node.args, scope)
  if (caller !== undefined) byName.set('caller', caller)
  if (callee instanceof Callable) return callee.call(args, byName)
  if (callee instanceof Undefined) throw new TemplateError(callee.message)
  throw new TemplateError(`'${typeName(callee)}' object is not callable`)
}

function macro(
  name: string,
  parameters: readonly Parameter[],
  body: readonly Node[],
  scope: Scope,
): Callable {
  const takes = { varargs: mentions(body, 'varargs'), kwargs: mentions(body, 'kwargs') }
  return new Callable(name, (args, byName) => {
    const inner = scope.inner()
    bindParameters({ name, parameters, takes }, args, byName, inner, evaluate)
    const output = new Output()
    execute(body, inner, output)
    return output.text()
  })
}

const NAMES: Names = {
  passes,
  filter(name, value, args, byName) {
    const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined
    if (!filter) throw new TemplateError(`the filter "${name}" is not implemented here`)
    if (value instanceof Markup && !MARKUP_FILTERS.includes(name)) {
      throw new TemplateError(`the filter "${name}" of a Markup is not implemented here`)
    }
    return filter(value, args, byName, NAMES)
  },
}

/** A filter, or a test that was made one (parse.ts). */
function applied(value: Value, node: FilterNode, scope: Scope): Value {
  if (node.type === 'Identifier') return NAMES.filter(node.value, value, [], new Map())
  const { callee } = node
  if (callee.type !== 'Identifier') throw new TemplateError(`a filter is no ${callee.type}`)
  const [args, byName] = argumentsOf(node.args, scope)
  const name = callee.value
  if (name.startsWith(NEGATED_TEST_PREFIX)) {
    return !passes(name.slice(NEGATED_TEST_PREFIX.length), value, args)
  }
  if (name.startsWith(TEST_PREFIX)) return passes(name.slice(TEST_PREFIX.length), value, args)
  return NAMES.filter(name, value, args, byName)
}
