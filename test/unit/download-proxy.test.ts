// Proxies: which one is taken for an address, and requests that go through one.

import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { fetchSnapshot } from '../../lib/hub/fetch.js'
import { proxyFor } from '../../lib/hub/proxy.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT, runChild } from '../support/child-process.js'
import { type HubServer, startHub } from '../support/hub-server.js'

afterEach(() => vi.unstubAllEnvs())

const FILES = { 'config.json': '{}', 'model.safetensors': 'x'.repeat(5000) }

describe('proxyFor', () => {
  const hub = new URL('https://huggingface.co/x')
  it.each<[string, Record<string, string>, string, string | undefined]>([
    ['none', {}, 'https://huggingface.co', undefined],
    ['HTTPS_PROXY', { HTTPS_PROXY: 'http://p:1' }, 'https://huggingface.co', 'http://p:1/'],
    [
      'https_proxy first',
      { HTTPS_PROXY: 'http://p:1', https_proxy: 'http://q' },
      'https://a',
      'http://q/',
    ],
    ['HTTP_PROXY for http', { HTTP_PROXY: 'http://p:1' }, 'http://a', 'http://p:1/'],
    ['HTTP_PROXY not for https', { HTTP_PROXY: 'http://p:1' }, 'https://a', undefined],
    ['ALL_PROXY', { ALL_PROXY: 'p:3128' }, 'https://a', 'http://p:3128/'],
    ['empty', { HTTPS_PROXY: '', ALL_PROXY: 'http://q' }, 'https://a', 'http://q/'],
  ])('%s', (_, environment, url, proxy) => {
    expect(proxyFor(new URL(url), environment)?.href).toBe(proxy)
  })

  it.each([
    ['*', true],
    ['huggingface.co', true],
    ['.huggingface.co', true],
    ['HuggingFace.co:443', true],
    ['huggingface.co:8443', false],
    ['other, huggingface.co', true],
    ['co', true],
    ['face.co', false],
    ['cdn.huggingface.co', false],
    ['', false],
  ])('NO_PROXY=%s: %s', (NO_PROXY, isExempt) => {
    const environment = { HTTPS_PROXY: 'http://p', NO_PROXY }
    expect(proxyFor(hub, environment) === undefined).toBe(isExempt)
  })

  it('compares addresses as a whole', () => {
    const environment = { HTTP_PROXY: 'http://p', NO_PROXY: '127.0.0.1,[::1],::2' }
    expect(proxyFor(new URL('http://127.0.0.1:8080'), environment)).toBe(undefined)
    expect(proxyFor(new URL('http://[::1]:8080'), environment)).toBe(undefined)
    expect(proxyFor(new URL('http://[::2]'), environment)).toBe(undefined)
    expect(proxyFor(new URL('http://1.127.0.0.1.example'), environment)).toBeDefined()
  })

  it('refuses other kinds, without showing a password', () => {
    const environment = { HTTPS_PROXY: 'socks5://user:secret@p:1080' }
    expect(() => proxyFor(hub, environment)).toThrow(
      /must be an http.* address but is a socks5 proxy$/,
    )
  })
})

/** A proxy to one server, whatever host is asked for. */
async function startProxy(hub: HubServer) {
  const port = Number(new URL(hub.endpoint).port)
  const seen: string[] = []
  const note = ({ method, url, headers }: http.IncomingMessage) =>
    seen.push(`${method} ${url} ${headers['proxy-authorization'] ?? ''}`.trim())
  const server = http.createServer((request, response) => {
    note(request)
    const { pathname, search } = new URL(request.url!)
    const { headers } = request
    const onward = http.request({ port, path: pathname + search, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    onward.end()
  })
  server.on('connect', (request, socket) => {
    note(request)
    if (request.url!.startsWith('refused')) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
      return
    }
    const onward = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    for (const end of [onward, socket]) end.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { seen, host: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe('through a proxy', () => {
  it('by http, which no token is sent with', async () => {
    const hub = await startHub({ 'org/name': { files: FILES, isPrivate: true } })
    const proxy = await startProxy(hub)
    const cache = await temporaryFolder()
    const env = {
      ...hub.env(cache),
      HF_ENDPOINT: 'http://hub.test',
      HTTP_PROXY: `http://user:p%40ss@${proxy.host}`,
      NO_PROXY: '127.0.0.1',
      HF_TOKEN: 'hf_secret',
    }
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    const wish = { kind: 'model', name: 'org/name', revision: 'main' } as const
    const fetch = () => fetchSnapshot(wish, async (names) => names, { cache })
    await expect(fetch()).rejects.toThrow(/A token is sent by https, or to this machine, only/)
    expect(hub.seen.map(({ authorization }) => authorization)).toEqual([undefined])
    hub.repositories.get('org/name')!.isPrivate = false
    await fetch()
    const basic = `Basic ${Buffer.from('user:p@ss').toString('base64')}`
    expect(proxy.seen[0]).toMatch(/^GET http:\/\/hub.test\/api\/models\/org\/name\/revision\/main/)
    expect(proxy.seen.every((line) => line.endsWith(basic))).toBe(true)
    expect(proxy.seen.length).toBe(5)
    expect(hub.filesSeen().length).toBe(2)
  })

  it('by https, of which it sees nothing', async () => {
    const folder = await temporaryFolder()
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const words = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2']
    const names = ['-subj', '/CN=hub.test', '-addext', 'subjectAltName=DNS:hub.test']
    execFileSync('openssl', [...words, ...names, '-keyout', key, '-out', cert], { stdio: 'pipe' })
    const certificate = { key: await readFile(key), cert: await readFile(cert) }
    const hub = await startHub({ 'org/name': { files: FILES, isPrivate: true } }, certificate)
    const proxy = await startProxy(hub)
    const cache = join(folder, 'hub')
    const child = join(ROOT, 'test/support/pull-child.ts')
    const env = {
      ...hub.env(cache),
      HF_ENDPOINT: 'https://hub.test',
      HTTPS_PROXY: proxy.host,
      HF_TOKEN: 'hf_secret',
    }
    const untrusted = await runChild(child, ['org/name', cache], { env })
    expect(untrusted.stderr).toMatch(/cannot reach the Hub at hub.test: .*NODE_EXTRA_CA_CERTS/)
    const trusting = { ...env, NODE_EXTRA_CA_CERTS: cert }
    const { code, stderr } = await runChild(child, ['org/name', cache], { env: trusting })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(new Set(proxy.seen)).toEqual(new Set(['CONNECT hub.test:443']))
    expect(hub.seen.find(({ host }) => host === 'hub')!.authorization).toBe('Bearer hf_secret')
    const refused = { ...trusting, HF_ENDPOINT: 'https://refused.test' }
    expect((await runChild(child, ['org/name', cache], { env: refused })).stderr).toMatch(
      /the proxy http:\/\/127.0.0.1:\d+ refuses a way to refused.test:443: 407 Proxy Authentication Required/,
    )
  })
})
