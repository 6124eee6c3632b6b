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

// For the answer to reach who still sends: closing at once would take it back.
const LINGER_MS = 1000

/** For the event `clientError` of a server. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Answered already, and still sending.
  if (socket.writableEnded) return
  const isAnswering = (socket as AnsweringSocket)._httpMessage?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering) {
    socket.destroy()
    return
  }
  const [status, message] = FAILURES[error.code ?? ''] ?? [400, 'this is no HTTP request']
  refuse(socket, new ApiError(status, message))
}

/** Answers where there is no response to do it with, and closes. */
export function refuse(socket: Duplex, { status, body: value, headers }: ApiError): void {
  const body = JSON.stringify(value)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}
