// A request and its answer, on their way through the server.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Serving } from './serving.js'

/** The client has gone away: nobody is told anything. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'

  constructor() {
    super('the client has gone away')
  }
}

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** As the request has it, without a query and without the server's name. */
  readonly path: string
  readonly serving: Serving
  /** Aborts when the client goes away, the time is over or the server stops; whoever fails aborts it too. */
  readonly controller: AbortController
}

/** Sends a whole answer. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendText(response, status, 'application/json; charset=utf-8', JSON.stringify(value), headers)
}

export function sendText(
  response: ServerResponse,
  status: number,
  contentType: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': String(Buffer.byteLength(text)),
    'cache-control': 'no-store',
    ...headers,
  })
  response.end(text)
}
