// What becomes of streams: clients that go away or do not read, more than there are places for, and the end.

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  endless,
  json,
  metric,
  serverForTest,
  type TestServer,
  untilTexts,
} from '../support/serving.js'

/** Starts an endless stream; resolves when its first text is there. */
async function begun(server: TestServer, controller = new AbortController()) {
  const { signal } = controller
  const response = await server.post('/v1/completions', { ...endless, stream: true }, { signal })
  const reader = response.body!.getReader()
  await reader.read()
  return { reader, controller }
}

describe('a client that goes away', () => {
  it('frees its place, streaming or not', async () => {
    const server = await serverForTest({}, { maxStreams: 1, maxQueue: 1 })
    const { controller } = await begun(server)
    const waiting = new AbortController()
    const whole = server.post('/v1/completions', endless, { signal: waiting.signal })
    whole.catch(() => {})
    await untilTexts(server, 2)
    controller.abort()
    await untilTexts(server, 1)
    waiting.abort()
    await expect(whole).rejects.toThrow('abort')
    await untilTexts(server, 0)
    const next = await server.post('/v1/completions', { ...endless, max_tokens: 2 })
    expect(next.status).toBe(200)
  })
})

describe('more than there are places for', () => {
  it('is a 429 that says when to come again', async () => {
    const server = await serverForTest({}, { maxStreams: 1, maxQueue: 0 })
    const { controller } = await begun(server)
    const refused = await server.post('/v1/completions', { ...endless, max_tokens: 2 })
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await json(refused)).error.type).toBe('rate_limit_error')
    controller.abort()
    await untilTexts(server, 0)
    const many = await server.post('/v1/completions', { ...endless, max_tokens: 2, n: 2 })
    expect([many.status, (await json(many)).error.param]).toEqual([400, 'n'])
  })
})

describe('a client that does not read', () => {
  it('makes its text wait, and is let go', async () => {
    // Each event has the name in it, so that what the system holds for a client is full soon.
    const server = await serverForTest({ idleTimeout: 0.5, alias: 'a'.repeat(100_000) })
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    socket.pause()
    const sent = JSON.stringify({ ...endless, stream: true })
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`,
    )
    await untilTexts(server, 1)
    await untilTexts(server, 0)
    socket.destroy()
    // It has not run to its end.
    expect(await metric(server, 'generated_tokens_total')).toBe(0)
  })
})

describe('limits of time', () => {
  it('end a stream with an error, and a whole answer with a 504', async () => {
    const server = await serverForTest({ totalTimeout: 3 })
    const [streamed, whole] = await Promise.all([
      server.post('/v1/completions', { ...endless, stream: true }),
      server.post('/v1/completions', endless),
    ])
    expect(await streamed.text()).toMatch(
      /data: \{"error":\{"message":"the request took longer.*\}\n\n$/,
    )
    expect(whole.status).toBe(504)
  })
})

describe('stopping', () => {
  it('lets streams end', async () => {
    const server = await serverForTest()
    const response = await server.post('/v1/completions', {
      ...endless,
      max_tokens: 50,
      stream: true,
    })
    const stopped = server.stop()
    expect(await response.text()).toMatch(/"finish_reason":"length".*\[DONE\]\n\n$/s)
    await stopped
    await expect(fetch(`${server.url}/health`)).rejects.toThrow()
  })

  it('ends them when its time is over', async () => {
    const server = await serverForTest({ drainTimeout: 0.1 })
    const { reader } = await begun(server)
    await server.stop()
    let last = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done) break
      last = new TextDecoder().decode(value)
    }
    expect(last).toContain('the server is shutting down')
  })
})

describe('a model that nobody needs', () => {
  it('is unloaded, and loaded again', async () => {
    const server = await serverForTest({ unloadAfter: 0.05 })
    while ((await metric(server, 'model_loaded')) === 1) await sleep(10)
    const body = { ...endless, max_tokens: 2 }
    expect((await server.post('/v1/completions', body)).status).toBe(200)
    expect(await metric(server, 'model_loaded')).toBe(1)
  })
})
