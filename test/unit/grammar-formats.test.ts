import { describe, expect, it } from 'vitest'
import {
  type ConstrainedFormat,
  checkResponseFormat,
  grammarOf,
} from '../../lib/grammar/response-format.js'

const ofSchema = (schema: unknown) =>
  grammarOf('generate', { type: 'json_schema', schema } as ConstrainedFormat)
const ofPattern = (pattern: string) => grammarOf('generate', { type: 'regex', pattern })
const ofGrammar = (grammar: string) => grammarOf('generate', { type: 'grammar', grammar })

describe('grammarOf', () => {
  it('names a keyword that is not supported, and where it is', () => {
    const keywords = {
      not: {},
      if: {},
      dependentRequired: {},
      dependentSchemas: {},
      patternProperties: {},
      propertyNames: {},
      unevaluatedProperties: false,
      unevaluatedItems: false,
      contains: {},
      additionalItems: false,
      multipleOf: 2,
      contentEncoding: 'base64',
      $anchor: 'a',
      $dynamicRef: '#a',
      $id: 'https://example.com/a',
      nullable: true,
      maxlength: 3,
      uniqueItems: true,
    }
    for (const [keyword, value] of Object.entries(keywords)) {
      const schema = { properties: { 'a/b': { type: 'array', [keyword]: value } } }
      expect(() => ofSchema(schema), keyword).toThrow(
        `[generate] responseFormat.schema uses "${keyword}" at /properties/a~1b, which is not supported: ` +
          'leave it out, or check the result yourself',
      )
    }
    expect(() => ofSchema({ not: {} })).toThrow(
      'responseFormat.schema uses "not" at its root, which',
    )
  })

  it('names keywords that are not supported together', () => {
    for (const [schema, message] of [
      [{ $ref: '#/$defs/a', minLength: 2, $defs: { a: {} } }, '"minLength" beside "$ref"'],
      [{ enum: [1], minimum: 0 }, '"minimum" beside "enum"'],
      [{ const: 'a', pattern: 'a' }, '"pattern" beside "const"'],
      [{ type: 'object', anyOf: [{}] }, '"type" beside "anyOf"'],
      [{ anyOf: [{}], oneOf: [{}] }, '"oneOf" beside "anyOf"'],
      [{ pattern: 'a', maxLength: 3 }, '"maxLength" beside "pattern"'],
      [{ pattern: 'a', format: 'date' }, '"format" beside "pattern"'],
      [{ format: 'date', minLength: 3 }, '"minLength" beside "format"'],
      [{ allOf: [{}, {}] }, '"allOf" with more than one schema'],
      [
        { oneOf: [{ type: 'number' }, { type: 'integer' }] },
        '"oneOf" with schemas that one value might both',
      ],
      [
        { oneOf: [{ const: 1 }, { enum: [2, 1] }] },
        '"oneOf" with schemas that one value might both be valid under (0 and 1; "anyOf" is supported)',
      ],
      [
        { oneOf: [{ type: 'null' }, { type: 'object' }, { type: ['object', 'array'] }] },
        '"oneOf" with schemas that one value might both be valid under (1 and 2;',
      ],
      [{ minProperties: 2 }, 'a "minProperties" above 1'],
      [{ properties: { a: {}, b: {} }, maxProperties: 1 }, 'a "maxProperties" below'],
      [{ format: 'hostname' }, 'the format "hostname" (those known are date,'],
      [{ maxLength: 129 }, 'a "maxLength" above 128'],
      [{ minLength: 129 }, 'a "minLength" above 128'],
      [{ type: 'number', minimum: 1e10 }, 'a "minimum" of 10000000000 for numbers'],
      [{ type: 'number', exclusiveMaximum: -1e-7 }, 'a "exclusiveMaximum" of -1e-7 for numbers'],
      [
        { type: 'integer', minimum: 1e15 },
        'bounds that leave integers of more than 15 digits only',
      ],
      [
        { $ref: 'https://example.com/schema' },
        'the "$ref" "https://example.com/schema", which does not begin',
      ],
      [{ $ref: '#a' }, 'the "$ref" "#a"'],
    ] as const) {
      expect(() => ofSchema(schema), JSON.stringify(schema)).toThrow(
        `responseFormat.schema uses ${message}`,
      )
      expect(() => ofSchema(schema)).toThrow('which is not supported')
    }
  })

  it('takes what has no effect, and oneOf where no value is valid under two', () => {
    const tagged = (tag: string) => ({
      properties: { tag: { const: tag } },
      required: ['tag'],
      type: 'object',
    })
    for (const schema of [
      {
        $schema: 'x',
        $id: 'x',
        title: 'x',
        description: 'x',
        default: 1,
        examples: [],
        deprecated: true,
      },
      {
        $comment: 'x',
        readOnly: true,
        writeOnly: true,
        'x-order': 1,
        definitions: {},
        type: 'null',
      },
      { type: 'integer', minLength: 3 },
      { uniqueItems: false },
      {
        oneOf: [
          tagged('a'),
          tagged('b'),
          { type: ['string', 'null'] },
          { enum: [1, 2] },
          { const: 3 },
        ],
      },
      { oneOf: [{ $ref: '#/$defs/a' }, { type: 'array' }], $defs: { a: tagged('a') } },
      { allOf: [{ $ref: '#/$defs/a b%25/0' }], $defs: { 'a b%': [{ type: 'null' }] } },
    ]) {
      expect(() => ofSchema(schema), JSON.stringify(schema)).not.toThrow()
    }
  })

  it('says what is wrong in a schema', () => {
    for (const [schema, message] of [
      [{ type: 'text' }, 'a wrong "type" at its root: it must be one of string, number,'],
      [{ type: [] }, 'a wrong "type" at its root'],
      [{ properties: [] }, 'a wrong "properties" at its root: it must be an object of schemas'],
      [
        { properties: { a: { required: 'a' } } },
        'a wrong "required" at /properties/a: it must be a list of names',
      ],
      [
        { items: [{}] },
        'a wrong "items" at its root: it must be a schema (for a list, use "prefixItems")',
      ],
      [
        { prefixItems: [{ minItems: -1 }] },
        'a wrong "minItems" at /prefixItems/0: it must be a whole number',
      ],
      [{ maxLength: 1.5 }, 'a wrong "maxLength"'],
      [{ minimum: '1' }, 'a wrong "minimum" at its root: it must be a number'],
      [{ pattern: 1 }, 'a wrong "pattern"'],
      [{ format: 1 }, 'a wrong "format"'],
      [{ enum: 'a' }, 'a wrong "enum"'],
      [{ anyOf: [] }, 'a wrong "anyOf" at its root: it must be a list of at least one schema'],
      [{ $ref: 1 }, 'a wrong "$ref"'],
      [
        { properties: { a: { pattern: 'a(' } } },
        'a "pattern" at /properties/a that is wrong at character 3: a ")"',
      ],
      [{ items: { $ref: '#/$defs/a' } }, 'a "$ref" at /items to "#/$defs/a", where nothing is'],
      [{ $ref: '#' }, 'a "$ref" at its root that leads back to itself'],
      [
        { anyOf: [{ $ref: '#/$defs/a' }], $defs: { a: { allOf: [{ $ref: '#/$defs/a' }] } } },
        'a "$ref" at /$defs/a/allOf/0 that leads',
      ],
    ] as const) {
      expect(() => ofSchema(schema), JSON.stringify(schema)).toThrow(
        `responseFormat.schema has ${message}`,
      )
    }
    expect(() => ofSchema({ properties: { a: 1 } })).toThrow(
      'must have an object or a boolean at /properties/a',
    )
  })

  it('refuses what can never be met', () => {
    for (const schema of [
      false,
      { enum: [] },
      { type: 'string', enum: [1, null] },
      { type: 'string', minLength: 3, maxLength: 2 },
      { type: 'array', minItems: 2, maxItems: 1 },
      { type: 'array', items: false, minItems: 1 },
      { type: 'integer', minimum: 1.2, maximum: 1.8 },
      { type: 'number', minimum: 2, maximum: 1 },
      { type: 'number', exclusiveMinimum: 1, maximum: 1 },
      { type: 'object', required: ['a'], additionalProperties: false },
      { type: 'object', properties: { a: false }, required: ['a'] },
      { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] },
      { type: 'string', pattern: '^[]$' },
    ]) {
      expect(() => ofSchema(schema), JSON.stringify(schema)).toThrow(
        '[generate] responseFormat.schema can never be met',
      )
    }
    expect(() => ofGrammar('root ::= "a" root')).toThrow(
      '[generate] responseFormat.grammar can never be met',
    )
    expect(() => ofPattern('[]')).toThrow('[generate] responseFormat.pattern can never be met')
  })

  it('takes a schema for data, whatever the object is', () => {
    const cyclic: Record<string, unknown> = { type: 'object' }
    cyclic.properties = { a: cyclic }
    expect(() => ofSchema(cyclic)).toThrow('responseFormat.schema is no JSON')
    expect(() => ofSchema({ const: 1n })).toThrow('is no JSON')
    expect(() => ofSchema({ toJSON: () => undefined })).toThrow('is no JSON')
    expect(() => ofSchema({ toJSON: () => ({ not: {} }) })).toThrow('uses "not"')
    const thrower = {
      get type() {
        throw new Error('got me')
      },
    }
    expect(() => ofSchema(thrower)).toThrow('is no JSON: got me')
    let reads = 0
    const changing = {
      get type() {
        return reads++ === 0 ? 'null' : 'nonsense'
      },
    }
    expect(() => ofSchema(changing)).not.toThrow()
    const polluted = JSON.parse(
      '{"type": "object", "properties": {"__proto__": {"not": {}}}}',
    ) as object
    expect(() => ofSchema(polluted)).toThrow('uses "not" at /properties/__proto__')
    expect(() => ofSchema({ properties: { a: { $ref: '#/constructor' } } })).toThrow(
      'where nothing is',
    )
    expect(() => ofSchema({ type: 'constructor' })).toThrow('a wrong "type"')
    expect(() => ofSchema({ format: 'constructor' })).toThrow('the format "constructor"')
  })

  it('bounds what it takes', () => {
    let deep: object = {}
    for (let level = 0; level < 40; level++) deep = { items: deep, type: 'array' }
    expect(() => ofSchema(deep)).not.toThrow()
    for (let level = 0; level < 40; level++) deep = { items: deep, type: 'array' }
    expect(() => ofSchema(deep)).toThrow('is more than 64 levels deep')
    for (let level = 0; level < 4_000; level++) deep = { items: deep }
    expect(() => ofSchema(deep)).toThrow(/is more than 64 levels deep|is no JSON/)
    expect(() => ofSchema({ enum: Array.from({ length: 6_000 }, (_, index) => index) })).toThrow(
      'has more than 5000 parts',
    )
    expect(() => ofSchema({ description: 'x'.repeat(70_000) })).toThrow(
      '65536 is as large as it may be',
    )
    expect(() => ofSchema({ properties: { ['x'.repeat(257)]: {} } })).toThrow(
      'at most 256 characters',
    )
    expect(() => ofSchema({ anyOf: Array.from({ length: 65 }, () => ({})) })).toThrow(
      'at most 64 schemas',
    )
    expect(() => ofSchema({ items: {}, maxItems: 1e6 })).toThrow('is too large')
    expect(() => ofPattern('((((a{1,99}){1,99}){1,99}){1,99}){1,99}')).toThrow('is too large')
    expect(() => ofPattern('((((){256}){256}){256}){256}')).toThrow('is too large')
    expect(() => ofPattern('a'.repeat(5_000))).toThrow(
      'responseFormat.pattern has 5000 characters, but 4096',
    )
    expect(() => ofPattern('('.repeat(80))).toThrow('groups may be 64 deep')
    expect(() => ofGrammar(`root ::= ${'('.repeat(80)}`)).toThrow('groups may be 64 deep')
    expect(() => ofGrammar(`root ::= "${'a'.repeat(70_000)}"`)).toThrow('but 65536 is as long')
    // Each refers twice to the next.
    const doubling = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => {
        const next = { $ref: `#/$defs/a${index + 1}` }
        return [`a${index}`, { type: 'array', prefixItems: [next, next] }]
      }),
    )
    expect(() =>
      ofSchema({ $ref: '#/$defs/a0', $defs: { ...doubling, a60: { type: 'null' } } }),
    ).not.toThrow()
  })

  it('says where a regular expression is wrong, and what is not supported in it', () => {
    for (const [pattern, message] of [
      ['a(b', 'character 4: a ")" is missing'],
      ['a)', 'character 2: ")" has no "(" before it'],
      ['[a', 'a "]" is missing'],
      ['a**', '"*" must be escaped here'],
      ['a{2,1}', 'out of order'],
      ['a{300}', '{} may go up to 256'],
      ['{', '"{" must be escaped here'],
      ['a{,2}', 'a number must follow'],
      ['[z-a]', 'out of order'],
      ['[\\d-z]', 'a range must be between two characters'],
      ['(?=a)b', 'lookahead is not supported'],
      ['(?<!a)b', 'lookbehind is not supported'],
      ['(?i:a)', '(?: and (?<name> are the groups'],
      ['(a)\\1', 'back references are not supported'],
      ['\\bword', 'word boundaries are not supported'],
      ['\\p{L}', 'Unicode properties are not supported'],
      ['a^b', '"^" is supported at the start'],
      ['(a$)', '"$" is supported at the end'],
      ['\\q', '"\\q" is no escape'],
      ['\\', 'something must follow'],
      ['\\xZZ', '2 hexadecimal digits must follow'],
      ['\\u{110000}', 'a code point and "}" must follow'],
      ['\\ud800', 'half of a surrogate pair'],
      ['(?<>a)', 'a name and ">" must follow'],
    ] as const) {
      expect(() => ofPattern(pattern), pattern).toThrow(message)
      expect(() => ofPattern(pattern)).toThrow(
        /^\[generate\] responseFormat\.pattern is wrong at character \d+: /,
      )
    }
    expect(() => ofPattern('\ud800')).toThrow('has half of a surrogate pair in it')
  })

  it('says where a grammar is wrong', () => {
    for (const [grammar, message] of [
      ['', 'there is no rule "root"'],
      ['a ::= "x"', 'there is no rule "root"'],
      ['root ::= a', 'there is no rule "a"'],
      ['root ::= "x"\nroot ::= "y"', 'line 2, column 5: the rule "root" is there twice'],
      ['root ::= "x', 'a closing sign is missing'],
      ['root ::= [x', 'a closing sign is missing'],
      ['root ::= ("x"', 'a ")" is missing'],
      ['root = "x"', '"::=" must follow'],
      ['root ::= *', 'a rule, "text", [characters], "." or (group) must follow'],
      ['root ::= "x")', 'the name of a rule must follow'],
      ['root ::= "x"{2,1}', 'out of order'],
      ['root ::= "x"{a}', 'a number must follow'],
      ['root ::= "x"{2', 'a "}" is missing'],
      ['root ::= "\\q"', '"\\q" is no escape'],
      ['root ::= "\\uD800"', 'this is no code point'],
      ['root ::= [z-a]', 'the ends of a range'],
    ] as const) {
      expect(() => ofGrammar(grammar), grammar).toThrow(message)
      expect(() => ofGrammar(grammar)).toThrow('[generate] responseFormat.grammar is wrong at ')
    }
  })
})

