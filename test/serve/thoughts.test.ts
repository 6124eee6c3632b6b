// Models that think: thoughts apart from answers and before forced calls, whose tags are special tokens or are not.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, type Model } from '../../lib/index.js'
import { chatPrompt } from '../../lib/serve/chat-prompt.js'
import { inputMessages } from '../../lib/serve/response-items.js'
import { toolPlan } from '../../lib/serve/tools/tool-plan.js'
import { chatMessages } from '../../lib/serve/chat-messages.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { writeTaggedModel } from '../support/scripted-model.js'
import { eventsOf, json, serverForTest } from '../support/serving.js'

// As Qwen's: what was thought since the last question is kept.
const TEMPLATE = `
{%- if tools %}{{ tools | tojson }}<tool_call>{% endif %}
{%- for message in messages %}{{ message.role ~ ': ' }}
{%- if message.reasoning_content %}{{ '<think>' ~ message.reasoning_content ~ '</think>' }}{% endif %}
{{- message.content }}
{%- for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %};
{%- endfor %}
{%- if add_generation_prompt %}{{ 'assistant' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% else %}{{ OPENING }}{% endif %}
{%- endif %}`
const templateOf = (opening: string) => TEMPLATE.replace('OPENING', JSON.stringify(opening))

const TAGS = {
  'special tokens': true,
  'tokens that are text': false,
} as const
const JSON_CALLS = ['<tool_call>', '</tool_call>'] as const
const PYTHON_CALLS = ['<|tool_call_start|>', '<|tool_call_end|>'] as const

/** A server of a model that says a script, of which the prompt ends with the first token. */
async function serverSaying(
  script: string,
  special: boolean,
  opening: string,
  callTags: readonly [string, string] = JSON_CALLS,
) {
  const folder = await temporaryFolder()
  const pieces = ['<think>', '</think>', ...callTags]
  await writeTaggedModel(folder, script, { pieces, special })
  const chatTemplate = templateOf(opening).replace(JSON_CALLS[0], callTags[0])
  const loading = { chatTemplate, promptCache: false } as const
  return serverForTest({ alias: 'thinker' }, loading, folder)
}

const messages = [{ role: 'user', content: 'Hi' }]
const greedy = { messages, temperature: 0, max_tokens: 150 }

const call = {
  name: 'pick',
  parameters: {
    type: 'object',
    properties: { n: { enum: [1, 2] } },
    required: ['n'],
  },
}
const forced = {
  tools: [{ type: 'function', function: call }],
  tool_choice: 'required',
  parallel_tool_calls: false,
}

