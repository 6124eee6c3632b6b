// Who may use the server, and what becomes of requests that are none.

import { connect } from 'node:net'
import { request } from 'node:http'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { isLoopback } from '../../lib/serve/access.js'
import { json, serverForTest, startServer, type TestServer } from '../support/serving.js'

let server: TestServer
let guarded: TestServer
beforeAll(async () => {
  server = await startServer({ maxBody: 4096, allowOrigin: ['https://app.example'] })
  guarded = await startServer({ apiKey: 'the-key', allowHost: ['models.example'] })
})
afterAll(async () => {
  await server.stop()
  await guarded.stop()
})

const body = { prompt: 'Once', max_tokens: 1 }

/** By node:http, which sends any Host. */
async function ask(
  url: string,
  options: RequestOptions,
  sent = '',
): Promise<{ status: number; body: string; headers: IncomingMessage['headers'] }> {
  const sending = request(url, options)
  sending.end(sent)
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  return { status: response.statusCode!, body: await text(response), headers: response.headers }
}

/** What a connection is told that sends this, as it is. */
async function raw(sent: string, { url }: TestServer): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(sent)
  return text(socket).catch(() => '')
}

describe('names and pages', () => {
  it.each(['localhost:1', '127.0.0.1', '[::1]:80'])('takes the Host %s', async (host) => {
    const { status } = await ask(`${server.url}/health`, { headers: { host } })
    expect(status).toBe(200)
  })

  it.each(['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '8.8.8.8'])(
    'refuses the Host "%s"',
    async (host) => {
      const { status, body } = await ask(`${server.url}/health`, { headers: { host } })
      expect(status).toBe(403)
      expect(JSON.parse(body).error.code).toBe('forbidden_host')
    },
  )

  it('takes a Host that was allowed', async () => {
    const { status } = await ask(`${guarded.url}/health`, { headers: { host: 'models.example' } })
    expect(status).toBe(200)
  })

  it.each(['https://evil.example', 'null', 'http://127.0.0.1:1'])(
    'refuses the Origin %s',
    async (origin) => {
      const response = await server.post('/v1/completions', body, { headers: { origin } })
      expect(response.status).toBe(403)
      expect(response.headers.has('access-control-allow-origin')).toBe(false)
    },
  )

  it('takes its own Origin, and tells the one that was allowed', async () => {
    const own = await server.post('/v1/completions', body, { headers: { origin: server.url } })
    expect([own.status, own.headers.get('access-control-allow-origin')]).toEqual([200, null])
    const origin = 'https://app.example'
    const allowed = await server.post('/v1/completions', body, { headers: { origin } })
    expect(allowed.headers.get('access-control-allow-origin')).toBe(origin)
    const preflight = await fetch(`${server.url}/v1/completions`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-headers': 'authorization, x-stainless-os' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-headers')).toContain('x-stainless-os')
  })

  it('knows which addresses are of this machine', () => {
    for (const own of ['127.0.0.1', '127.1.2.3', 'localhost', '::1', '[::1]', '::ffff:127.0.0.1']) {
      expect(isLoopback(own)).toBe(true)
    }
    for (const other of ['0.0.0.0', '::', '10.0.0.1', '127.evil.example', 'localhost.example']) {
      expect(isLoopback(other)).toBe(false)
    }
  })

  it('for other machines goes by any address, by no foreign name, and with the key', async () => {
    const open = await serverForTest({ host: '0.0.0.0', apiKey: 'the-key' })
    const url = open.url.replace('0.0.0.0', '127.0.0.1')
    const as = async (path: string, host: string) =>
      (await ask(`${url}${path}`, { headers: { host } })).status
    expect(await as('/health', '192.168.1.7:8080')).toBe(200)
    expect(await as('/health', '[fe80::1]:8080')).toBe(200)
    expect(await as('/health', 'evil.example')).toBe(403)
    expect(await as('/v1/models', '192.168.1.7')).toBe(401)
  })

  it.each([
    [{ allowOrigin: ['*'] }],
    [{ allowOrigin: ['https://app.example/'] }],
    [{ allowOrigin: ['app.example'] }],
    [{ allowHost: ['models.example:8080'] }],
    [{ allowHost: ['https://models.example'] }],
  ])('says of %j that it would never match', async (options) => {
    await expect(startServer(options)).rejects.toThrow(/\[serve\] allow(Host|Origin) must have/)
  })

  it('does not listen for other machines without a key', async () => {
    await expect(startServer({ host: '0.0.0.0' })).rejects.toThrow('no key is set')
    await serverForTest({ host: '0.0.0.0', auth: false })
  })
})

describe('keys', () => {
  it('are asked for, but for health', async () => {
    const models = `${guarded.url}/v1/models`
    const as = (authorization: string) => fetch(models, { headers: { authorization } })
    expect((await fetch(models)).status).toBe(401)
    expect((await as('Bearer the-kez')).status).toBe(401)
    expect((await as('Bearer ')).status).toBe(401)
    expect((await as('Basic the-key')).status).toBe(401)
    expect((await as('Bearer the-key')).status).toBe(200)
    expect((await fetch(`${guarded.url}/metrics`)).status).toBe(401)
    expect((await fetch(`${guarded.url}/health`)).status).toBe(200)
    const refused = await json(fetch(models))
    expect(refused.error).toMatchObject({ type: 'authentication_error', code: 'invalid_api_key' })
  })
})

describe('requests that are none', () => {
  it.each([
    ['{"prompt":', 400],
    ['[]', 400],
    ['"text"', 400],
    ['', 400],
    [`{"prompt":"${'a'.repeat(5000)}"}`, 413],
    ['['.repeat(4000), 400],
  ])('a body of %j', async (sent, status) => {
    const response = await server.post('/v1/completions', sent)
    expect(response.status).toBe(status)
    expect((await json(response)).error.type).toBe('invalid_request_error')
  })

  it('a large body without a length', async () => {
    const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
    const { status } = await ask(
      `${server.url}/v1/completions`,
      { method: 'POST', headers },
      'a'.repeat(2 ** 20),
    )
    expect(status).toBe(413)
  })

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'])(
    'the content type %s',
    async (type) => {
      const headers = { 'content-type': type }
      expect((await server.post('/v1/completions', body, { headers })).status).toBe(415)
    },
  )

  it.each([
    ['GET', '/v1/completions', 405],
    ['POST', '/v1/models', 405],
    ['DELETE', '/health', 405],
    ['GET', '/../etc/passwd', 404],
    ['GET', '//health', 404],
    ['GET', '/%2e%2e/health', 404],
    ['GET', '/v1/models/%ff', 400],
    ['GET', '/health/', 404],
    ['GET', '/health?a=1', 200],
    ['HEAD', '/health', 200],
  ])('%s %s', async (method, path, status) => {
    const { hostname, port } = new URL(server.url)
    const answer = await ask(server.url, { hostname, port, path, method })
    expect(answer.status).toBe(status)
  })

  it.each([
    ['no HTTP at all\r\n\r\n', 400],
    ['GET /health HTTP/1.1\r\n\r\n', 400],
    ['GET /health HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n', 403],
    ['GET /health HTTP/1.0\r\n\r\n', 403],
    [`GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\rset-cookie: b\r\n\r\n', 400],
    [
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ])('%j', async (sent, status) => {
    expect(await raw(sent, server)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })

  it('leave the server as it was', async () => {
    const response = await server.post('/v1/completions', body)
    expect(response.status).toBe(200)
    expect(server.lines).toEqual([])
  })
})
