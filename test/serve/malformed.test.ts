// Requests that are malformed, sent as they are beside streams under way: each has its status and OpenAI's error body, and
// the streams give what they give alone.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchangeRaw, type RawAnswer, RawConnection, rawRequest } from '../support/raw-http.js'
import { ServedStreams } from '../support/served-streams.js'
import { startServer, type TestServer } from '../support/serving.js'

const MAX_BODY = 65_536

let server: TestServer
let streams: ServedStreams
beforeAll(async () => {
  const options = { maxBody: MAX_BODY, alias: 'small' }
  const arrival = { headersMs: 300, requestMs: 600 }
  server = await startServer(options, { promptCache: false }, undefined, { arrival })
  streams = await ServedStreams.start(server)
})
afterAll(async () => {
  await streams.expectUnharmed()
  expect(server.lines).toEqual([])
  await server.stop()
})

const COMPLETIONS = 'POST /v1/completions HTTP/1.1'
const LAST = { connection: 'close' }
const body = (fields: object = {}) => JSON.stringify({ prompt: 'Once', max_tokens: 1, ...fields })

/** A request with a body that is sent as it is. */
function posted(sent: string | Uint8Array, headers: Record<string, string> = {}): Uint8Array {
  const bytes = Buffer.from(sent)
  const all = { ...LAST, 'content-type': 'application/json', ...headers }
  const head = rawRequest(COMPLETIONS, {
    headers: { 'content-length': String(bytes.length), ...all },
  })
  return Buffer.concat([Buffer.from(head), bytes])
}

function expectError({ status, headers, body }: RawAnswer, expected: number): void {
  expect([status, headers['content-type']]).toEqual([expected, 'application/json; charset=utf-8'])
  const { error } = JSON.parse(body)
  expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code'])
  expect(typeof error.message).toBe('string')
}

async function expectRefused(sent: string | Uint8Array, status: number): Promise<void> {
  const answers = await exchangeRaw(server.url, sent)
  expect(answers).toHaveLength(1)
  expectError(answers[0]!, status)
}

describe('bodies', () => {
  const deep = (levels: number) => `{"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`
  const deepObjects = `{"metadata":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`
  const cases: [string, string | Uint8Array, number][] = [
    ['cut off', '{"prompt":', 400],
    ['with a comma too many', '{"prompt":"a",}', 400],
    ['of text', '"text"', 400],
    ['of a list', '[{"prompt":"a"}]', 400],
    ['null', 'null', 400],
    ['empty', '', 400],
    ['of NaN', '{"prompt":"a","temperature":NaN}', 400],
    ['of a number beyond all', '{"prompt":"a","temperature":1e999}', 400],
    ['with brackets only', '['.repeat(60_000), 400],
    ['deep lists', deep(20_000), 400],
    ['deep objects', deepObjects, 400],
    ['deep where nobody looks', deep(300), 400],
    ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400],
    ['half a character', Buffer.from([0x22, 0xe2, 0x82, 0x22]), 400],
    ['UTF-16', Buffer.from(`\ufeff${body()}`, 'utf16le'), 400],
    ['zero bytes', Buffer.alloc(64), 400],
    ['too large by one', `${body().padEnd(MAX_BODY + 1)}`, 413],
    ['a field of Object.prototype', '{"prompt":"a","constructor":1}', 400],
    ['__proto__', '{"prompt":"a","__proto__":{"stream":true}}', 400],
  ]
  it.each(cases)('%s', async (_, sent, status) => {
    await expectRefused(posted(sent), status)
  })

  it.each([
    ['with a mark of their order', `\ufeff${body()}`],
    ['as large as they may be', body().padEnd(MAX_BODY)],
    ['with half a surrogate pair', body({ prompt: 'a\ud800' })],
    ['with a key twice, of which the last counts', '{"prompt":1,"prompt":"Once","max_tokens":1}'],
  ])('%s are read', async (_, sent) => {
    const [answer] = await exchangeRaw(server.url, posted(sent))
    expect(answer!.status).toBe(200)
  })

  it.each(['text/plain', 'application/jsonp', 'application/x-www-form-urlencoded', ''])(
    'of the content type "%s"',
    async (type) => {
      await expectRefused(posted(body(), { 'content-type': type }), 415)
    },
  )

  it('that are compressed', async () => {
    await expectRefused(posted(body(), { 'content-encoding': 'gzip' }), 415)
  })

  it('of 100 MB, announced', async () => {
    const connection = new RawConnection(server.url)
    const headers = { 'content-type': 'application/json', 'content-length': '100000000' }
    await connection.send(rawRequest(COMPLETIONS, { headers }))
    // Before any of it has come; what the client sends all the same is read and dropped.
    await connection.until(/^HTTP\/1\.1 413 .*\}\}$/s)
    const piece = Buffer.alloc(2 ** 20, 'a')
    for (let sent = 0; sent < 90_000_000; sent += piece.length) await connection.send(piece)
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(2 ** 26)
    connection.socket.destroy()
  })

  it('of 100 MB, in chunks', async () => {
    const connection = new RawConnection(server.url)
    const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
    await connection.send(rawRequest(COMPLETIONS, { headers }))
    const piece = Buffer.from(`100000\r\n${'a'.repeat(2 ** 20)}\r\n`)
    for (let i = 0; i < 95; i++) await connection.send(piece)
    await connection.send('0\r\n\r\n')
    await connection.until(/^HTTP\/1\.1 413 .*\}\}$/s)
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(2 ** 26)
    connection.socket.destroy()
  })
})

