// The body of a request: JSON of a limited size.

import type { IncomingMessage } from 'node:http'
import { messageOf } from '../support/realms.js'
import { ApiError } from './api-error.js'
import { ClientGoneError } from './exchange.js'

// Twice what a schema may have. Whatever walks through a body may use the stack.
const MOST_LEVELS = 256

/**
 * The JSON object of a request's body.
 *
 * @throws ApiError 415 for another content type, 413 for a body that is too large, 400 for what is no JSON object.
 * @example const body = await readJsonBody(request, 2 ** 20)
 */
export async function readJsonBody(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const { headers } = request
  // A form of a foreign page can send other types without being asked first.
  if (!/^application\/json *(?:;|$)/i.test(headers['content-type'] ?? '')) {
    throw new ApiError(415, 'the content type must be application/json')
  }
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new ApiError(415, 'the body must not be compressed')
  }
  const text = decoded(await readBytes(request, maxBytes))
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new ApiError(400, `the body must be JSON: ${messageOf(error)}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    checkLevels(value)
    return value as Record<string, unknown>
  }
  throw new ApiError(400, 'the body must be a JSON object')
}

// By events: leaving an iteration early would destroy the connection before the client hears why. What is left of a
// body that is too large is read and dropped, for as long as a request may take to arrive.
function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const refuse = () => {
      request.removeAllListeners('data')
      request.resume()
      reject(new ApiError(413, `the body must have at most ${maxBytes} bytes`))
    }
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return refuse()
    const parts: Buffer[] = []
    let bytes = 0
    request.on('data', (part: Buffer) => {
      bytes += part.length
      if (bytes > maxBytes) refuse()
      else parts.push(part)
    })
    request.once('end', () => resolve(Buffer.concat(parts)))
    request.once('error', reject)
    request.once('close', () => reject(new ClientGoneError()))
  })
}

function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new ApiError(400, 'the body must be UTF-8')
  }
}

function checkLevels(value: object): void {
  let level: object[] = [value]
  for (let levels = 1; level.length > 0; levels++) {
    if (levels > MOST_LEVELS) {
      throw new ApiError(400, `the body must have at most ${MOST_LEVELS} levels`)
    }
    const next: object[] = []
    for (const one of level) {
      for (const child of Object.values(one)) {
        if (typeof child === 'object' && child !== null) next.push(child)
      }
    }
    level = next
  }
}
