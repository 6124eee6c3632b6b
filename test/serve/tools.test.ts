// Calls of tools: found in what models write, and forced.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CallSplitter } from '../../lib/serve/tools/call-splitter.js'
import { callFormatOf } from '../../lib/serve/tools/calls.js'
import { parsePythonCalls } from '../../lib/serve/tools/python-calls.js'
import { eventsOf, json, startServer, type TestServer } from '../support/serving.js'

const weather = {
  name: 'weather',
  description: 'The weather of a city',
  parameters: {
    type: 'object',
    properties: {
      city: { enum: ['Rome', 'Oslo'] },
      days: { type: 'integer', minimum: 1, maximum: 9 },
    },
    required: ['city', 'days'],
  },
}
const clock = { name: 'clock', parameters: { type: 'object', properties: {} } }
const rome = { name: 'weather', arguments: { city: 'Rome', days: 3 } }
const noArguments = { name: 'clock', arguments: {} }

// A part of the chat template that tells the form, and an answer in that form. The templates are those that the models
// are published with; the form of LFM2 is in Liquid AI's documentation of tool use too.
const FORMS = [
  [
    'ibm-granite/granite-4.0-h-tiny, chat_template.jinja',
    'For each tool call, return a json object with function name and arguments within <tool_call></tool_call> XML tags',
    'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 3}}\n</tool_call>\n<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
  ],
  [
    'nvidia/NVIDIA-Nemotron-Nano-9B-v2, tokenizer_config.json',
    "{{- '<TOOLCALL>[' -}}",
    'I look.\n<TOOLCALL>[{"name": "weather", "arguments": {"city": "Rome", "days": 3}}, {"name": "clock", "arguments": {}}]</TOOLCALL>\n',
  ],
  [
    'LiquidAI/LFM2-1.2B, chat_template.jinja',
    'List of tools: <|tool_list_start|>[',
    'I look.<|tool_call_start|>[weather(city="Rome", days=3), clock()]<|tool_call_end|>',
  ],
  [
    'Qwen/Qwen3.5, chat_template.jinja',
    '<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>',
    'I look.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=clock>\n</function>\n</tool_call>',
  ],
] as const

describe.each(FORMS)('%s', (_, template, answer) => {
  const format = callFormatOf(template)!

  it.each([1, 2, 5, 1000])('is found in pieces of %i characters', (size) => {
    const splitter = new CallSplitter(format, [weather, clock])
    let text = ''
    const calls: object[] = []
    const take = (split: { text: string; calls: object[] }) => {
      text += split.text
      calls.push(...split.calls)
    }
    for (let i = 0; i < answer.length; i += size) take(splitter.push(answer.slice(i, i + size)))
    take(splitter.flush())
    expect(text).toBe('I look.')
    expect(calls).toEqual([rome, noArguments])
  })

  it('is text where it is no call', () => {
    const text = `Write ${format.open}so or so${format.close} for a call.`
    const splitter = new CallSplitter(format, [weather])
    expect(splitter.push(text).text + splitter.flush().text).toContain('so or so')
  })
})

describe('calls in Python', () => {
  it('have values of all kinds', () => {
    const text = `[a.b(x='it\\'s', y=[1, -2.5, {"k": None}], z=True), c()]`
    expect(parsePythonCalls(text)).toEqual([
      { name: 'a.b', arguments: { x: "it's", y: [1, -2.5, { k: null }], z: true } },
      { name: 'c', arguments: {} },
    ])
  })

  it.each(['', '[', 'a', 'a(', 'a(1)', 'a(x=)', 'a(x=b)', '[a()] and', `a(x=${'['.repeat(100)}`])(
    '%s is none',
    (text) => {
      expect(parsePythonCalls(text)).toBeUndefined()
    },
  )
})

// As Qwen's and Granite's, shorter.
const TEMPLATE = `
{%- if tools %}{{ '<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools>' }}{% endif %}
{%- for message in messages %}{{ message.role ~ ': ' ~ message.content }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' ~ (call.function | tojson) ~ '</tool_call>' }}{% endfor %}{{ ';' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}`