describe.each(Object.entries(TAGS))('thoughts between %s', (_, special) => {
  // The model writes the first tag itself, or the prompt has it.
  it.each([
    ['by the model', '><think>Hm!</think>Yes.', '>'],
    ['by the prompt', '<think>Hm!</think>Yes.', '<think>'],
  ])('that are opened %s are reasoning_content', async (_, script, opening) => {
    const server = await serverSaying(script, special, opening)
    const { choices, usage } = await json(server.post('/v1/chat/completions', greedy))
    expect(choices[0]).toMatchObject({
      message: { role: 'assistant', content: 'Yes.', reasoning_content: 'Hm!' },
      finish_reason: 'stop',
    })
    const { reasoning_tokens } = usage.completion_tokens_details
    expect(usage.completion_tokens - reasoning_tokens).toBe(4)
    expect(reasoning_tokens).toBe(opening === '<think>' ? 4 : 5)

    const body = { ...greedy, stream: true, stream_options: { include_usage: true } }
    const events = await server.post('/v1/chat/completions', body).then(eventsOf)
    const deltas = events.flatMap(({ choices: [choice] }) => (choice ? [choice.delta] : []))
    const joined = (name: string) => deltas.map((delta) => delta[name] ?? '').join('')
    expect([joined('reasoning_content'), joined('content')]).toEqual(['Hm!', 'Yes.'])
    // Thoughts first.
    const lastThought = deltas.findLastIndex((delta) => delta.reasoning_content)
    expect(deltas.slice(0, lastThought).some((delta) => delta.content)).toBe(false)
    expect(events.at(-1).usage).toEqual(usage)
  })

  it.each([
    ['by the model', '><think>Hm!</think>Yes.', '>'],
    ['by the prompt', '<think>Hm!</think>Yes.', '<think>'],
  ])('that are opened %s come before a forced call', async (_, script, opening) => {
    const server = await serverSaying(script, special, opening)
    const body = { ...greedy, ...forced }
    const { choices } = await json(server.post('/v1/chat/completions', body))
    const [{ message, finish_reason }] = choices
    expect([message.content, message.reasoning_content, finish_reason]).toEqual([
      null,
      'Hm!',
      'tool_calls',
    ])
    const [{ function: called }] = message.tool_calls
    expect(called.name).toBe('pick')
    expect([1, 2]).toContain(JSON.parse(called.arguments).n)

    const events = await server
      .post('/v1/chat/completions', { ...body, stream: true })
      .then(eventsOf)
    const deltas = events.map(({ choices: [choice] }) => choice.delta)
    expect(deltas.map((delta) => delta.content ?? '').join('')).toBe('')
    expect(deltas.flatMap((delta) => delta.tool_calls ?? [])).toMatchObject([{ function: called }])
  })

  it('come before a call that the model makes by itself', async () => {
    const script = '<think>H!</think>So:<|tool_call_start|>[pick()]<|tool_call_end|>'
    const server = await serverSaying(script, special, '<think>', PYTHON_CALLS)
    const body = { ...greedy, tools: forced.tools }
    const { choices } = await json(server.post('/v1/chat/completions', body))
    expect(choices[0]).toMatchObject({
      message: {
        content: 'So:',
        reasoning_content: 'H!',
        tool_calls: [{ type: 'function', function: { name: 'pick', arguments: '{}' } }],
      },
      finish_reason: 'tool_calls',
    })
    const { output } = await json(
      server.post('/v1/responses', {
        input: 'Hi',
        temperature: 0,
        tools: [{ type: 'function', ...call }],
      }),
    )
    expect(output).toMatchObject([
      { type: 'reasoning' },
      { type: 'message' },
      { type: 'function_call', name: 'pick', arguments: '{}' },
    ])
  })

  it('are left out where they are not wanted', async () => {
    const server = await serverSaying('</think>Yes.', special, '<think>')
    for (const more of [
      { chat_template_kwargs: { enable_thinking: false } },
      { reasoning_effort: 'none' },
    ]) {
      const { choices } = await json(server.post('/v1/chat/completions', { ...greedy, ...more }))
      expect(choices[0].message).toEqual({ role: 'assistant', content: 'Yes.', refusal: null })
      const called = await json(
        server.post('/v1/chat/completions', { ...greedy, ...more, ...forced }),
      )
      expect(called.choices[0].message.tool_calls).toHaveLength(1)
    }
    const same = { ...greedy, reasoning_effort: 'medium' }
    expect((await server.post('/v1/chat/completions', same)).status).toBe(200)
    const other = await server.post('/v1/chat/completions', { ...greedy, reasoning_effort: 'high' })
    expect(other.status).toBe(400)
  })

  it('are an item of a response', async () => {
    const server = await serverSaying('<think>Hm!</think>Yes.', special, '<think>')
    const body = {
      input: 'Hi',
      temperature: 0,
      max_output_tokens: 60,
      include: ['reasoning.encrypted_content'],
      reasoning: { effort: 'medium', summary: 'auto' },
    }
    const response = await json(server.post('/v1/responses', body))
    expect(response.output).toMatchObject([
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm!' }] },
      { type: 'message', content: [{ type: 'output_text', text: 'Yes.' }] },
    ])
    expect(response.usage.output_tokens_details.reasoning_tokens).toBe(4)
    const text = await (await server.post('/v1/responses', { ...body, stream: true })).text()
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!))
    const deltas = (type: string) =>
      events.filter((event) => event.type === type).map(({ delta }) => delta)
    expect(deltas('response.reasoning_text.delta').join('')).toBe('Hm!')
    expect(deltas('response.output_text.delta').join('')).toBe('Yes.')
  })
})

describe('thoughts of earlier turns', () => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(undefined, { chatTemplate: templateOf('<think>') })
  })
  afterAll(() => model.dispose())

  const plan = () =>
    toolPlan(model, { tools: [], required: [], isOneNamed: false, isParallel: true }, undefined)

  it('are given to the template', async () => {
    const given = [
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: null,
        reasoning_content: 'Hm!',
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'pick', arguments: '{"n":1}' } },
        ],
      },
      { role: 'tool', tool_call_id: '1', content: 'done' },
    ]
    const expected =
      'user: Hi;assistant: <think>Hm!</think>{"name": "pick", "arguments": {"n": 1}};tool: done;assistant<think>'
    const asked = { templateArguments: {}, plan: plan() }
    const chat = await chatPrompt(model, { ...asked, messages: chatMessages(given) })
    expect(chat.prompt).toBe(expected)

    const input = [
      { role: 'user', content: 'Hi' },
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm!' }] },
      { type: 'function_call', call_id: '1', name: 'pick', arguments: '{"n":1}' },
      { type: 'function_call_output', call_id: '1', output: 'done' },
    ]
    const messages = inputMessages(input, undefined)
    expect((await chatPrompt(model, { ...asked, messages })).prompt).toBe(expected)
  })

  it('belong to the answer behind them', () => {
    const thought = (text: string) => ({
      type: 'reasoning',
      summary: [],
      content: [{ type: 'reasoning_text', text }],
    })
    const input = [
      thought('never answered'),
      { role: 'user', content: 'Hi' },
      thought('A'),
      { role: 'assistant', content: [{ type: 'output_text', text: 'One.' }] },
      { type: 'function_call', call_id: '1', name: 'f', arguments: '{}' },
      thought('B'),
      { type: 'function_call', call_id: '2', name: 'f', arguments: '{}' },
      { type: 'reasoning', summary: [], encrypted_content: 'x' },
      { role: 'assistant', content: 'Two.' },
    ]
    expect(inputMessages(input, undefined)).toMatchObject([
      { role: 'user', content: 'Hi' },
      { content: 'One.', reasoning_content: 'A', tool_calls: [{ id: '1' }] },
      { content: '', reasoning_content: 'B', tool_calls: [{ id: '2' }] },
      { role: 'assistant', content: 'Two.' },
    ])
  })
})
