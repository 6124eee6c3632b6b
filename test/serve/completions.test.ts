// What the server answers, against what the library gives for the same options.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type GenerateOptions,
  loadModel,
  type Model,
  PLAIN_CHAT_TEMPLATE,
} from '../../lib/index.js'
import { eventsOf, json, startServer, type TestServer } from '../support/serving.js'

let server: TestServer
/** The same model, without a cache: what it says was computed from the first token on. */
let model: Model
beforeAll(async () => {
  const loading = { promptCache: false } as const
  ;[server, model] = await Promise.all([
    startServer({ maxTokens: 64 }, loading),
    loadModel(undefined, { ...loading, chatTemplate: PLAIN_CHAT_TEMPLATE }),
  ])
})
afterAll(async () => {
  model.dispose()
  await server.stop()
})

const prompt = 'Once upon a time'
const messages = [
  { role: 'developer', content: 'A story for children.' },
  {
    role: 'user',
    content: [
      { type: 'text', text: 'Who lived ' },
      { type: 'text', text: 'there?' },
    ],
  },
]

/** What the library answers to the messages. */
async function chatted(options: GenerateOptions) {
  const text = await model.applyChatTemplate(
    [
      { role: 'system', content: 'A story for children.' },
      { role: 'user', content: 'Who lived there?' },
    ],
    { addGenerationPrompt: true },
  )
  return model.generate(text, { addSpecialTokens: false, ...options })
}

describe('POST /v1/completions', () => {
  it('gives the text of the same seed', async () => {
    const body = {
      model: 'rene-tiny',
      prompt,
      max_tokens: 12,
      seed: 7,
      temperature: 0.8,
      top_p: 0.9,
    }
    const response = await server.post('/v1/completions', body)
    expect(response.status).toBe(200)
    const answer = await json(response)
    const options = { maxTokens: 12, seed: 7, temperature: 0.8, topP: 0.9 }
    const { text, usage } = await model.generate(prompt, options)
    expect(answer).toMatchObject({
      object: 'text_completion',
      model: 'rene-tiny',
      choices: [{ index: 0, text, logprobs: null, finish_reason: 'length' }],
      usage: { prompt_tokens: usage.promptTokens, completion_tokens: 12 },
      timings: { predicted_n: 12 },
    })
  })

  it('streams the same text, and ends with the usage', async () => {
    const body = { prompt, max_tokens: 12, seed: 7 }
    const stream_options = { include_usage: true }
    const [whole, streamed] = await Promise.all([
      server.post('/v1/completions', body).then(json),
      server.post('/v1/completions', { ...body, stream: true, stream_options }).then(eventsOf),
    ])
    const [last, ...others] = [...streamed].reverse()
    expect(last).toMatchObject({ choices: [], usage: whole.usage })
    expect(others.every(({ usage }) => usage === null)).toBe(true)
    const choices = others.reverse().map(({ choices: [choice] }) => choice)
    expect(choices.map(({ text }) => text).join('')).toBe(whole.choices[0].text)
    expect(choices.at(-1).finish_reason).toBe('length')
    expect(choices.slice(0, -1).every((choice) => choice.finish_reason === null)).toBe(true)
  })

  it('gives n texts of each prompt, from one seed on', async () => {
    const prompts = [prompt, [...model.encode('The sea')]]
    const body = { prompt: prompts, n: 2, seed: 3, max_tokens: 8, temperature: 1 }
    const { choices, usage } = await json(server.post('/v1/completions', body))
    const options = { seed: 3, maxTokens: 8, temperature: 1, n: 2 }
    const expected = (await Promise.all(prompts.map((one) => model.generate(one, options)))).flat()
    expect(choices.map(({ text }: { text: string }) => text)).toEqual(
      expected.map(({ text }) => text),
    )
    expect(choices.map(({ index }: { index: number }) => index)).toEqual([0, 1, 2, 3])
    const [first, , third] = expected
    expect(usage.prompt_tokens).toBe(first!.usage.promptTokens + third!.usage.promptTokens)

    const events = await server.post('/v1/completions', { ...body, stream: true }).then(eventsOf)
    const texts = ['', '', '', '']
    for (const {
      choices: [{ index, text }],
    } of events)
      texts[index] += text
    expect(texts).toEqual(expected.map(({ text }) => text))
  })

  it('gives n times one text at temperature 0, from one run', async () => {
    const body = { prompt: [prompt, 'The sea'], n: 2, max_tokens: 6, temperature: 0 }
    const counted = async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      return Number(/generated_tokens_total (\d+)/.exec(text)![1])
    }
    const before = await counted()
    const { choices, usage } = await json(server.post('/v1/completions', body))
    expect((await counted()) - before).toBe(12)
    expect(usage.completion_tokens).toBe(24)
    const [first, second] = await Promise.all(
      body.prompt.map((one) => model.generate(one, { maxTokens: 6 })),
    )
    const texts = [first, first, second, second].map((result) => result!.text)
    expect(choices.map(({ text }: { text: string }) => text)).toEqual(texts)

    const streamed = ['', '', '', '']
    const events = await server.post('/v1/completions', { ...body, stream: true }).then(eventsOf)
    for (const {
      choices: [{ index, text }],
    } of events)
      streamed[index] += text
    expect(streamed).toEqual(texts)
    expect(events.filter(({ choices: [choice] }) => choice.finish_reason)).toHaveLength(4)
  })

  it('takes a seed below 0', async () => {
    const ask = async (seed: number) => {
      const body = { prompt, max_tokens: 8, seed, temperature: 1 }
      return (await json(server.post('/v1/completions', body))).choices[0].text
    }
    const [one, same, other] = await Promise.all([ask(-1), ask(-1), ask(-2)])
    expect(one).toBe(same)
    expect(one).not.toBe(other)
  })

  it('ends at stop texts, which are left out', async () => {
    const greedy = { temperature: 0, max_tokens: 30 }
    const { text } = await model.generate(prompt, { maxTokens: 30 })
    const stop = text.slice(8, 12)
    const body = { prompt, ...greedy, stop: ['never said', stop] }
    const { choices } = await json(server.post('/v1/completions', body))
    expect(choices[0].text).toBe(text.slice(0, text.indexOf(stop)))
    expect(choices[0].finish_reason).toBe('stop')
  })

  it('reports log-probabilities', async () => {
    const body = { prompt, max_tokens: 5, temperature: 0, logprobs: 3 }
    const { choices } = await json(server.post('/v1/completions', body))
    const { text, logprobs } = await model.generate(prompt, { maxTokens: 5, logprobs: 3 })
    const given = choices[0].logprobs
    expect(given.tokens.join('')).toBe(text)
    expect(given.token_logprobs).toEqual(logprobs!.map(({ logprob }) => logprob))
    expect(given.top_logprobs.map(Object.keys).map(({ length }: string[]) => length)).toEqual([
      3, 3, 3, 3, 3,
    ])
    expect(given.text_offset[1]).toBe(given.tokens[0].length)
  })

  it('keeps to a JSON schema', async () => {
    const schema = {
      type: 'object',
      properties: { age: { type: 'integer', minimum: 0, maximum: 99 } },
      required: ['age'],
    }
    const response_format = {
      type: 'json_schema',
      json_schema: { name: 'age', schema, strict: true },
    }
    const body = { prompt, max_tokens: 40, seed: 1, response_format }
    const { choices } = await json(server.post('/v1/completions', body))
    expect(JSON.parse(choices[0].text).age).toBeLessThan(100)
  })
})

