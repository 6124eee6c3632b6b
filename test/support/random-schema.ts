// Random JSON Schemas of what grammars keep to.

type Integers = (below: number) => number
type Schema = boolean | Record<string, unknown>

const NAMES = ['a', 'ab', 'b', 'id', 'name', 'é"\\', 'x y', '']
const FORMATS = ['date', 'time', 'date-time', 'duration', 'email', 'ipv4', 'ipv6', 'uuid', 'uri']
const PATTERNS = [
  ...['^[a-c]{2,5}$', 'x', '^a.c', '\\d{3}$', '^(?:ab|c+)?$', '^[^"\\\\]*"$', '^\\s|\\W$', '[é-ü]'],
  ...['^\\u{1F600}{1,3}$', '^(?<year>\\d{4})-\\d\\d$', '^(a*)*$'],
]
const VALUES = [null, true, 1, -2.5, 'text', '"\\\n', 'é😀', [1, ['x']], { a: { b: [] } }]

/** A schema; `depth` bounds how deep it is. Its root has `$defs` for the references in it. */
export function randomSchema(integer: Integers, depth = 3): Schema {
  const schema = part(integer, depth)
  if (typeof schema === 'boolean') return schema
  return { ...schema, $defs: { leaf: part(integer, 0), list: LIST } }
}

const LIST = {
  type: 'object',
  properties: { next: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/list' }] } },
  required: ['next'],
}

function part(integer: Integers, depth: number): Schema {
  const leaves = [
    string,
    whole,
    decimal,
    values,
    () => ({ type: pick(integer, ['null', 'boolean']) }),
  ]
  const branches = [array, tuple, object, object, anyOf, reference, () => integer(2) === 0]
  const makers = depth > 0 && integer(4) > 0 ? branches : leaves
  return pick<(integer: Integers, depth: number) => Schema>(integer, makers)(integer, depth)
}

const pick = <Item>(integer: Integers, items: readonly Item[]) => items[integer(items.length)]!
const sometimes = (integer: Integers, make: () => object) => (integer(2) === 0 ? make() : {})

function string(integer: Integers): Schema {
  const min = integer(4)
  return pick(integer, [
    { type: 'string' },
    { type: 'string', minLength: min, maxLength: min + integer(4) },
    { type: 'string', maxLength: integer(6) },
    { type: 'string', minLength: min },
    { type: 'string', format: pick(integer, FORMATS) },
    { type: 'string', pattern: pick(integer, PATTERNS) },
  ])
}

function whole(integer: Integers): Schema {
  const min = integer(3000) - 1500
  return {
    type: 'integer',
    ...sometimes(integer, () => ({ [pick(integer, ['minimum', 'exclusiveMinimum'])]: min })),
    ...sometimes(integer, () => ({
      [pick(integer, ['maximum', 'exclusiveMaximum'])]: min + 2 + integer(1000),
    })),
  }
}

function decimal(integer: Integers): Schema {
  const min = (integer(30_000) - 15_000) / 10 ** integer(5)
  const max = min + (1 + integer(999)) / 10 ** integer(4)
  return {
    type: 'number',
    ...sometimes(integer, () => ({ [pick(integer, ['minimum', 'exclusiveMinimum'])]: min })),
    ...sometimes(integer, () => ({ [pick(integer, ['maximum', 'exclusiveMaximum'])]: max })),
  }
}

function values(integer: Integers): Schema {
  if (integer(2) === 0) return { const: pick(integer, VALUES) }
  const chosen = Array.from({ length: 1 + integer(4) }, () => pick(integer, VALUES))
  return { enum: [...new Set(chosen)] }
}

function array(integer: Integers, depth: number): Schema {
  const minItems = integer(3)
  return {
    type: 'array',
    ...sometimes(integer, () => ({ items: part(integer, depth - 1) })),
    ...sometimes(integer, () => ({ minItems, maxItems: minItems + integer(3) })),
  }
}

function tuple(integer: Integers, depth: number): Schema {
  const prefixItems = Array.from({ length: 1 + integer(3) }, () => part(integer, depth - 1))
  return {
    type: 'array',
    prefixItems,
    ...sometimes(integer, () => ({ items: part(integer, depth - 1) })),
    ...sometimes(integer, () => ({ minItems: integer(3), maxItems: 3 + integer(3) })),
  }
}

function object(integer: Integers, depth: number): Schema {
  const names = NAMES.filter(() => integer(3) === 0)
  const properties = Object.fromEntries(names.map((name) => [name, part(integer, depth - 1)]))
  return {
    ...sometimes(integer, () => ({ type: 'object' })),
    properties,
    required: NAMES.filter((name) => integer(names.includes(name) ? 2 : 12) === 0),
    ...sometimes(integer, () => ({ additionalProperties: part(integer, depth - 1) })),
    ...sometimes(integer, () => ({ minProperties: integer(2) })),
  }
}

function anyOf(integer: Integers, depth: number): Schema {
  const schemas = Array.from({ length: 1 + integer(3) }, () => part(integer, depth - 1))
  return { anyOf: schemas, description: 'one of them' }
}

function reference(integer: Integers): Schema {
  return { $ref: pick(integer, ['#/$defs/leaf', '#/$defs/list']) }
}
