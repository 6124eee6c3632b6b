// OpenAI's own client for Node, as its users have it.

import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError,
} from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverForTest, startServer, type TestServer, untilTexts } from '../support/serving.js'
import { TOOL_TEMPLATE } from '../support/tools.js'

let server: TestServer
let client: OpenAI
const model = 'rene-tiny'
beforeAll(async () => {
  server = await startServer()
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
afterAll(() => server.stop())

const messages = [{ role: 'user' as const, content: 'Tell me about the sea' }]
const asked = { model, messages, max_tokens: 12, seed: 1 }

describe('chats', () => {
  it('stream what they give whole, by the same seed', async () => {
    const whole = await client.chat.completions.create(asked)
    const stream = await client.chat.completions.create({
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]!.message.content)
    expect(usage?.completion_tokens).toBe(12)
    expect(whole.usage?.total_tokens).toBe(usage?.total_tokens)
  })

  it('have the helper of streams', async () => {
    const stream = client.chat.completions.stream(asked)
    const { choices } = await stream.finalChatCompletion()
    expect(choices[0]!.finish_reason).toBe('length')
    expect(choices[0]!.message.content).not.toBe('')
  })

  it('end at stop texts, and have several answers with log-probabilities', async () => {
    const { choices } = await client.chat.completions.create({
      ...asked,
      n: 3,
      logprobs: true,
      top_logprobs: 2,
      stop: ['.', '\n'],
    })
    expect(choices).toHaveLength(3)
    for (const { message, logprobs } of choices) {
      expect(message.content).not.toMatch(/[.\n]/)
      expect(logprobs!.content![0]!.top_logprobs).toHaveLength(2)
    }
  })

  it('parse JSON of a schema', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
    const completion = await client.chat.completions.parse({
      ...asked,
      max_tokens: 30,
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema, strict: true } },
    })
    const { parsed } = completion.choices[0]!.message as { parsed: unknown }
    expect(parsed).toEqual({ ok: expect.any(Boolean) })
  })

  it('differ by their seeds, and read what a conversation adds', async () => {
    const first = await client.chat.completions.create(asked)
    const other = await client.chat.completions.create({ ...asked, seed: 2 })
    expect(other.choices[0]!.message.content).not.toBe(first.choices[0]!.message.content)
    const { usage } = await client.chat.completions.create({
      ...asked,
      messages: [...messages, first.choices[0]!.message, { role: 'user', content: 'And the sky?' }],
    })
    const { cached_tokens } = usage!.prompt_tokens_details!
    expect(cached_tokens).toBeGreaterThanOrEqual(first.usage!.prompt_tokens)
  })

  it('are ended by the client, which frees their place', async () => {
    const one = await serverForTest({}, { maxStreams: 1, maxQueue: 0 })
    const options = { baseURL: `${one.url}/v1`, apiKey: 'none', maxRetries: 0 }
    const { completions } = new OpenAI(options).chat
    const endless = { ...asked, max_tokens: 30_000, logit_bias: { 0: -100 } }
    const stream = await completions.create({ ...endless, stream: true })
    await expect(completions.create(asked)).rejects.toBeInstanceOf(RateLimitError)
    let chunks = 0
    for await (const _ of stream) if (++chunks === 5) break
    expect(stream.controller.signal.aborted).toBe(true)
    await untilTexts(one, 0)
    expect((await completions.create(asked)).usage!.completion_tokens).toBe(12)
    const controller = new AbortController()
    const whole = completions.create(endless, { signal: controller.signal })
    setTimeout(() => controller.abort(), 50)
    await expect(whole).rejects.toBeInstanceOf(APIUserAbortError)
    await untilTexts(one, 0)
    expect((await completions.create(asked)).usage!.completion_tokens).toBe(12)
  })
})

