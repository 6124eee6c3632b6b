// Connections that end early, are not read, or say nothing: what they hold is freed, and none keeps the server from stopping.

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/index.js'
import { serve } from '../../lib/serve/serve.js'
import { RawConnection, rawRequest } from '../support/raw-http.js'
import {
  endless,
  json,
  metric,
  serverForTest,
  type TestServer,
  untilTexts,
} from '../support/serving.js'

const POST = 'POST /v1/completions HTTP/1.1'
const body = JSON.stringify(endless)
const streaming = JSON.stringify({ ...endless, stream: true })

describe('a client that goes away', () => {
  it('ends all requests that it has sent at once', async () => {
    const server = await serverForTest({}, { maxStreams: 2 })
    const connection = new RawConnection(server.url)
    // The answer to the second one waits for the end of the first.
    await connection.send(rawRequest(POST, { body: streaming }) + rawRequest(POST, { body }))
    await untilTexts(server, 2)
    await connection.until(/data: /)
    connection.socket.destroy()
    await untilTexts(server, 0)
    expect(server.lines).toEqual([])
  })

  it('is gone when it ends its side', async () => {
    const server = await serverForTest({}, { maxStreams: 2 })
    const connections = [body, streaming].map((body) => {
      const connection = new RawConnection(server.url)
      void connection.send(rawRequest(POST, { body }))
      return connection
    })
    await untilTexts(server, 2)
    for (const { socket } of connections) socket.end()
    await untilTexts(server, 0)
    for (const { socket } of connections) socket.destroy()
  })

  it('while it sends a body leaves nothing behind', async () => {
    const server = await serverForTest()
    for (let i = 0; i < 50; i++) {
      const connection = new RawConnection(server.url)
      await connection.send(rawRequest(POST, { body }).slice(0, -1 - i))
      connection.socket.destroy()
    }
    while (
      (await metric(server, 'requests_total\\{route="/v1/completions",status="499"\\}')) < 50
    ) {
      await sleep(5)
    }
    expect(await metric(server, 'texts')).toBe(0)
    const next = await server.post('/v1/completions', { ...endless, max_tokens: 2 })
    expect(next.status).toBe(200)
  })

  it('while its prompt is run frees its place', async () => {
    const server = await serverForTest({}, { maxStreams: 1, maxQueue: 0 })
    const connection = new RawConnection(server.url)
    const long = JSON.stringify({ ...endless, prompt: 'sea '.repeat(30_000) })
    await connection.send(rawRequest(POST, { body: long }))
    await untilTexts(server, 1)
    connection.socket.destroy()
    await untilTexts(server, 0)
  })
})

describe('an answer that nobody reads', () => {
  // Eight megabytes are more than the system holds for a client.
  const options = { idleTimeout: 0.3, drainTimeout: 3600, alias: 'a'.repeat(2 ** 23) }

  /** A connection whose client has not begun to read the first answer. */
  async function unread(server: TestServer, more = ''): Promise<RawConnection> {
    const connection = new RawConnection(server.url)
    connection.socket.pause()
    await connection.send(rawRequest('GET /v1/models HTTP/1.1') + more)
    const name = 'requests_total\\{route="/v1/models",status="200"\\}'
    while ((await metric(server, name)) !== 1) await sleep(5)
    return connection
  }

  it('does not keep its connection', async () => {
    const server = await serverForTest(options)
    const connection = await unread(server)
    // Waits for the answers that are on their way.
    await server.stop()
    connection.socket.destroy()
  })

  it('takes no time from the next one', async () => {
    const server = await serverForTest(options)
    // Nothing is sent while this is made.
    const long = JSON.stringify({ ...endless, max_tokens: 400 })
    const headers = { connection: 'close' }
    const connection = await unread(server, rawRequest(POST, { body: long, headers }))
    connection.socket.resume()
    expect((await connection.answers()).map(({ status }) => status)).toEqual([200, 200])
  })
})

