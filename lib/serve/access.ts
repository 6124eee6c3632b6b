// Who may use the server: which names and pages, and with which key.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { ApiError } from './api-error.js'

export interface AccessOptions {
  /** The address that the server listens on. */
  host: string
  apiKey?: string | undefined
  allowHost?: readonly string[] | undefined
  allowOrigin?: readonly string[] | undefined
}

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, '').toLowerCase()
  return (
    address === 'localhost' ||
    address === '::1' ||
    /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address)
  )
}

const digest = (text: string) => createHash('sha256').update(text).digest()

/**
 * Checks requests before anything else is read of them. A page of another site that was led here by its name
 * (DNS rebinding) shows itself by the `Host` that it names, one that writes to 127.0.0.1 by its `Origin`.
 *
 * @example
 * const access = new Access({ host: '127.0.0.1', apiKey: 'secret' })
 * access.checkPlace(request.headers.host, request.headers)
 * access.checkKey(request.headers)
 */
export class Access {
  readonly #isLocal: boolean
  readonly #names: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  readonly #key: Buffer | undefined

  constructor({ host, apiKey, allowHost = [], allowOrigin = [] }: AccessOptions) {
    this.#isLocal = isLoopback(host)
    const own = hostname().toLowerCase()
    const names = this.#isLocal ? [] : [host, own, `${own}.local`]
    for (const name of allowHost) checkName(name)
    for (const origin of allowOrigin) checkOrigin(origin)
    this.#names = new Set([...names, ...allowHost].map((name) => name.toLowerCase()))
    this.#origins = new Set(allowOrigin)
    this.#key = apiKey === undefined ? undefined : digest(apiKey)
  }

  /** Throws a 403 for a foreign name, or a foreign `Origin`. */
  checkPlace(host: string | undefined, { origin }: IncomingHttpHeaders): void {
    if (!this.#isOwn(host ?? '')) {
      throw new ApiError(
        403,
        `the Host ${quoted(host)} is not one of this server: name it with --allow-host where clients call it so`,
        { code: 'forbidden_host' },
      )
    }
    if (origin === undefined || !this.#isForeign(origin, host)) return
    throw new ApiError(
      403,
      `the Origin ${quoted(origin)} may not use this server: name it with --allow-origin where it should`,
      { code: 'forbidden_origin' },
    )
  }

  /** What lets a page of an allowed origin read an answer: nothing for the server's own. */
  corsHeaders({ origin }: IncomingHttpHeaders): Record<string, string> {
    if (this.#origins.size === 0) return {}
    const allowed = origin !== undefined && this.#origins.has(origin)
    return { vary: 'Origin', ...(allowed && { 'access-control-allow-origin': origin }) }
  }

  /** What a browser asks before a page of an allowed origin sends a request with JSON. */
  preflightHeaders(headers: IncomingHttpHeaders): Record<string, string> {
    if (!this.#origins.has(headers.origin ?? '')) return {}
    const asked = String(headers['access-control-request-headers'] ?? '')
    return {
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': /^[\w\-, ]+$/.test(asked)
        ? asked
        : 'authorization, content-type',
      'access-control-max-age': '600',
    }
  }

  /** Throws a 401 where a key is needed and another one is given, or none. */
  checkKey({ authorization = '' }: IncomingHttpHeaders): void {
    if (!this.#key) return
    const given = /^bearer +(.+)$/i.exec(authorization)?.[1] ?? ''
    // Of digests, so that the time says nothing of the length either.
    if (timingSafeEqual(digest(given), this.#key)) return
    const what = authorization === '' ? 'no API key was given' : 'the API key is wrong'
    throw new ApiError(401, `${what}: send it as Authorization: Bearer KEY`, {
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    })
  }

  // Neither that of the server's own page, over TLS behind a proxy, nor allowed.
  #isForeign(origin: string, host: string | undefined): boolean {
    if (this.#origins.has(origin)) return false
    return origin !== `http://${host}` && origin !== `https://${host}`
  }

  #isOwn(host: string): boolean {
    const name = host.replace(/:\d+$/, '').toLowerCase()
    if (this.#names.has(name) || isLoopback(name)) return true
    // No name leads a page of another site to an address.
    return !this.#isLocal && isIP(name.replace(/^\[|\]$/g, '')) !== 0
  }
}

// What would never match is told at the start.
function checkName(name: string): void {
  if (/^(?:[\w.-]+|\[[\da-f:.]+\])$/i.test(name)) return
  throw new RangeError(
    `[serve] allowHost must have names without a port, such as models.example.com, but has ${quoted(name)}`,
  )
}

function checkOrigin(origin: string): void {
  if (origin === 'null') return
  const isOrigin = URL.canParse(origin) && new URL(origin).origin === origin
  // Those of browser extensions have schemes that say nothing to URL.
  if (isOrigin || /^(?!https?:)[a-z][a-z\d+.-]*:\/\/[\w.-]+$/.test(origin)) return
  throw new RangeError(
    `[serve] allowOrigin must have origins as browsers send them, such as https://app.example.com, but has ${quoted(origin)}: no path, no * for all`,
  )
}

const quoted = (text: string | undefined) => JSON.stringify((text ?? '').slice(0, 100))
