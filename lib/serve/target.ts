// What a request is for.

import type { IncomingMessage } from 'node:http'
import { ApiError } from './api-error.js'

export interface Target {
  /** As it was sent, without a query. */
  readonly path: string
  /** The name that the client calls this machine by; undefined only for HTTP/1.0. */
  readonly host: string | undefined
}

/**
 * @throws ApiError 400 where it is not clear which machine is meant.
 * @example targetOf(request) // { path: '/v1/models', host: '127.0.0.1:8080' }
 */
export function targetOf(request: IncomingMessage): Target {
  const hosts = request.headersDistinct.host ?? []
  if (hosts.length !== 1 && !(hosts.length === 0 && request.httpVersion === '1.0')) {
    throw new ApiError(400, `a request must have one Host header, and this one has ${hosts.length}`)
  }
  // As clients write it to a proxy; then its name counts (RFC 9112, 3.2.2).
  const absolute = /^https?:\/\/([^/?#]*)([^?#]*)/i.exec(request.url!)
  if (absolute) return { path: absolute[2] || '/', host: absolute[1] }
  return { path: request.url!.split('?', 1)[0]!, host: hosts[0] }
}
