// Calls of tools that a request forces, through the server.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventsOf, json, serverForTest, startServer, type TestServer } from '../support/serving.js'
import { TOOL_TEMPLATE, weather } from '../support/tools.js'

const clock = { name: 'clock', parameters: { type: 'object', properties: {} } }

describe('tool_choice', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer({}, { chatTemplate: TOOL_TEMPLATE })
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
    parallel_tool_calls: false,
    max_tokens: 100,
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

  it.each([
    { type: 'function', function: { name: 'other' } },
    { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ name: 'clock' }] } },
    'any',
  ])('%j is a 400', async (tool_choice) => {
    const response = await server.post('/v1/chat/completions', { ...asked, tool_choice })
    expect([response.status, (await json(response)).error.param]).toEqual([400, 'tool_choice'])
  })

  it('takes some of the tools', async () => {
    const some = { mode: 'required', tools: [{ type: 'function', function: { name: 'clock' } }] }
    const tool_choice = { type: 'allowed_tools', allowed_tools: some }
    const { choices } = await json(server.post('/v1/chat/completions', { ...asked, tool_choice }))
    expect(choices[0].message.tool_calls[0].function).toEqual({ name: 'clock', arguments: '{}' })
  })

  it('gives one call or more where several may be made, whole ones where the text is cut', async () => {
    const body = { ...asked, parallel_tool_calls: true, tool_choice: 'required' }
    const { choices } = await json(server.post('/v1/chat/completions', body))
    const [{ message, finish_reason }] = choices
    expect(message.tool_calls.length).toBeGreaterThan(0)
    expect(finish_reason).toBe(message.content === null ? 'tool_calls' : 'length')
    for (const { function: called } of message.tool_calls) JSON.parse(called.arguments)
  })

  it('says what of a schema cannot be kept to', async () => {
    const parameters = { type: 'object', properties: { a: { not: {} } } }
    const tools = [{ type: 'function', function: { name: 'f', parameters } }]
    const body = { ...asked, tools, tool_choice: 'required', stream: true }
    const response = await server.post('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    expect((await json(response)).error).toMatchObject({
      param: 'tools',
      message: expect.stringContaining('"f" uses "not" at /properties/a'),
    })
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
      parallel_tool_calls: false,
      max_output_tokens: 100,
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

// What tells a form in published templates, with the tools and nothing else that they have.
const FORM_TEMPLATES = {
  'a list of JSON': '<TOOLCALL>',
  Python: '<|tool_call_start|>',
  XML: '<tool_call><function=',
}

describe.each(Object.entries(FORM_TEMPLATES))('a template of calls in %s', (_, mark) => {
  it.each(['', '<think>'])('has one called, behind thoughts, opened by "%s"', async (opening) => {
    const tags = opening === '' ? '' : '</think>'
    const chatTemplate = `{# ${mark} ${tags} #}{{ tools | tojson }}{{ messages[-1].content }}\n${opening}`
    const server = await serverForTest({}, { chatTemplate })
    const body = {
      messages: [{ role: 'user', content: 'Weather?' }],
      tools: [{ type: 'function', function: weather }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      seed: 1,
      max_tokens: 100,
    }
    const { choices } = await json(server.post('/v1/chat/completions', body))
    const [{ message, finish_reason }] = choices
    if (opening !== '') {
      // The model does not know the tag that ends its thoughts.
      expect([finish_reason, message.tool_calls]).toEqual(['length', undefined])
      expect(message.reasoning_content).not.toBe('')
      return
    }
    expect(finish_reason).toBe('tool_calls')
    const { city, days } = JSON.parse(message.tool_calls[0].function.arguments)
    expect(['Rome', 'Oslo']).toContain(city)
    expect(days).toBeGreaterThan(0)
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
      const refused = {
        store: true,
        previous_response_id: 'resp_1',
        n: 2,
        conversation: 'conv_1',
        background: true,
        truncation: 'auto',
        include: ['file_search_call.results'],
        top_logprobs: 2,
        reasoning: { effort: 'high' },
        text: { verbosity: 'low' },
        tools: [{ type: 'web_search' }],
      }
      for (const [name, value] of Object.entries(refused)) {
        const response = await server.post('/v1/responses', { ...body, [name]: value })
        expect([name, response.status]).toEqual([name, 400])
      }
      const nothing = {
        store: false,
        previous_response_id: null,
        conversation: null,
        background: false,
        truncation: 'disabled',
        include: ['reasoning.encrypted_content'],
        top_logprobs: 0,
        reasoning: { effort: 'medium', summary: 'auto' },
        text: { verbosity: 'medium', format: { type: 'text' } },
        tools: [],
        tool_choice: 'auto',
        parallel_tool_calls: true,
        max_tool_calls: null,
        prompt: null,
        service_tier: 'auto',
        stream_options: null,
        metadata: { a: '1' },
        user: 'me',
        safety_identifier: 'a',
        prompt_cache_key: 'b',
      }
      const same = await json(server.post('/v1/responses', { ...body, ...nothing }))
      expect(same.output).toMatchObject([{ content: whole.output[0].content }])
      expect(same).toMatchObject({ metadata: { a: '1' }, tool_choice: 'auto', user: 'me' })
    } finally {
      await server.stop()
    }
  })
})
