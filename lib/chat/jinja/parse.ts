// The tree of a template, read by @huggingface/jinja. Its grammar lacks tests with arguments (`x is divisibleby(2)`),
// which are given to it as filters, and comparisons in a chain (`1 < x < 3`), which it would read as `(1 < x) < 3`.
// It reads `a + b ~ c` from left to right, but `~` binds more tightly.

import { parse, tokenize } from '@huggingface/jinja'
import { TemplateError } from './values.js'

type Token = ReturnType<typeof tokenize>[number]

/** What nodes of the library's tree have that are read here. */
export type Node =
  | { type: 'Program'; body: Node[] }
  | { type: 'If'; test: Node; body: Node[]; alternate: Node[] }
  | { type: 'For'; loopvar: Node; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: 'Break' | 'Continue' | 'Comment' }
  | { type: 'Set'; assignee: Node; value: Node | null; body: Node[] }
  | { type: 'Macro'; name: { value: string }; args: Parameter[]; body: Node[] }
  | { type: 'CallStatement'; call: CallNode; callerArgs: Parameter[] | null; body: Node[] }
  | { type: 'FilterStatement'; filter: FilterNode; body: Node[] }
  | { type: 'MemberExpression'; object: Node; property: Node; computed: boolean }
  | CallNode
  | { type: 'Identifier'; value: string }
  | { type: 'StringLiteral'; value: string }
  | { type: 'IntegerLiteral' | 'FloatLiteral'; value: number }
  | { type: 'ArrayLiteral' | 'TupleLiteral'; value: Node[] }
  | { type: 'ObjectLiteral'; value: Map<Node, Node> }
  | { type: 'BinaryExpression'; operator: Token; left: Node; right: Node }
  | { type: 'FilterExpression'; operand: Node; filter: FilterNode }
  | { type: 'SelectExpression'; lhs: Node; test: Node }
  | { type: 'TestExpression'; operand: Node; negate: boolean; test: { value: string } }
  | { type: 'UnaryExpression'; operator: Token; argument: Node }
  | SliceNode
  | { type: 'KeywordArgumentExpression'; key: { value: string }; value: Node }
  | { type: 'SpreadExpression' | 'KeywordSpreadExpression'; argument: Node }
  | { type: 'Ternary'; condition: Node; trueExpr: Node; falseExpr: Node }

export type CallNode = { type: 'CallExpression'; callee: Node; args: Node[] }
export type FilterNode = { type: 'Identifier'; value: string } | CallNode
export type SliceNode = { type: 'SliceExpression'; start?: Node; stop?: Node; step?: Node }
export type Parameter =
  | { type: 'Identifier'; value: string }
  | { type: 'KeywordArgumentExpression'; key: { value: string }; value: Node }

/** Names of the filters that tests with arguments become. */
export const TEST_PREFIX = 'is '
export const NEGATED_TEST_PREFIX = 'is not '

/**
 * The tree of a template, with white space around blocks dropped as transformers does.
 *
 * @throws TemplateError for what cannot be read.
 */
export function parseTemplate(text: string): Node[] {
  try {
    const tokens = tokenize(text.replace(/\r\n?/g, '\n'), {
      lstrip_blocks: true,
      trim_blocks: true,
    })
    const program = parse(testsAsFilters(tokens)) as unknown as { body: Node[] }
    correctOperators(program, tokens)
    return program.body
  } catch (error) {
    if (error instanceof TemplateError) throw error
    throw new TemplateError(`it cannot be read: ${(error as Error).message}`)
  }
}

