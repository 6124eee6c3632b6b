// A client that does one thing after another, by chance, and knows what has to come of it.

import { setTimeout as sleep } from 'node:timers/promises'
import { exchangeRaw, RawConnection, rawRequest } from '../../test/support/raw-http.js'
import { weather } from '../../test/support/tools.js'
import { eventData } from './clients.js'

/** Reads tools, and has calls written as Granite and Qwen write them. */
export const TEMPLATE = `{% for message in messages %}{{ '<|' ~ message.role ~ '|>' ~ (message.content or '') }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' ~ (call.function | tojson) ~ '</tool_call>' }}{% endfor %}
{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}`

const QUESTIONS = [
  'What came next?',
  'Who was there to see it?',
  'And the sea, how did it look?',
  'Why?',
  'Tell me more of the old man.',
]
const WORDS =
  'the sea old man boat fish line hand night wind star gull wave dark shore sail salt deep'.split(
    ' ',
  )

const SCHEMA = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 8 },
    age: { type: 'integer', minimum: 0, maximum: 99 },
  },
  required: ['name', 'age'],
}

const MALFORMED: [sent: string, status: number][] = [
  ['garbage\r\n\r\n', 400],
  [rawRequest('GET /../etc/passwd HTTP/1.1', { headers: { connection: 'close' } }), 404],
  [
    rawRequest('GET /health HTTP/1.1', { headers: { host: 'evil.example', connection: 'close' } }),
    403,
  ],
  [
    rawRequest('POST /v1/completions HTTP/1.1', {
      headers: { connection: 'close' },
      body: '{"prompt":',
    }),
    400,
  ],
  [
    rawRequest('POST /v1/completions HTTP/1.1', {
      headers: { connection: 'close' },
      body: `{"metadata":${'['.repeat(9000)}${']'.repeat(9000)}}`,
    }),
    400,
  ],
  [
    rawRequest('POST /v1/completions HTTP/1.1', {
      headers: { connection: 'close' },
      body: '{"prompt":"a","temperature":"warm"}',
    }),
    400,
  ],
  [
    rawRequest('POST /v1/completions HTTP/1.1', {
      headers: { connection: 'close', 'content-length': '99999999' },
      body: '{',
    }),
    413,
  ],
  [rawRequest('GET /health HTTP/1.1', { headers: { x: 'a'.repeat(20_000) } }), 431],
]

// biome-ignore lint/suspicious/noExplicitAny: JSON of a server
type Answer = any

class Failure extends Error {}
class Refused extends Error {}

export class SoakClient {
  readonly #url: string
  readonly #draw: (below: number) => number

  constructor(url: string, draw: (below: number) => number) {
    this.#url = url
    this.#draw = draw
  }