describe('POST /v1/chat/completions', () => {
  it('answers a conversation of parts and of a developer', async () => {
    const body = { messages, max_completion_tokens: 10, seed: 5, temperature: 1 }
    const answer = await json(server.post('/v1/chat/completions', body))
    const { text } = await chatted({ maxTokens: 10, seed: 5, temperature: 1 })
    expect(answer.object).toBe('chat.completion')
    expect(answer.id).toMatch(/^chatcmpl-\w+$/)
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: text, refusal: null },
        logprobs: null,
        finish_reason: 'length',
      },
    ])
  })

  it('streams it, with log-probabilities', async () => {
    const options = { max_tokens: 10, temperature: 0, logprobs: true, top_logprobs: 2 }
    const body = { messages, ...options, stream: true }
    const events = await server.post('/v1/chat/completions', body).then(eventsOf)
    const { text, logprobs } = await chatted({ maxTokens: 10, logprobs: 2 })
    const choices = events.map(({ choices: [choice] }) => choice)
    expect(choices[0].delta).toEqual({ role: 'assistant', content: '', refusal: null })
    expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(text)
    const given = choices.flatMap(({ logprobs }) => logprobs?.content ?? [])
    expect(given.map(({ logprob }) => logprob)).toEqual(logprobs!.map(({ logprob }) => logprob))
    expect(given.every(({ top_logprobs }) => top_logprobs.length === 2)).toBe(true)
    expect(Buffer.from(given.flatMap(({ bytes }) => bytes)).toString()).toBe(text)
    expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: 'length' })
  })

  it('goes on from an answer that was begun', async () => {
    const greedy = { max_tokens: 6, temperature: 0, logit_bias: { 0: -100 } }
    const ask = async (messages: object[], more = {}) => {
      const body = { ...greedy, ...more, messages }
      return (await json(server.post('/v1/chat/completions', body))).choices[0].message
    }
    const begun = await ask(messages)
    const rest = await ask([...messages, begun], { continue_final_message: true })
    const { text } = await chatted({ maxTokens: 12, logitBias: { 0: -100 } })
    expect(begun.content + rest.content).toBe(text)
    const wrong = { messages, continue_final_message: true }
    expect((await server.post('/v1/chat/completions', wrong)).status).toBe(400)
  })

  it('takes fields that ask for nothing', async () => {
    const nothing = {
      user: 'me',
      metadata: { a: '1' },
      store: false,
      service_tier: 'auto',
      logit_bias: null,
      tools: [],
      tool_choice: 'auto',
      parallel_tool_calls: true,
      response_format: { type: 'text' },
      modalities: ['text'],
      n: 1,
      stop: null,
      top_p: 0.5,
      temperature: 0,
      unknown_and_null: null,
      seed: null,
      logprobs: false,
      top_logprobs: null,
      max_completion_tokens: null,
      functions: [],
      function_call: 'auto',
      stream: false,
      stream_options: null,
      prediction: null,
      audio: null,
      web_search_options: null,
      verbosity: 'medium',
      reasoning_effort: 'medium',
      safety_identifier: 'a',
      prompt_cache_key: 'b',
      prompt_cache_retention: '24h',
    }
    const said = [
      ...messages,
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'I ' },
          { type: 'refusal', refusal: 'cannot.' },
        ],
        refusal: null,
        audio: null,
        annotations: [],
        function_call: null,
        tool_calls: [],
      },
      { role: 'user', name: 'me', content: 'Why?' },
    ]
    const body = { messages: said, max_tokens: 2, ...nothing }
    const response = await server.post('/v1/chat/completions', body)
    expect([response.status, (await json(response)).error]).toEqual([200, undefined])
  })
})