describe('checkResponseFormat', () => {
  it('refuses what is no format', () => {
    for (const [value, message] of [
      [undefined, 'type is one of text, json, json_schema, regex, grammar but is undefined'],
      ['json', 'but is "json"'],
      [{ type: 'xml' }, 'but is of type "xml"'],
      [{ type: 'constructor' }, 'but is of type "constructor"'],
      [{ type: 'json', schema: {} }, 'responseFormat of type json has no "schema"'],
      [{ type: 'json_schema', json_schema: {} }, 'has no "json_schema"; it has schema, strict'],
      [{ type: 'json_schema' }, 'responseFormat.schema must be a JSON Schema but is undefined'],
      [
        { type: 'json_schema', schema: [] },
        'responseFormat.schema must be a JSON Schema but is an array of 0',
      ],
      [
        { type: 'json_schema', schema: {}, strict: 1 },
        'responseFormat.strict must be true or false but is 1',
      ],
      [{ type: 'regex' }, 'responseFormat.pattern must be a string but is undefined'],
      [
        { type: 'grammar', grammar: /a/ },
        'responseFormat.grammar must be a string but is an object',
      ],
    ] as const) {
      expect(() => checkResponseFormat('generate', value)).toThrow(message)
      expect(() => checkResponseFormat('generate', value)).toThrow(TypeError)
    }
    expect(checkResponseFormat('generate', { type: 'text' })).toEqual({ type: 'text' })
  })
})