  /** Does one thing. `failure`: what was wrong. */
  async act(): Promise<{ name: string; failure?: string }> {
    const acts = [
      'chat',
      'chat',
      'responses',
      'completions',
      'leaves',
      'schema',
      'tools',
      'malformed',
      'unread',
      'gone',
    ] as const
    const name = acts[this.#draw(acts.length)]!
    try {
      return { name: (await this[name]()) ?? name }
    } catch (error) {
      if (error instanceof Refused) return { name: 'refused' }
      return {
        name,
        failure: error instanceof Failure ? error.message : String((error as Error).stack),
      }
    }
  }

  /** Turns of a chat, each of which computes its new text only, unless others needed the room meanwhile. */
  async chat(): Promise<string> {
    let isKept = true
    const messages: object[] = [{ role: 'system', content: this.#words(20) }]
    let before = 0
    for (let turn = 2 + this.#draw(5); turn > 0; turn--) {
      messages.push({ role: 'user', content: this.#words(5) })
      const body = {
        messages,
        max_tokens: 4 + this.#draw(40),
        temperature: 0.8,
        seed: this.#draw(1e6),
      }
      const { choices, usage } = await this.#json('/v1/chat/completions', body)
      const [{ message }] = choices
      isKept &&= usage.prompt_tokens_details.cached_tokens >= before
      before = usage.total_tokens - 1
      messages.push({ role: 'assistant', content: message.content })
    }
    return isKept ? 'chat' : 'chatAnew'
  }

  async responses(): Promise<undefined> {
    const input: object[] = []
    for (let turn = 1 + this.#draw(3); turn > 0; turn--) {
      input.push({ role: 'user', content: QUESTIONS[this.#draw(QUESTIONS.length)] })
      const body = { input, max_output_tokens: 4 + this.#draw(20), stream: true }
      const response = await this.#post('/v1/responses', body)
      let last: Answer
      for await (const data of eventData(response)) last = JSON.parse(data)
      if (!/^response\.(completed|incomplete)$/.test(last?.type))
        throw new Failure(JSON.stringify(last))
      input.push(...last.response.output)
    }
  }

  async completions(): Promise<undefined> {
    const n = 1 + this.#draw(3)
    const body = {
      prompt: this.#words(200),
      n,
      max_tokens: 4 + this.#draw(20),
      temperature: 1,
      logprobs: 2,
      stop: ['\n\n'],
    }
    const { choices } = await this.#json('/v1/completions', body)
    if (choices.length !== n) throw new Failure(JSON.stringify(choices))
  }

  async schema(): Promise<undefined> {
    const response_format = { type: 'json_schema', json_schema: { name: 'person', schema: SCHEMA } }
    const messages = [{ role: 'user', content: 'A person' }]
    const { choices } = await this.#json('/v1/chat/completions', {
      messages,
      response_format,
      max_tokens: 100,
      seed: this.#draw(1e6),
    })
    const [{ message, finish_reason }] = choices
    if (finish_reason !== 'stop') throw new Failure(JSON.stringify(choices))
    const { name, age } = JSON.parse(message.content)
    if (typeof name !== 'string' || !Number.isInteger(age)) throw new Failure(message.content)
  }

  async tools(): Promise<undefined> {
    const messages = [{ role: 'user', content: 'The weather?' }]
    const { choices } = await this.#json('/v1/chat/completions', {
      messages,
      tools: [{ type: 'function', function: weather }],
      tool_choice: 'required',
      max_tokens: 200,
      seed: this.#draw(1e6),
    })
    const [{ message }] = choices
    const { days } = JSON.parse(message.tool_calls?.[0]?.function.arguments ?? '{}')
    if (!(days >= 1 && days <= 9)) throw new Failure(JSON.stringify(choices))
  }

  async malformed(): Promise<undefined> {
    const [sent, status] = MALFORMED[this.#draw(MALFORMED.length)]!
    const [answer] = await exchangeRaw(this.#url, sent)
    if (answer?.status !== status)
      throw new Failure(`${answer?.status} and not ${status}: ${sent.slice(0, 100)}`)
  }

  /** Goes away in the middle of a text. */
  async leaves(): Promise<undefined> {
    const controller = new AbortController()
    const body = {
      prompt: this.#words(20),
      max_tokens: 4000,
      stream: true,
      logit_bias: { 0: -100 },
    }
    const response = await this.#post('/v1/completions', body, controller.signal)
    let left = 1 + this.#draw(60)
    for await (const _ of eventData(response)) {
      if (--left === 0) break
    }
    controller.abort()
  }

  /** Goes away before anything has come: while it waits for a place, while its prompt is run, or in the middle of its body. */
  async gone(): Promise<undefined> {
    const connection = new RawConnection(this.#url)
    const sent = rawRequest('POST /v1/completions HTTP/1.1', {
      body: JSON.stringify({ prompt: this.#words(1000), max_tokens: 4000 }),
    })
    await connection.send(this.#draw(3) === 0 ? sent.slice(0, this.#draw(sent.length)) : sent)
    await sleep(this.#draw(40))
    connection.socket.destroy()
  }

  /** Reads nothing, until the server lets go of it. */
  async unread(): Promise<undefined> {
    if (this.#draw(4) > 0) return
    const connection = new RawConnection(this.#url)
    const body = {
      prompt: 'Once',
      max_tokens: 4000,
      logprobs: 20,
      stream: true,
      logit_bias: { 0: -100 },
    }
    connection.socket.pause()
    await connection.send(
      rawRequest('POST /v1/completions HTTP/1.1', { body: JSON.stringify(body) }),
    )
    await sleep(8000)
    connection.socket.destroy()
  }

  #words(count: number): string {
    return Array.from(
      { length: 1 + this.#draw(count) },
      () => WORDS[this.#draw(WORDS.length)],
    ).join(' ')
  }

  async #post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    const response = await fetch(this.#url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    })
    if (response.status === 200) return response
    const text = await response.text()
    if (response.status !== 429) throw new Failure(`${response.status}: ${text}`)
    await sleep(50)
    throw new Refused(text)
  }

  async #json(path: string, body: object): Promise<Answer> {
    return (await this.#post(path, body)).json()
  }
}