describe('what takes too long', () => {
  it('to send headers', async () => {
    await expectRefused('GET /health HTTP/1.1\r\nhost: loc', 408)
  })

  it('to send anything', async () => {
    const idle = await Promise.all(Array.from({ length: 200 }, () => exchangeRaw(server.url, '')))
    for (const answers of idle) expectError(answers[0]!, 408)
  })

  it('to send a body', async () => {
    const headers = { 'content-type': 'application/json', 'content-length': '100' }
    await expectRefused(rawRequest(COMPLETIONS, { headers, body: '{"prompt"' }), 408)
  })

  it('to send headers, a character at a time', async () => {
    const connection = new RawConnection(server.url)
    const timer = setInterval(() => void connection.send('a'), 20)
    await connection.send('GET /')
    const answers = await connection.answers()
    clearInterval(timer)
    expectError(answers[0]!, 408)
  })

  it('to leave after garbage', async () => {
    const connection = new RawConnection(server.url)
    await connection.send('garbage\r\n\r\n')
    await connection.send('garbage\r\n\r\n')
    const closed = new Promise((resolve) => connection.socket.once('close', resolve))
    expectError((await connection.answers())[0]!, 400)
    await closed
  })
})

describe('heads', () => {
  const cases: [string, string, number][] = [
    ['no HTTP', 'no HTTP at all\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['HTTP/0.9', 'GET /\r\n\r\n', 400],
    ['HTTP/3.0', 'GET / HTTP/3.0\r\nhost: localhost\r\n\r\n', 400],
    ['a method that is none', 'FETCH / HTTP/1.1\r\nhost: localhost\r\n\r\n', 400],
    ['no Host', 'GET /health HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    [
      'two Hosts',
      'GET /health HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n',
      400,
    ],
    ['an empty Host', rawRequest('GET /health HTTP/1.1', { headers: { host: '', ...LAST } }), 403],
    [
      'a foreign Host',
      rawRequest('GET /health HTTP/1.1', { headers: { host: 'evil.example', ...LAST } }),
      403,
    ],
    [
      'two names in a Host',
      rawRequest('GET /health HTTP/1.1', { headers: { host: 'evil.example, localhost', ...LAST } }),
      403,
    ],
    [
      'a user in a Host',
      rawRequest('GET /health HTTP/1.1', { headers: { host: 'localhost@evil.example', ...LAST } }),
      403,
    ],
    ['HTTP/1.0 without a Host', 'GET /health HTTP/1.0\r\n\r\n', 403],
    [
      'large headers',
      rawRequest('GET /health HTTP/1.1', { headers: { x: 'a'.repeat(20_000) } }),
      431,
    ],
    [
      'many headers',
      rawRequest('GET /health HTTP/1.1', {
        headers: Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`x${i}`, 'a'])),
      }),
      431,
    ],
    ['a long path', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`, 431],
    [
      'a return in a header',
      'GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\rset-cookie: b\r\n\r\n',
      400,
    ],
    ['a line feed in a path', 'GET /he\nalth HTTP/1.1\r\nhost: localhost\r\n\r\n', 400],
    ['a zero in a header', 'GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n', 400],
    ['a header that goes on', 'GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n', 400],
    ['a space before a colon', 'GET /health HTTP/1.1\r\nhost : localhost\r\n\r\n', 400],
    [
      'a length and chunks',
      `${COMPLETIONS}\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'chunks and a length',
      `${COMPLETIONS}\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'two lengths',
      `${COMPLETIONS}\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{"a":`,
      400,
    ],
    ['a negative length', `${COMPLETIONS}\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n`, 400],
    [
      'a length of hexadecimal',
      `${COMPLETIONS}\r\nhost: localhost\r\ncontent-length: 0x5\r\n\r\n`,
      400,
    ],
    [
      'a length beyond all',
      `${COMPLETIONS}\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n`,
      400,
    ],
    [
      'an encoding that is none',
      `${COMPLETIONS}\r\nhost: localhost\r\ntransfer-encoding: chonked\r\n\r\n`,
      400,
    ],
    [
      'a chunk without a size',
      `${COMPLETIONS}\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`,
      400,
    ],
    ['another expectation', rawRequest(COMPLETIONS, { headers: { expect: 'money' } }), 417],
    ['a proxy', 'CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n', 405],
  ]
  it.each(cases)('%s', async (_, sent, status) => {
    await expectRefused(sent, status)
  })

  // By values that are repeated to the client: they come back as JSON, and in no header.
  it.each([
    ['a model', posted(body({ model: 'a\r\nset-cookie: b' })), 404],
    ['a field', posted('{"a\\r\\nset-cookie: b":1,"prompt":"a"}'), 400],
    [
      'an origin',
      rawRequest('GET /health HTTP/1.1', { headers: { origin: 'a\tset-cookie', ...LAST } }),
      403,
    ],
    [
      'what a page asks for',
      rawRequest('OPTIONS /health HTTP/1.1', {
        headers: {
          origin: 'https://evil.example',
          'access-control-request-headers': 'a\tset-cookie: b',
          ...LAST,
        },
      }),
      403,
    ],
  ])('%s cannot add one', async (_, sent, status) => {
    const [answer] = await exchangeRaw(server.url, sent)
    expect(answer!.status).toBe(status)
    expect(Object.keys(answer!.headers)).not.toContain('set-cookie')
    expect(JSON.stringify(answer!.headers)).not.toContain('set-cookie')
  })
})

describe('paths', () => {
  const one = (line: string) => exchangeRaw(server.url, rawRequest(line, { headers: LAST }))

  it.each([
    '/../etc/passwd',
    '/%2e%2e/etc/passwd',
    '/..%2fetc/passwd',
    '//health',
    '///',
    '/./health',
    '/health/',
    '/HEALTH',
    '/%68ealth',
    '/health%00',
    '/page.js/../../package.json',
    '/page/index.html',
    '/v1/models/../../etc/passwd',
    '/v1/models/%2e%2e%2f%2e%2e%2fpackage.json',
    '/v1/models/',
    '/v1/models/small/',
    '/health;a=1',
    '/health#a',
    '\\health',
    '/%',
    '*',
    'http://localhost/../etc/passwd',
    'ftp://localhost/health',
    'file:///etc/passwd',
  ])('%s is nothing', async (path) => {
    const [answer] = await one(`GET ${path} HTTP/1.1`)
    expect([400, 404]).toContain(answer!.status)
    expectError(answer!, answer!.status)
  })

  it.each(['/v1/models/%ff', '/v1/models/%'])('%s is no encoding', async (path) => {
    expectError((await one(`GET ${path} HTTP/1.1`))[0]!, 400)
  })

  it.each([
    ['/health', 'localhost'],
    ['/health?a=../../b', 'localhost'],
    ['/v1/models/sm%61ll', 'localhost'],
    ['http://localhost/health', 'localhost'],
    ['HTTP://127.0.0.1:80/health?a', 'evil.example'],
    ['http://localhost', 'localhost'],
  ])('%s of %s is found', async (path, host) => {
    const [answer] = await exchangeRaw(
      server.url,
      rawRequest(`GET ${path} HTTP/1.1`, { headers: { host, ...LAST } }),
    )
    expect(answer!.status).toBe(200)
  })

  it('a name in the path counts before the Host', async () => {
    const [answer] = await one('GET http://evil.example/health HTTP/1.1')
    expectError(answer!, 403)
  })

  it.each([
    ['GET', '/v1/completions', 'POST'],
    ['PUT', '/v1/chat/completions', 'POST'],
    ['HEAD', '/v1/responses', 'POST'],
    ['DELETE', '/v1/models', 'GET, HEAD'],
    ['POST', '/v1/models/small', 'GET, HEAD'],
    ['PATCH', '/', 'GET, HEAD'],
    ['TRACE', '/health', 'GET, HEAD'],
    ['OPTIONS', '/metrics', 'GET, HEAD'],
  ])('%s %s is not allowed', async (method, path, allow) => {
    const [answer] = await one(`${method} ${path} HTTP/1.1`)
    expect([answer!.status, answer!.headers.allow]).toEqual([405, allow])
  })
})

describe('connections', () => {
  it('answer requests that were sent at once, in their order', async () => {
    const requests = [
      rawRequest(COMPLETIONS, { body: body({ max_tokens: 5 }) }),
      rawRequest('GET /health HTTP/1.1'),
      rawRequest(COMPLETIONS, { body: body({ temperature: 'warm' }) }),
      rawRequest('GET /nowhere HTTP/1.1'),
      rawRequest(COMPLETIONS, { body: body({ max_tokens: 2 }), headers: LAST }),
    ]
    const answers = await exchangeRaw(server.url, requests.join(''))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 400, 404, 200])
    expect(JSON.parse(answers[0]!.body).usage.completion_tokens).toBe(5)
    expect(JSON.parse(answers[4]!.body).usage.completion_tokens).toBe(2)
  })

  it('answer what came before garbage', async () => {
    const sent = `${rawRequest('GET /health HTTP/1.1')}garbage\r\n\r\n`
    const answers = await exchangeRaw(server.url, sent)
    // Which is said where the answer before it has left.
    expect([[200], [200, 400]]).toContainEqual(answers.map(({ status }) => status))
  })

  it('read no request out of a body', async () => {
    const inner = rawRequest('GET /health HTTP/1.1')
    const answers = await exchangeRaw(server.url, posted(inner))
    expect(answers.map(({ status }) => status)).toEqual([400])
  })

  it('are kept for HTTP/1.1 only', async () => {
    const headers = { 'content-type': 'application/json' }
    const [answer] = await exchangeRaw(
      server.url,
      rawRequest('POST /v1/completions HTTP/1.0', { headers, body: body() }),
    )
    expect([answer!.status, answer!.headers.connection]).toEqual([200, 'close'])
  })

  it('stream to HTTP/1.0 without chunks', async () => {
    const sent = rawRequest('POST /v1/completions HTTP/1.0', {
      body: body({ stream: true, max_tokens: 4, logit_bias: { 0: -100 } }),
    })
    const [answer] = await exchangeRaw(server.url, sent)
    expect(answer!.headers['transfer-encoding']).toBeUndefined()
    expect(answer!.body).toMatch(/^data: \{.*data: \[DONE\]\n\n$/s)
  })

  it('are asked for a body that may come, and for no other', async () => {
    const connection = new RawConnection(server.url)
    const sent = body()
    const headers = { 'content-type': 'application/json', expect: '100-continue' }
    const length = String(sent.length)
    await connection.send(
      rawRequest(COMPLETIONS, { headers: { ...headers, 'content-length': length, ...LAST } }),
    )
    await connection.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
    await connection.send(sent)
    const answers = await connection.answers()
    expect(answers.map(({ status }) => status)).toEqual([100, 200])
    const large = { ...headers, 'content-length': '100000000' }
    await expectRefused(rawRequest(COMPLETIONS, { headers: large }), 413)
    await expectRefused(rawRequest('POST /nowhere HTTP/1.1', { headers: large }), 404)
  })
})
