// One request to the Hub, redirects followed. The token goes to the Hub alone, and only where nobody can read it on
// the way: files lie on other hosts, which get signed addresses from it.

import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { isError } from '../support/realms.js'
import { VERSION } from '../support/version.js'
import { open } from './proxy.js'
import { isPrivateWay } from './settings.js'

const MOST_REDIRECTS = 10
const REDIRECTS = [301, 302, 303, 307, 308]

/** How requests are sent. */
export interface Way {
  /** Its address, without a slash at the end. */
  readonly endpoint: string
  readonly token: string | undefined
  /** Milliseconds without a byte after which a connection is given up. */
  readonly timeout: number
  readonly signal: Signal | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Where the answer is from. */
  readonly url: URL
  /** Whether it is from the Hub itself, not from the host of a file. */
  readonly isOfHub: boolean
  /** Those of the last answer of the Hub itself, which name a file that lies elsewhere. */
  readonly hubHeaders: IncomingHttpHeaders
  readonly body: IncomingMessage
  /** Ends the transfer, and lets go of the signal. To be called in any case. */
  end(): void
}

/**
 * Sends a request and follows redirects. Throws the reason of the signal when it aborts, also while the body is
 * read.
 *
 * @example
 * const answer = await send(way, 'GET', '/org/name/resolve/main/config.json', { range: 'bytes=100-' })
 */
export async function send(
  way: Way,
  method: 'GET' | 'HEAD',
  path: string,
  extra: Record<string, string> = {},
  { followsTo = 'files' }: { followsTo?: 'files' | 'hub' } = {},
): Promise<Answer> {
  const { endpoint, timeout, signal } = way
  throwIfAborted(signal)
  const hub = new URL(endpoint)
  let url = new URL(endpoint + path)
  let current: ClientRequest | undefined
  const forget = onAbort(signal, () => current?.destroy(asError(reasonOf(signal!))))
  try {
    let hubHeaders: IncomingHttpHeaders = {}
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const isOfHub = url.origin === hub.origin
      const headers: Record<string, string> = {
        'user-agent': `ssm-metal/${VERSION} node/${process.versions.node}`,
        // A range of a compressed file would be of no use.
        'accept-encoding': 'identity',
        ...extra,
      }
      if (way.token !== undefined && isOfHub && isPrivateWay(url)) {
        headers.authorization = `Bearer ${way.token}`
      }
      const body = await open(url, {
        method,
        headers,
        timeout,
        onRequest(request) {
          current = request
          if (signal?.aborted) request.destroy(asError(reasonOf(signal)))
        },
      })
      const status = body.statusCode!
      if (isOfHub) hubHeaders = body.headers
      const next = redirectOf(url, status, body.headers.location)
      const goesOn = next && (followsTo === 'files' || next.origin === hub.origin)
      if (!goesOn) {
        const end = () => {
          forget()
          body.destroy()
        }
        return { status, headers: body.headers, url, isOfHub, hubHeaders, body, end }
      }
      body.resume()
      url = next
    }
    throw new Error(`${endpoint + path}: more than ${MOST_REDIRECTS} redirects`)
  } catch (error) {
    forget()
    throwIfAborted(signal)
    throw error
  }
}

function redirectOf(from: URL, status: number, location: string | undefined): URL | undefined {
  if (!REDIRECTS.includes(status) || location === undefined) return undefined
  const next = new URL(location, from)
  if (!/^https?:$/.test(next.protocol) || (isPrivateWay(from) && !isPrivateWay(next))) {
    throw new Error(`${from.origin} redirects to ${next.origin}, which is no https address`)
  }
  return next
}

function asError(reason: unknown): Error {
  return isError(reason) ? reason : new Error(String(reason))
}

/** The text of an answer. */
export async function textOf(answer: Answer, mostBytes: number): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      length += part.length
      if (length > mostBytes) {
        throw new Error(`${answer.url.origin} answers with more than ${mostBytes} bytes`)
      }
      parts.push(part)
    }
    return Buffer.concat(parts).toString('utf8')
  } finally {
    answer.end()
  }
}
