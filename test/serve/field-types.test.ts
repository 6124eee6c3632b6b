// Fields of the wrong type: each is a 400 that names it, and nothing a client writes is the server's failure.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { json, startServer, type TestServer } from '../support/serving.js'
import { seededIntegers } from '../unit/random.js'

// Reads tools, and writes calls as the server knows them.
const TEMPLATE = `{% for message in messages %}{{ message.role ~ ': ' ~ message.content }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' ~ (call.function | tojson) ~ '</tool_call>' }}{% endfor %}
{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}`

let server: TestServer
beforeAll(async () => {
  server = await startServer({ maxTokens: 64 }, { chatTemplate: TEMPLATE })
})
afterAll(async () => {
  expect(server.lines).toEqual([])
  await server.stop()
})

type Json = Record<string, unknown>
type Kind = 'text' | 'number' | 'fraction' | 'boolean' | 'list' | 'object'

const VALUES: Record<Kind, unknown> = {
  text: 'text',
  number: 1,
  fraction: 1.5,
  boolean: true,
  list: [1],
  object: { a: 1 },
}
const NUMBERS: Kind[] = ['number', 'fraction']

/** The kinds of a field that are right; those that are right but refused for what they say are among them. */
type Table = Record<string, Kind[]>

const common: Table = {
  model: ['text'],
  temperature: NUMBERS,
  top_p: ['number'],
  top_k: ['number'],
  min_p: ['number'],
  repetition_penalty: NUMBERS,
  presence_penalty: NUMBERS,
  frequency_penalty: NUMBERS,
  logit_bias: [],
  seed: ['number'],
  stop: ['text'],
  stream: ['boolean'],
  store: [],
  service_tier: [],
}
const texts: Table = {
  ...common,
  n: ['number'],
  max_tokens: ['number'],
  stream_options: [],
  response_format: [],
  timings_per_token: ['boolean'],
}

const TABLES: [path: string, valid: Json, table: Table][] = [
  [
    '/v1/completions',
    { prompt: 'Once', max_tokens: 1 },
    {
      ...texts,
      prompt: ['text', 'list'],
      logprobs: ['number'],
      echo: [],
      suffix: [],
      best_of: ['number'],
    },
  ],
  [
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1 },
    {
      ...texts,
      messages: [],
      max_completion_tokens: ['number'],
      logprobs: ['boolean'],
      top_logprobs: [],
      continue_final_message: [],
      tools: [],
      tool_choice: [],
      parallel_tool_calls: ['boolean'],
      functions: [],
      function_call: [],
      audio: [],
      prediction: [],
      web_search_options: [],
      verbosity: [],
      modalities: [],
      chat_template_kwargs: ['object'],
      reasoning_effort: ['text'],
    },
  ],
  [
    '/v1/responses',
    { input: 'Hi', max_output_tokens: 1 },
    {
      ...common,
      input: ['text'],
      instructions: ['text'],
      max_output_tokens: ['number'],
      reasoning: [],
      text: [],
      tools: [],
      tool_choice: [],
      parallel_tool_calls: ['boolean'],
      previous_response_id: [],
      conversation: [],
      background: [],
      truncation: [],
      include: [],
      prompt: [],
      top_logprobs: [],
      max_tool_calls: [],
    },
  ],
  [
    '/tokenize',
    { content: 'a' },
    {
      model: ['text'],
      content: ['text'],
      add_special: ['boolean'],
      parse_special: ['boolean'],
      with_pieces: ['boolean'],
    },
  ],
  ['/detokenize', { tokens: [1] }, { model: ['text'], tokens: ['list'] }],
]

const cases = TABLES.flatMap(([path, valid, table]) =>
  Object.entries(table).map(([name, right]) => [path, name, valid, right] as const),
)

