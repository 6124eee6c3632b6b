// Errors as OpenAI's API has them: a status, and a body that its clients understand.

import {
  ContextLengthError,
  DisposedError,
  InsufficientMemoryError,
  QueueFullError,
} from '../support/errors.js'
import { isError, messageOf } from '../support/realms.js'

/** What a body says beside the message. */
interface ErrorDetails {
  /** The field that is wrong. */
  param?: string | undefined
  code?: string | undefined
  headers?: Readonly<Record<string, string>> | undefined
}

/** An error whose reason the client is told. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly param: string | undefined
  readonly code: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, { param, code, headers = {} }: ErrorDetails = {}) {
    super(message)
    this.status = status
    this.param = param
    this.code = code
    this.headers = headers
  }

  /** @example new ApiError(400, 'n must be a whole number', { param: 'n' }).body */
  get body(): object {
    const { message, status, param = null, code = null } = this
    return { error: { message, type: typeOf(status), param, code } }
  }
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error'
    case 403:
      return 'permission_error'
    case 404:
      return 'not_found_error'
    case 429:
      return 'rate_limit_error'
    default:
      return status < 500 ? 'invalid_request_error' : 'server_error'
  }
}

/** A field that is wrong, or cannot be honoured. */
export function badField(param: string, message: string): ApiError {
  return new ApiError(400, message, { param, code: 'invalid_value' })
}

/** More is asked for than there is room for. */
export function busyError(message: string, retryAfter = 1): ApiError {
  return new ApiError(429, message, {
    code: 'rate_limit_exceeded',
    headers: { 'retry-after': String(retryAfter) },
  })
}

/** Errors of calls that say what is wrong with what was asked: their codes, and what tells plain ones. */
const ASKED_WRONGLY = new Set([
  'ERR_CHAT_TEMPLATE',
  'ERR_NO_CHAT_TEMPLATE',
  'ERR_TOKENIZER_NOT_FOUND',
  'ERR_UNSUPPORTED_OPTION',
])

/** What a client is told of an error; one that says nothing of the request is a 500. */
export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof QueueFullError) return busyError(messageOf(error))
  if (error instanceof ContextLengthError) {
    return new ApiError(400, messageOf(error), { code: 'context_length_exceeded' })
  }
  if (error instanceof DisposedError) return new ApiError(503, 'the server is shutting down')
  if (error instanceof InsufficientMemoryError) return new ApiError(503, messageOf(error))
  if (isAboutRequest(error)) return ofLibrary(messageOf(error))
  return new ApiError(500, 'the server failed on this request: its log says why')
}

// The library's own checks lead with the operation.
function isAboutRequest(error: unknown): boolean {
  const { code } = error as { code?: string }
  if (code !== undefined) return ASKED_WRONGLY.has(code)
  const isCheck = error instanceof RangeError || error instanceof TypeError
  return isCheck && isError(error) && /^\[\w+\] /.test(error.message)
}

/** Options whose values the library checks too, by the fields that they come from. */
const FIELDS = new Set([
  ...['temperature', 'top_p', 'top_k', 'min_p', 'seed', 'n', 'stop', 'logprobs', 'prompt'],
  ...['repetition_penalty', 'presence_penalty', 'frequency_penalty', 'logit_bias'],
  'response_format',
])

/** What a check of the library says, by the client's names. */
function ofLibrary(message: string): ApiError {
  const [, operation, option = '', rest] = /^\[(\w+)\] (\w+)(.*)$/s.exec(message) ?? []
  if (/^token \d+ of the prompt/.test(`${option}${rest}`)) {
    return badField('prompt', `${option}${rest}`)
  }
  const field = option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  if (!FIELDS.has(field)) return new ApiError(400, message)
  // Of responses it is a part of another field.
  const name = operation === 'responses' && field === 'response_format' ? 'text.format' : field
  return badField(name, `${name}${rest}`)
}
