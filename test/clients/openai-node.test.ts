// OpenAI's own client for Node, as its users have it.

import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError,
} from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverForTest, startServer, type TestServer } from '../support/serving.js'

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

  it('are ended by the client', async () => {
    const stream = await client.chat.completions.create({
      ...asked,
      max_tokens: 30_000,
      logit_bias: { 0: -100 },
      stream: true,
    })
    let chunks = 0
    for await (const _ of stream) if (++chunks === 5) break
    expect(stream.controller.signal.aborted).toBe(true)
    const controller = new AbortController()
    const whole = client.chat.completions.create(
      { ...asked, max_tokens: 30_000, logit_bias: { 0: -100 } },
      { signal: controller.signal },
    )
    setTimeout(() => controller.abort(), 50)
    await expect(whole).rejects.toBeInstanceOf(APIUserAbortError)
  })
})

describe('completions, models and responses', () => {
  it('are answered', async () => {
    const { choices } = await client.completions.create({ model, prompt: 'Once', max_tokens: 4 })
    expect(choices[0]!.text).not.toBe('')
    const { data } = await client.models.list()
    expect(data.map(({ id }) => id)).toEqual([model])
    expect((await client.models.retrieve(model)).object).toBe('model')
    const asked = { model, input: 'Hello', max_output_tokens: 8, seed: 1 }
    const response = await client.responses.create(asked)
    expect(response.output_text).not.toBe('')
    const final = await client.responses.stream(asked).finalResponse()
    expect(final.output_text).toBe(response.output_text)
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