describe('stopping', () => {
  it('waits for no connection without a request', async () => {
    const server = await serverForTest({ drainTimeout: 3600 })
    const [silent, begun, kept] = ['', 'GET /hea', rawRequest('GET /health HTTP/1.1')].map(
      (sent) => {
        const connection = new RawConnection(server.url)
        if (sent !== '') void connection.send(sent)
        return connection
      },
    )
    await kept!.until(/"ok"/)
    await server.stop()
    for (const { socket } of [silent!, begun!, kept!]) socket.destroy()
  })

  it('lets those end that wait for a place', async () => {
    const server = await serverForTest({ drainTimeout: 3600 }, { maxStreams: 1 })
    const few = { ...endless, max_tokens: 40 }
    const asked = [1, 2, 3].map(() => server.post('/v1/completions', few))
    await untilTexts(server, 3)
    const stopped = server.stop()
    for (const response of await Promise.all(asked)) {
      expect(response.status).toBe(200)
      expect((await json(response)).usage.completion_tokens).toBe(40)
    }
    await stopped
  })

  it('refuses what comes on a connection from before', async () => {
    const server = await serverForTest({ drainTimeout: 3600 })
    const connection = new RawConnection(server.url)
    const few = JSON.stringify({ ...endless, max_tokens: 200 })
    await connection.send(rawRequest(POST, { body: few }))
    await untilTexts(server, 1)
    const stopped = server.stop()
    await connection.send(rawRequest('GET /health HTTP/1.1'))
    const [text, refused] = await connection.answers()
    expect([text!.status, refused!.status]).toEqual([200, 503])
    expect(refused!.headers.connection).toBe('close')
    await stopped
  })
})

describe('loading', () => {
  /** A model that is loaded at once, and from then on when `go` is called. */
  function loadedSlowly() {
    let isFirst = true
    let go = () => {}
    const signals: AbortSignal[] = []
    const load = async (signal: AbortSignal) => {
      signals.push(signal)
      const aborted = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
      aborted.catch(() => {})
      if (!isFirst) {
        await Promise.race([
          new Promise<void>((resolve) => {
            go = resolve
          }),
          aborted,
        ])
      }
      isFirst = false
      return loadModel()
    }
    return { load, signals, go: () => go() }
  }

  it('goes on for those who wait when the server stops', async () => {
    const { load, signals, go } = loadedSlowly()
    const options = { unloadAfter: 0.01, drainTimeout: 3600 }
    const server = await serverForTest(options, {}, undefined, { load })
    while ((await metric(server, 'model_loaded')) === 1) await sleep(5)
    const asked = server.post('/v1/completions', { ...endless, max_tokens: 3 })
    while (signals.length < 2) await sleep(5)
    const stopped = server.stop()
    go()
    expect((await asked).status).toBe(200)
    await stopped
  })

  it('ends with the time that the server has to stop', async () => {
    const { load, signals } = loadedSlowly()
    const options = { unloadAfter: 0.01, drainTimeout: 0.05 }
    const server = await serverForTest(options, {}, undefined, { load })
    while ((await metric(server, 'model_loaded')) === 1) await sleep(5)
    const asked = server.post('/v1/completions', endless)
    asked.catch(() => {})
    while (signals.length < 2) await sleep(5)
    await server.stop()
    expect(signals[1]!.aborted).toBe(true)
    await expect(asked).rejects.toThrow()
    expect(server.lines.filter((line) => !line.includes('unloaded'))).toEqual([])
  })

  it('at the start ends with its signal', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const load = (own: AbortSignal) =>
      new Promise<never>((_, reject) => {
        own.addEventListener('abort', () => reject(own.reason))
        controller.abort(new Error('enough'))
      })
    const facts = { load, places: 1, model: undefined, signal, log: () => {} }
    await expect(serve(facts, { port: 0 })).rejects.toThrow('enough')
  })

  it('is told to nobody who has not asked for it, and asked for as often as needed', async () => {
    const server = await serverForTest({ unloadAfter: 0.001 })
    const before = await json(fetch(`${server.url}/v1/models`))
    for (let i = 0; i < 20; i++) {
      // About when the model is unloaded, before and after.
      await sleep(i % 5)
      const response = await server.post('/v1/completions', { ...endless, max_tokens: 2 })
      expect(response.status).toBe(200)
    }
    while ((await metric(server, 'model_loaded')) === 1) await sleep(5)
    const after = await json(fetch(`${server.url}/v1/models`))
    expect(after).toEqual(before)
    expect(after.data[0]).toHaveProperty('state_bytes')
  })
})
