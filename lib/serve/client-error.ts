// What is no HTTP, or takes too long to become some.

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ApiError } from './api-error.js'

/** A connection whose last answer has been begun: another one must not be written into it. */
interface AnsweringSocket {
  _httpMessage?: { headersSent?: boolean } | null
}

const FAILURES: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are too large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the chunk extensions are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request took too long to arrive'],
}

/** For the event `clientError` of a server. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  const isAnswering = (socket as AnsweringSocket)._httpMessage?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering) {
    socket.destroy()
    return
  }
  const [status, message] = FAILURES[error.code ?? ''] ?? [400, 'this is no HTTP request']
  const body = JSON.stringify(new ApiError(status, message).body)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
}
