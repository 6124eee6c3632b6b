// Connections, direct or through the proxy that the environment names. Node itself knows these variables
// from version 24 on only.

import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Socket } from 'node:net'
import tls from 'node:tls'

// Of our own: the usual ones may have been told of a proxy already, by NODE_USE_ENV_PROXY.
const agents = { http: new http.Agent(), https: new https.Agent() }

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The proxy for an address: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, in either case, unless NO_PROXY has the host. As for
 * curl, lower case wins, and HTTP_PROXY in capitals counts too.
 *
 * @throws Error for a proxy of a kind that is not known.
 */
export function proxyFor(url: URL, environment: Environment = process.env): URL | undefined {
  const variable = (name: string) => environment[name.toLowerCase()] || environment[name]
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const given = variable(name) || variable('ALL_PROXY')
  if (!given || isExempt(url, variable('NO_PROXY') ?? '')) return undefined
  let proxy: URL | undefined
  try {
    proxy = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http://${given}`)
  } catch {}
  if (proxy && /^https?:$/.test(proxy.protocol)) return proxy
  // Not shown as a whole: it may have a password.
  const kind = proxy ? `is a ${proxy.protocol.slice(0, -1)} proxy` : 'is no address'
  throw new Error(`${name} (or ALL_PROXY) must be an http:// or https:// address but ${kind}`)
}

/** Hosts after commas: `*`, `example.org` with all hosts in it, `.example.org`, an address, each with a port or not. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true
    const [, name = '', ofPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(unbracketed(entry)) ?? []
    if (name === '' || (ofPort !== undefined && ofPort !== port)) return false
    const domain = name.toLowerCase().replace(/^\*?\./, '')
    return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`))
  })
}

// The colons of an address of IPv6 are no port.
const unbracketed = (entry: string) => (isIP(entry) === 6 ? `[${entry}]` : entry)

export interface OpenOptions {
  method: 'GET' | 'HEAD'
  headers: Record<string, string>
  /** Milliseconds without a byte. */
  timeout: number
  /** Called with each request to this server or the proxy, so that it can be ended. */
  onRequest: (request: http.ClientRequest) => void
}

/** Sends a request; resolves with the head of the answer. */
export async function open(url: URL, options: OpenOptions): Promise<http.IncomingMessage> {
  const proxy = proxyFor(url)
  const { method, headers } = options
  if (proxy === undefined) {
    return answerTo(moduleOf(url).request(url, { method, headers, agent: agentOf(url) }), options)
  }
  const authorization = proxyAuthorization(proxy)
  if (url.protocol === 'http:') {
    const request = moduleOf(proxy).request({
      ...placeOf(proxy),
      method,
      path: url.href,
      headers: { ...headers, ...authorization, host: url.host },
      agent: agentOf(proxy),
    })
    return answerTo(request, options)
  }
  const socket = await tunnel(proxy, url, authorization, options)
  const servername = isIP(url.hostname.replace(/^\[|\]$/g, '')) ? '' : url.hostname
  const request = https.request(url, {
    method,
    headers,
    createConnection: () => tls.connect({ socket, servername }),
  })
  return answerTo(request, options)
}

const moduleOf = (url: URL) => (url.protocol === 'https:' ? https : http)
const agentOf = (url: URL) => (url.protocol === 'https:' ? agents.https : agents.http)

function placeOf({ hostname, port, protocol }: URL) {
  const host = hostname.replace(/^\[|\]$/g, '')
  return { host, port: port || (protocol === 'https:' ? 443 : 80) }
}

function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

function answerTo(
  request: http.ClientRequest,
  { timeout, onRequest }: OpenOptions,
): Promise<http.IncomingMessage> {
  onRequest(request)
  giveUpAfter(request, timeout)
  return new Promise((resolve, reject) => {
    // Once there is an answer, its body tells of failures: a request may tell of the same one again.
    request.once('response', resolve).on('error', reject).end()
  })
}

function giveUpAfter(request: http.ClientRequest, timeout: number): void {
  request.setTimeout(timeout, () => {
    const error = new Error(`no answer for ${timeout / 1000} s`)
    request.destroy(Object.assign(error, { code: 'ETIMEDOUT' }))
  })
}

/** A connection to the host of `url` by way of the proxy, which sees its name and port only. */
function tunnel(
  proxy: URL,
  url: URL,
  authorization: Record<string, string>,
  { timeout, onRequest }: OpenOptions,
): Promise<Socket> {
  const path = `${url.hostname}:${url.port || 443}`
  const request = moduleOf(proxy).request({
    ...placeOf(proxy),
    method: 'CONNECT',
    path,
    headers: { ...authorization, host: path },
    agent: false,
  })
  onRequest(request)
  giveUpAfter(request, timeout)
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.once('connect', ({ statusCode, statusMessage }, socket: Socket) => {
      if (statusCode === 200) return resolve(socket)
      socket.destroy()
      const place = `${proxy.protocol}//${proxy.host}`
      reject(
        new Error(`the proxy ${place} refuses a way to ${path}: ${statusCode} ${statusMessage}`),
      )
    })
    request.end()
  })
}