describe('tool_choice', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer({}, { chatTemplate: TEMPLATE })
  })
  afterAll(() => server.stop())

  const tools = [weather, clock].map((tool) => ({ type: 'function', function: tool }))
  const asked = {
    messages: [
      { role: 'user', content: 'Weather?' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: '1', type: 'function', function: { name: 'clock', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: '1', content: 'noon' },
    ],
    tools,
    max_tokens: 60,
    seed: 3,
  }

  it.each(['required', { type: 'function', function: { name: 'weather' } }])(
    '%j has a tool called, by its schema',
    async (tool_choice) => {
      const { choices } = await json(server.post('/v1/chat/completions', { ...asked, tool_choice }))
      const [{ message, finish_reason }] = choices
      expect(finish_reason).toBe('tool_calls')
      expect(message.content).toBeNull()
      const [{ id, type, function: called }] = message.tool_calls
      expect([typeof id, type]).toEqual(['string', 'function'])
      const names = tool_choice === 'required' ? ['weather', 'clock'] : ['weather']
      expect(names).toContain(called.name)
      if (called.name === 'weather') {
        expect(['Rome', 'Oslo']).toContain(JSON.parse(called.arguments).city)
      }
    },
  )

  it('streams the same call', async () => {
    const body = { ...asked, tool_choice: { type: 'function', function: { name: 'weather' } } }
    const { choices } = await json(server.post('/v1/chat/completions', body))
    const events = await server
      .post('/v1/chat/completions', { ...body, stream: true })
      .then(eventsOf)
    const deltas = events.flatMap(({ choices: [choice] }) => choice.delta.tool_calls ?? [])
    expect(deltas.map(({ index, function: called }) => [index, called])).toEqual([
      [0, choices[0].message.tool_calls[0].function],
    ])
    expect(events.at(-1).choices[0].finish_reason).toBe('tool_calls')
  })

  it('auto and none leave it to the model', async () => {
    for (const tool_choice of ['auto', 'none']) {
      const { choices } = await json(server.post('/v1/chat/completions', { ...asked, tool_choice }))
      expect(typeof choices[0].message.content).toBe('string')
    }
  })

  it('names a tool that is there', async () => {
    const tool_choice = { type: 'function', function: { name: 'other' } }
    const response = await server.post('/v1/chat/completions', { ...asked, tool_choice })
    expect([response.status, (await json(response)).error.param]).toEqual([400, 'tool_choice'])
  })

  it('works for responses, whole and streamed', async () => {
    const input = [
      { role: 'user', content: [{ type: 'input_text', text: 'Weather?' }] },
      { type: 'function_call', call_id: '1', name: 'clock', arguments: '{}' },
      { type: 'function_call_output', call_id: '1', output: 'noon' },
    ]
    const body = {
      input,
      tools: [{ type: 'function', ...weather }],
      tool_choice: 'required',
      max_output_tokens: 60,
      seed: 3,
    }
    const whole = await json(server.post('/v1/responses', body))
    expect(whole).toMatchObject({ object: 'response', status: 'completed', store: false })
    expect(whole.output).toMatchObject([{ type: 'function_call', name: 'weather' }])
    const text = await (await server.post('/v1/responses', { ...body, stream: true })).text()
    const events = text
      .trimEnd()
      .split('\n\n')
      .map((part) => JSON.parse(part.split('\ndata: ')[1]!))
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i))
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ])
    expect(events.at(-1).response.output[0].arguments).toBe(whole.output[0].arguments)
  })
})

describe('responses', () => {
  it('are text, whole and streamed', async () => {
    const server = await startServer()
    try {
      const body = { input: 'Hello', instructions: 'Be brief.', max_output_tokens: 8, seed: 1 }
      const whole = await json(server.post('/v1/responses', body))
      expect(whole).toMatchObject({
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        usage: { output_tokens: 8 },
        output: [{ type: 'message', role: 'assistant', content: [{ type: 'output_text' }] }],
      })
      const text = await (await server.post('/v1/responses', { ...body, stream: true })).text()
      const deltas = [...text.matchAll(/^data: (\{"type":"response.output_text.delta".*)$/gm)]
      const streamed = deltas.map(([, data]) => JSON.parse(data!).delta).join('')
      expect(streamed).toBe(whole.output[0].content[0].text)
      for (const fields of [{ store: true }, { previous_response_id: 'resp_1' }, { n: 2 }]) {
        expect((await server.post('/v1/responses', { ...body, ...fields })).status).toBe(400)
      }
    } finally {
      await server.stop()
    }
  })
})