/** `x is name(args)` and `x is name arg` as `x | 'is name'(args)`. */
function testsAsFilters(tokens: Token[]): Token[] {
  const result: Token[] = []
  const like = (token: Token, type: Token['type'], value: string): Token =>
    Object.assign(Object.create(Object.getPrototypeOf(token)), { type, value })
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!
    if (!isName(token, 'is')) {
      result.push(token)
      continue
    }
    const isNegated = isName(tokens[index + 1], 'not')
    const at = index + (isNegated ? 2 : 1)
    const [name, next] = [tokens[at], tokens[at + 1]]
    // The name may also be an operator: `x is == 1`, which the library reads as nothing.
    if (name?.type !== 'Identifier' || !next || !beginsArgument(next)) {
      result.push(token)
      continue
    }
    const prefix = isNegated ? NEGATED_TEST_PREFIX : TEST_PREFIX
    result.push(like(token, 'Pipe', '|'), like(name, 'Identifier', prefix + name.value))
    if (next.type !== 'OpenParen') {
      const end = endOfPrimary(tokens, at + 1)
      const argument = testsAsFilters(tokens.slice(at + 1, end))
      result.push(like(next, 'OpenParen', '('), ...argument, like(next, 'CloseParen', ')'))
      index = end - 1
    } else index = at
  }
  return result
}

const isName = (token: Token | undefined, name: string) =>
  token?.type === 'Identifier' && token.value === name

const OPENING = ['OpenParen', 'OpenSquareBracket', 'OpenCurlyBracket']
const CLOSING = ['CloseParen', 'CloseSquareBracket', 'CloseCurlyBracket']
const NOT_ARGUMENTS = ['else', 'or', 'and', 'is', 'if', 'not', 'in']

function beginsArgument({ type, value }: Token): boolean {
  if (type === 'Identifier') return !NOT_ARGUMENTS.includes(value)
  return [...OPENING, 'StringLiteral', 'NumericLiteral'].includes(type)
}

/** Where a primary expression ends, with what follows it in brackets or behind a dot. */
function endOfPrimary(tokens: Token[], start: number): number {
  let depth = 0
  let index = start
  do {
    const { type } = tokens[index]!
    if (OPENING.includes(type)) depth += 1
    if (CLOSING.includes(type)) depth -= 1
    index += 1
    const next = tokens[index]?.type
    if (depth > 0 || type === 'Dot' || next === 'Dot') continue
    if (next === 'OpenParen' || next === 'OpenSquareBracket') continue
    return index
  } while (index < tokens.length)
  return index
}

const COMPARISONS = ['<', '>', '<=', '>=', '==', '!=', 'in', 'not in']

/** Throws for comparisons in a chain, and has `~` go before `+` and `-`. */
function correctOperators(tree: unknown, tokens: Token[]): void {
  const places = new Map(tokens.map((token, index) => [token, index]))
  const isInParentheses = (left: Token, right: Token): boolean => {
    const [from, to] = [places.get(left), places.get(right)]
    if (from === undefined || to === undefined) return false
    let depth = 0
    for (let index = from; index < to; index++) {
      if (OPENING.includes(tokens[index]!.type)) depth += 1
      if (CLOSING.includes(tokens[index]!.type)) depth -= 1
      if (depth < 0) return true
    }
    return false
  }
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    if (value instanceof Map) {
      for (const entry of value) entry.forEach(visit)
      return
    }
    const node = value as Node
    // What is inside first: a sum may have come to stand there.
    Object.values(node).forEach(visit)
    if (node.type === 'BinaryExpression' && node.left.type === 'BinaryExpression') {
      const [left, right] = [node.left.operator, node.operator]
      const isSum = (left.value === '+' || left.value === '-') && right.value === '~'
      if (isSum && !isInParentheses(left, right)) {
        const joined: Node = { ...node, left: node.left.right }
        Object.assign(node, { operator: left, left: node.left.left, right: joined })
      }
      const isChain = COMPARISONS.includes(left.value) && COMPARISONS.includes(right.value)
      if (isChain && !isInParentheses(left, right)) {
        throw new TemplateError(
          `it compares in a chain (… ${left.value} … ${right.value} …), which is not implemented here`,
        )
      }
    }
  }
  visit(tree)
}