describe('a field of the wrong type', () => {
  it.each(cases)('%s %s', async (path, name, valid, right) => {
    for (const kind of Object.keys(VALUES) as Kind[]) {
      const response = await server.post(path, { ...valid, [name]: VALUES[kind] })
      const text = await response.text()
      if (right.includes(kind)) {
        // It may say something that is refused all the same.
        expect([200, 400, 404], `${kind}: ${text}`).toContain(response.status)
        continue
      }
      expect(response.status, `${kind}: ${text}`).toBe(400)
      const { error } = JSON.parse(text)
      expect(error.type).toBe('invalid_request_error')
      expect(error.param, kind).toMatch(new RegExp(`^${name}(?![a-z_])`))
      // It is known, whatever is in it.
      if (error.param === name) expect(error.code).not.toBe('unknown_parameter')
    }
  })

  const NESTED: [path: string, fields: Json, param: string][] = [
    ['messages[0]', { messages: ['Hi'] }, 'messages[0]'],
    ['a role', { messages: [{ role: 1, content: '' }] }, 'messages[0].role'],
    [
      'a content',
      { messages: [{ role: 'user', content: { type: 'text' } }] },
      'messages[0].content',
    ],
    ['a part', { messages: [{ role: 'user', content: [1] }] }, 'messages[0].content[0]'],
    ['a null part', { messages: [{ role: 'user', content: [null] }] }, 'messages[0].content[0]'],
    [
      "a part's text",
      { messages: [{ role: 'user', content: [{ type: 'text', text: 1 }] }] },
      'messages[0].content[0]',
    ],
    ['a name', { messages: [{ role: 'user', content: '', name: 1 }] }, 'messages[0].name'],
    [
      'thoughts',
      { messages: [{ role: 'assistant', content: '', reasoning_content: 1 }] },
      'messages[0].reasoning_content',
    ],
    ['calls', { messages: [{ role: 'assistant', tool_calls: {} }] }, 'messages[0].tool_calls'],
    [
      'a call',
      { messages: [{ role: 'assistant', tool_calls: [null] }] },
      'messages[0].tool_calls[0]',
    ],
    [
      "a call's function",
      { messages: [{ role: 'assistant', tool_calls: [{ function: 1 }] }] },
      'messages[0].tool_calls[0]',
    ],
    [
      'arguments',
      {
        messages: [{ role: 'assistant', tool_calls: [{ function: { name: 'a', arguments: {} } }] }],
      },
      'messages[0].tool_calls[0]',
    ],
    [
      'whose call it was',
      { messages: [{ role: 'tool', content: '', tool_call_id: 1 }] },
      'messages[0].tool_call_id',
    ],
    [
      'a field of a message',
      { messages: [{ role: 'user', content: '', weight: 1 }] },
      'messages[0].weight',
    ],
    [
      'an answer that goes on behind its calls',
      {
        messages: [
          {
            role: 'assistant',
            content: null,
            tool_calls: [{ function: { name: 'a', arguments: '' } }],
          },
        ],
        continue_final_message: true,
      },
      'continue_final_message',
    ],
    [
      'include_usage',
      { stream: true, stream_options: { include_usage: 1 } },
      'stream_options.include_usage',
    ],
    ['a bias', { logit_bias: { 1: 'a' } }, 'logit_bias'],
    ['a null bias', { logit_bias: { 1: null } }, 'logit_bias'],
    ["a bias's token", { logit_bias: { a: 1 } }, 'logit_bias'],
    ['a token beyond the vocabulary', { logit_bias: { 99999999: 1 } }, 'logit_bias'],
    ['a bias of __proto__', { logit_bias: JSON.parse('{"__proto__":1}') }, 'logit_bias'],
    ['a stop', { stop: [1] }, 'stop'],
    ['a nested stop', { stop: [['a']] }, 'stop'],
    ['a modality', { modalities: [1] }, 'modalities'],
    ['a format', { response_format: { type: 1 } }, 'response_format.type'],
    ['no schema', { response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
    [
      'a schema',
      { response_format: { type: 'json_schema', json_schema: { schema: [] } } },
      'response_format.json_schema.schema',
    ],
    [
      'strict',
      { response_format: { type: 'json_schema', json_schema: { strict: 1 } } },
      'response_format.json_schema.strict',
    ],
    [
      'a keyword',
      { response_format: { type: 'json_schema', json_schema: { schema: { type: 1 } } } },
      'response_format',
    ],
    ['a pattern', { response_format: { type: 'regex', pattern: 1 } }, 'response_format.pattern'],
    [
      'a pattern that is none',
      { response_format: { type: 'regex', pattern: '(' } },
      'response_format',
    ],
    [
      'a grammar that is none',
      { response_format: { type: 'grammar', grammar: 'a' } },
      'response_format',
    ],
    ['a tool', { tools: [1] }, 'tools[0]'],
    ['a null tool', { tools: [null] }, 'tools[0]'],
    ["a tool's type", { tools: [{ type: 'retrieval' }] }, 'tools[0].type'],
    ["a tool's function", { tools: [{ type: 'function', function: 1 }] }, 'tools[0].function'],
    [
      "a tool's name",
      { tools: [{ type: 'function', function: { name: 'a b' } }] },
      'tools[0].function.name',
    ],
    [
      "a tool's parameters",
      { tools: [{ type: 'function', function: { name: 'a', parameters: 1 } }] },
      'tools[0].function.parameters',
    ],
    [
      'a tool that is not given',
      {
        tools: [{ type: 'function', function: { name: 'a' } }],
        tool_choice: { type: 'function', function: { name: 'b' } },
      },
      'tool_choice',
    ],
    ['a tool without tools', { tool_choice: 'required' }, 'tool_choice'],
  ]
  it.each(NESTED)('%s in a chat', async (_, fields, param) => {
    const messages = [{ role: 'user', content: 'Hi' }]
    const response = await server.post('/v1/chat/completions', { messages, ...fields })
    const { error } = await json(response)
    expect([response.status, error.param]).toEqual([400, param])
  })

  const ITEMS: [item: unknown, param: string][] = [
    [1, 'input[0]'],
    [null, 'input[0]'],
    [[], 'input[0]'],
    [{ type: 1 }, 'input[0].type'],
    [{ type: 'image' }, 'input[0].type'],
    [{ role: 1 }, 'input[0].role'],
    [{ role: 'user', content: 1 }, 'input[0].content'],
    [{ role: 'user', content: [1] }, 'input[0].content[0]'],
    [{ type: 'function_call', name: 1 }, 'input[0].name'],
    [{ type: 'function_call', name: 'a', arguments: {} }, 'input[0].arguments'],
    [{ type: 'function_call_output', call_id: 1, output: '' }, 'input[0].call_id'],
    [{ type: 'function_call_output', call_id: 'a', output: 1 }, 'input[0].output'],
  ]
  it.each(ITEMS)('%j in the input of a response', async (item, param) => {
    const response = await server.post('/v1/responses', { input: [item] })
    const { error } = await json(response)
    expect([response.status, error.param]).toEqual([400, param])
  })

  it('text.format, by the name that it has in a response', async () => {
    const text = { format: { type: 'regex', pattern: '(' } }
    const { error } = await json(server.post('/v1/responses', { input: 'Hi', text }))
    expect([error.param, error.message]).toEqual([
      'text.format',
      expect.stringMatching(/^text\.format/),
    ])
  })

  it('tokens that are none', async () => {
    for (const prompt of [[-1], [1.5], [99_999_999], ['a', 1], [[]], [['a']], [], '']) {
      const response = await server.post('/v1/completions', { prompt })
      expect([response.status, (await json(response)).error.param]).toEqual([400, 'prompt'])
    }
    for (const tokens of [[-1], ['a'], [1.5], [99_999_999], 'a']) {
      expect((await server.post('/detokenize', { tokens })).status).toBe(400)
    }
  })
})

describe('requests by chance', () => {
  const draw = seededIntegers(7)
  const pick = <T>(list: readonly T[]): T => list[draw(list.length)]!
  const SCRAPS = [
    null,
    true,
    0,
    -1,
    1.5,
    2 ** 53,
    '',
    'a',
    'auto',
    'user',
    'assistant',
    'function',
    '\ud800',
    '\0',
    'a'.repeat(2000),
    [],
    {},
    [null],
    [[]],
    { type: 'text', text: 'a' },
    { type: 'function' },
    { name: 'a' },
    { type: 'json_schema' },
    { $ref: '#' },
    { anyOf: [] },
    '<|endoftext|>',
    '<tool_call>',
    '{"a":1}',
  ]
  const NAMES = [
    'type',
    'role',
    'content',
    'name',
    'function',
    'schema',
    'json_schema',
    'format',
    'properties',
    'strict',
    'a',
    '__proto__',
    'constructor',
    'toString',
  ]

  /** The value, with some part of it put in the place of another. */
  function spoiled(value: unknown, depth = 0): unknown {
    if (depth > 0 && draw(6) === 0) return pick(SCRAPS)
    if (Array.isArray(value)) {
      const list = value.map((one) => spoiled(one, depth + 1))
      return draw(4) === 0 ? [...list, pick(SCRAPS)] : list
    }
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([name, one]) => [name, spoiled(one, depth + 1)])
    if (draw(4) === 0) entries.push([pick(NAMES), pick(SCRAPS)])
    return Object.fromEntries(entries)
  }

  const tool = {
    type: 'function',
    function: {
      name: 'a',
      description: 'b',
      parameters: { type: 'object', properties: { c: { type: 'string' } } },
    },
  }
  const schema = { type: 'object', properties: { a: { enum: [1, 'b'] } }, required: ['a'] }
  const WHOLE: [string, Json][] = [
    [
      '/v1/completions',
      {
        prompt: ['Once', 'The sea'],
        max_tokens: 2,
        n: 1,
        stop: ['a'],
        logprobs: 1,
        stream: true,
        stream_options: { include_usage: true },
        logit_bias: { 1: 1 },
      },
    ],
    [
      '/v1/chat/completions',
      {
        messages: [
          { role: 'system', content: 'a' },
          { role: 'user', content: [{ type: 'text', text: 'b' }] },
          {
            role: 'assistant',
            content: null,
            tool_calls: [
              { id: 'c', type: 'function', function: { name: 'a', arguments: '{"c":1}' } },
            ],
          },
          { role: 'tool', tool_call_id: 'c', content: 'd' },
        ],
        max_tokens: 2,
        tools: [tool],
        tool_choice: 'auto',
        chat_template_kwargs: { a: 1 },
      },
    ],
    [
      '/v1/chat/completions',
      {
        messages: [{ role: 'user', content: 'a' }],
        max_tokens: 2,
        response_format: { type: 'json_schema', json_schema: { name: 'a', strict: true, schema } },
        logprobs: true,
        top_logprobs: 1,
      },
    ],
    [
      '/v1/responses',
      {
        input: [
          { role: 'user', content: [{ type: 'input_text', text: 'a' }] },
          { type: 'function_call', call_id: 'b', name: 'a', arguments: '{}' },
          { type: 'function_call_output', call_id: 'b', output: 'c' },
        ],
        instructions: 'd',
        max_output_tokens: 2,
        tools: [{ type: 'function', ...tool.function }],
        text: { format: { type: 'json_schema', name: 'a', schema } },
      },
    ],
    ['/tokenize', { content: 'Once', add_special: true, with_pieces: true }],
    ['/detokenize', { tokens: [1, 2, 3] }],
  ]

  it('are answered, or are wrong, and never a failure', async () => {
    const statuses = new Map<number, number>()
    for (let i = 0; i < 600; i++) {
      const [path, whole] = WHOLE[i % WHOLE.length]!
      const sent = spoiled(whole)
      const response = await server.post(path, sent)
      const text = await response.text()
      const { status } = response
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      expect([200, 400, 404], `${JSON.stringify(sent)}: ${text}`).toContain(status)
      // Nor an error behind the status.
      if (status === 200) expect(text).not.toMatch(/"type":"server_error"/)
      else expect(JSON.parse(text).error.message, text).not.toBe('')
    }
    // Both kinds, or it tests nothing.
    expect(statuses.get(200)).toBeGreaterThan(30)
    expect(statuses.get(400)).toBeGreaterThan(100)
  })
})
