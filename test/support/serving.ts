// A server for a test, and what is asked of it.

import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { type LoadOptions, loadModel, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'
import type { ServeOptions } from '../../lib/options/serving.js'
import { type RunningServer, serve, type ServedFacts } from '../../lib/serve/serve.js'

export interface TestServer extends RunningServer {
  /** What the server has logged. */
  readonly lines: string[]
  /** Sends JSON, and what the client's headers are besides. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>
}

/** Serves the built-in model, with a chat template, on a free port until `stop`. */
export async function startServer(
  options: ServeOptions = {},
  loading: LoadOptions = {},
  path?: string,
  more: Partial<ServedFacts> = {},
): Promise<TestServer> {
  const lines: string[] = []
  const load = () => loadModel(path, { chatTemplate: PLAIN_CHAT_TEMPLATE, ...loading })
  const { maxStreams = 32, maxQueue = 128 } = loading
  const places = maxStreams + maxQueue
  const log = (line: string) => void lines.push(line)
  const facts = { load, places, model: path, log, ...more }
  const server = await serve(facts, { port: 0, ...options })
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    fetch(server.url + path, {
      method: 'POST',
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  return { ...server, lines, post }
}

/** The same for one test. */
export async function serverForTest(...given: Parameters<typeof startServer>): Promise<TestServer> {
  const server = await startServer(...given)
  onTestFinished(() => server.stop())
  return server
}

/** A text that does not end within a test. */
export const endless = {
  prompt: 'Once upon a time',
  max_tokens: 30_000,
  temperature: 0.5,
  seed: 1,
  logit_bias: { 0: -100 },
}

/** A number of /metrics, of which the server has told nothing yet where it is 0. `name`: as a pattern. */
export async function metric({ url }: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(new RegExp(`^ssm_metal_${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
}

/** Resolves when so many texts run or wait. */
export async function untilTexts(server: TestServer, count: number): Promise<void> {
  while ((await metric(server, 'texts')) !== count) await sleep(5)
}

/** The data of a stream's events; `[DONE]` must be the last and is left out. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of a server
export async function eventsOf(response: Response): Promise<any[]> {
  const text = await response.text()
  const parts = text.split('\n\n')
  if (parts.pop() !== '') throw new Error('the last event has no end')
  const data = parts.map((part) => {
    if (!part.startsWith('data: ')) throw new Error(`no data: ${part}`)
    return part.slice('data: '.length)
  })
  if (data.pop() !== '[DONE]') throw new Error('there is no [DONE]')
  return data.map((json) => JSON.parse(json))
}

/** The JSON of an answer. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of a server
export async function json(response: Response | Promise<Response>): Promise<any> {
  return (await response).json()
}