describe('completions, models and responses', () => {
  it('are texts after prompts, whole and streamed', async () => {
    const asked = { model, max_tokens: 4, seed: 1 }
    const { choices } = await client.completions.create({
      ...asked,
      prompt: ['Once', 'Twice'],
      logprobs: 1,
    })
    expect(choices.map(({ index, logprobs }) => [index, logprobs!.tokens!.length])).toEqual([
      [0, 4],
      [1, 4],
    ])
    let text = ''
    const stream = await client.completions.create({ ...asked, prompt: 'Once', stream: true })
    for await (const { choices } of stream) text += choices[0]!.text
    expect(text).toBe(choices[0]!.text)
  })

  it('are listed', async () => {
    const { data } = await client.models.list()
    expect(data.map(({ id }) => id)).toEqual([model])
    expect((await client.models.retrieve(model)).object).toBe('model')
    await expect(client.models.retrieve('gpt-9')).rejects.toBeInstanceOf(NotFoundError)
  })

  it('are responses, whole and streamed', async () => {
    const asked = { model, input: 'Hello', max_output_tokens: 8, seed: 1 }
    const response = await client.responses.create(asked)
    expect(response.output_text).not.toBe('')
    expect(response.usage!.output_tokens).toBe(8)
    const types: string[] = []
    let text = ''
    for await (const event of await client.responses.create({ ...asked, stream: true })) {
      types.push(event.type)
      if (event.type === 'response.output_text.delta') text += event.delta
    }
    expect(text).toBe(response.output_text)
    expect([types[0], types.at(-1)]).toEqual(['response.created', 'response.incomplete'])
    const final = await client.responses.stream(asked).finalResponse()
    expect(final.output_text).toBe(response.output_text)
  })
})

describe('tools', () => {
  const weather = {
    name: 'weather',
    description: 'The weather of a city',
    parameters: {
      type: 'object',
      properties: { city: { enum: ['Rome', 'Oslo'] }, days: { type: 'integer' } },
      required: ['city', 'days'],
    },
  }

  it('are called in chats and responses, whole and streamed', async () => {
    const server = await serverForTest({}, { chatTemplate: TOOL_TEMPLATE })
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const all = {
      ...asked,
      max_tokens: 100,
      parallel_tool_calls: false,
      tools: [{ type: 'function' as const, function: weather }],
      tool_choice: 'required' as const,
    }
    const { choices } = await client.chat.completions.create(all)
    const [{ message, finish_reason }] = choices as [OpenAI.ChatCompletion.Choice]
    expect(finish_reason).toBe('tool_calls')
    const [call] = message.tool_calls as [OpenAI.ChatCompletionMessageFunctionToolCall]
    expect(['Rome', 'Oslo']).toContain(JSON.parse(call.function.arguments).city)
    const final = await client.chat.completions.stream(all).finalChatCompletion()
    const [streamed] = final.choices[0]!.message.tool_calls as (typeof call)[]
    expect(streamed!.function.arguments).toBe(call.function.arguments)
    const { usage } = await client.chat.completions.create({
      ...all,
      messages: [...messages, message, { role: 'tool', tool_call_id: call.id, content: 'Sunny' }],
      tool_choice: 'auto',
    })
    expect(usage!.completion_tokens).toBeGreaterThan(0)
    const response = await client.responses.create({
      model,
      input: 'Weather?',
      max_output_tokens: 100,
      parallel_tool_calls: false,
      tools: [{ type: 'function', strict: true, ...weather }],
      tool_choice: 'required',
    })
    expect(response.output).toMatchObject([{ type: 'function_call', name: 'weather' }])
  })
})

describe('errors', () => {
  it('have the classes of their statuses', async () => {
    const { completions } = client.chat
    await expect(completions.create({ ...asked, temperature: 9 })).rejects.toMatchObject({
      status: 400,
      param: 'temperature',
      constructor: BadRequestError,
    })
    const other = completions.create({ ...asked, model: 'gpt-9' })
    await expect(other).rejects.toBeInstanceOf(NotFoundError)
  })

  it('tell a wrong key, and a full queue', async () => {
    const guarded = await serverForTest({ apiKey: 'a' }, { maxStreams: 1, maxQueue: 0 })
    const of = (apiKey: string) =>
      new OpenAI({ baseURL: `${guarded.url}/v1`, apiKey, maxRetries: 0 }).chat.completions
    await expect(of('b').create(asked)).rejects.toBeInstanceOf(AuthenticationError)
    const long = { ...asked, max_tokens: 30_000, logit_bias: { 0: -100 }, stream: true } as const
    const running = await of('a').create(long)
    await expect(of('a').create(asked)).rejects.toBeInstanceOf(RateLimitError)
    running.controller.abort()
  })
})