describe('fields that are wrong', () => {
  const cases: [string, Record<string, unknown>][] = [
    ['temperature', { temperature: 3 }],
    ['top_p', { top_p: '1' }],
    ['n', { n: 0 }],
    ['n', { n: 1.5 }],
    ['seed', { seed: 1.5 }],
    ['stop', { stop: [''] }],
    ['stop', { stop: Array(17).fill('a') }],
    ['logit_bias', { logit_bias: [1] }],
    ['max_tokens', { max_tokens: 65 }],
    ['max_completion_tokens', { max_tokens: 4, max_completion_tokens: 5 }],
    ['store', { store: true }],
    ['top_logprobs', { top_logprobs: 2 }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options.usage', { stream: true, stream_options: { usage: true } }],
    ['response_format.type', { response_format: { type: 'xml' } }],
    ['functions', { functions: [{ name: 'f' }] }],
    ['audio', { audio: { voice: 'a' } }],
    ['tempreature', { tempreature: 1 }],
    ['messages', { messages: [] }],
    ['messages[0].role', { messages: [{ role: 'robot', content: '' }] }],
    ['messages[0].content', { messages: [{ role: 'user' }] }],
    [
      'messages[0].content[0]',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: '' } }] }] },
    ],
    ['chat_template_kwargs', { chat_template_kwargs: { template: 'x' } }],
  ]
  it.each(cases)('%s of %j is a 400 that names it', async (param, fields) => {
    const response = await server.post('/v1/chat/completions', { messages, ...fields })
    const { error } = await json(response)
    expect([response.status, error.type, error.param]).toEqual([
      400,
      'invalid_request_error',
      param,
    ])
    expect(error.message).toContain(param.replace(/^.*\./, ''))
  })

  it('says what a schema may not have, before anything is streamed', async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'a', schema: { not: {} } } }
    const body = { messages, response_format, stream: true }
    const response = await server.post('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    expect((await json(response)).error.message).toContain('"not"')
  })

  it('knows no other model', async () => {
    const response = await server.post('/v1/chat/completions', { model: 'gpt-9', messages })
    expect(response.status).toBe(404)
    expect((await json(response)).error.code).toBe('model_not_found')
  })
})

describe('other routes', () => {
  it.each([
    ['/', 'text/html'],
    ['/page.css', 'text/css'],
    ['/page.js', 'text/javascript'],
  ])('%s is of the page, which loads nothing from elsewhere', async (path, type) => {
    const { status, headers } = await fetch(server.url + path)
    expect([status, headers.get('content-type')]).toEqual([200, `${type}; charset=utf-8`])
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'/)
  })

  it('list the model', async () => {
    const list = await json(fetch(`${server.url}/v1/models`))
    expect(list).toMatchObject({ object: 'list', data: [{ id: 'rene-tiny', object: 'model' }] })
    const one = await fetch(`${server.url}/v1/models/rene-tiny`)
    expect(await json(one)).toEqual(list.data[0])
    expect((await fetch(`${server.url}/v1/models/other`)).status).toBe(404)
  })

  it('turn text into tokens and back', async () => {
    const content = 'Ein Käse, <|endoftext|> and more'
    const { tokens } = await json(server.post('/tokenize', { content }))
    expect(tokens).toEqual([...model.tokenizer!.encode(content, { addSpecialTokens: false })])
    const back = await json(server.post('/detokenize', { tokens }))
    expect(back.content).toBe(content)
    expect((await server.post('/detokenize', { tokens: [-1] })).status).toBe(400)
  })

  it('count what was done', async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    expect(text).toMatch(/ssm_metal_requests_total\{route="\/v1\/completions",status="200"\} \d+/)
    expect(text).toMatch(/ssm_metal_generated_tokens_total [1-9]\d*/)
    expect(text).toMatch(/ssm_metal_texts 0/)
  })
})
