// What goes wrong between this machine and the Hub: what is tried again, and what a reader is told to do.

import { setTimeout as sleep } from 'node:timers/promises'
import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { DownloadError, ModelNotFoundError, TokenizerNotFoundError } from '../support/errors.js'
import { messageOf } from '../support/realms.js'
import type { Answer, Way } from './request.js'

/** What is fetched, so that messages fit. */
export interface Wish {
  readonly kind: 'model' | 'tokenizer'
  readonly name: string
  readonly revision: string
}

/** A failure that may be gone in a moment. */
export class PassingError extends Error {
  /** Milliseconds that the other side asks to wait. */
  readonly wait: number | undefined
  /** What is thrown in the end. */
  readonly final: Error

  constructor(final: Error, wait?: number) {
    super(final.message)
    this.final = final
    this.wait = wait
  }
}

// A wait longer than this is the caller's to decide on.
const LONGEST_WAIT = 60_000
const FIRST_PAUSE = 250
const LONGEST_PAUSE = 8000

/**
 * Runs `work` until it does not fail in a passing way, `attempts` times in a row at most. `hasAdvanced` tells whether
 * something was gained since it was last asked: then the count begins anew.
 */
export async function persist<T>(
  work: () => Promise<T>,
  {
    attempts,
    signal,
    hasAdvanced = () => false,
  }: { attempts: number; signal: Signal | undefined; hasAdvanced?: () => boolean },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work()
    } catch (error) {
      throwIfAborted(signal)
      if (!(error instanceof PassingError)) throw error
      if (hasAdvanced()) failures = 1
      if (failures >= attempts || (error.wait ?? 0) > LONGEST_WAIT) throw error.final
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
      // Not all at the same time, where many were sent away at once.
      await pauseFor(error.wait ?? pause * (0.75 + Math.random() / 2), signal)
    }
  }
}

/** Waits; throws the reason of the signal when it aborts. */
export async function pauseFor(milliseconds: number, signal: Signal | undefined): Promise<void> {
  throwIfAborted(signal)
  const controller = new AbortController()
  const forget = onAbort(signal, () => controller.abort())
  try {
    await sleep(milliseconds, undefined, { signal: controller.signal })
  } catch {
    throw reasonOf(signal!)
  } finally {
    forget()
  }
}

// What a network does for a moment. ENOTFOUND is what a machine without a network says, too.
const PASSING = ['ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', 'EPIPE', 'EAI_AGAIN', 'ENETUNREACH']
  .concat(['ENETDOWN', 'EHOSTUNREACH', 'ECONNABORTED', 'ENOTFOUND', 'ERR_STREAM_PREMATURE_CLOSE'])
  .concat(['HPE_INVALID_EOF_STATE'])

const isPassing = (error: unknown): boolean =>
  PASSING.includes((error as NodeJS.ErrnoException).code ?? '')

/** What a failed connection means. */
export function ofConnection(error: unknown, { endpoint }: Way): Error {
  const { host } = new URL(endpoint)
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const reason =
    code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      ? `its address cannot be looked up (${code})`
      : messageOf(error) || code
  const advice = /CERT|SELF_SIGNED|ISSUER/.test(code)
    ? 'Where a proxy puts a certificate of its own in the way, NODE_EXTRA_CA_CERTS names the file of its authority.'
    : 'Behind a proxy set HTTPS_PROXY; for a mirror set HF_ENDPOINT; HF_HUB_OFFLINE=1 uses only what is on this machine.'
  const final = new DownloadError(
    `cannot reach the Hub at ${host}: ${reason}. ${advice} What has arrived is kept.`,
    { reason: 'unreachable', cause: error },
  )
  return isPassing(error) ? new PassingError(final) : final
}

function header(answer: Answer, name: string): string {
  const value = answer.headers[name]
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** Milliseconds that an answer asks to wait: by Retry-After, or by the Hub's own RateLimit ("…";r=0;t=55). */
function waitOf(answer: Answer): number | undefined {
  const given = header(answer, 'retry-after')
  if (/^\d+$/.test(given)) return Number(given) * 1000
  const date = Date.parse(given)
  if (!Number.isNaN(date)) return Math.max(0, date - Date.now())
  const seconds = /;\s*t=(\d+)/.exec(header(answer, 'ratelimit'))?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}

/** What an answer means that brings nothing; `file`: the one that was asked for. */
export function ofAnswer(answer: Answer, way: Way, wish: Wish, file?: string): Error {
  const { status, isOfHub } = answer
  const { endpoint, token } = way
  const what = `the ${wish.kind} ${wish.name}`
  // Of the other side, so on one line, and not long.
  const said = header(answer, 'x-error-message').replace(/[^\x20-\x7e]+/g, ' ')
  const says = said === '' ? '' : ` It says: ${said.slice(0, 300)}`
  const failed = (reason: DownloadError['reason'], text: string) =>
    new DownloadError(text, { reason })
  const NotFound = wish.kind === 'model' ? ModelNotFoundError : TokenizerNotFoundError
  if (status === 429) {
    const wait = waitOf(answer)
    const after = wait === undefined ? 'a few minutes' : `${Math.ceil(wait / 1000)} s`
    const more = token === undefined ? '; with a token in HF_TOKEN the limits are higher' : ''
    const text = `the Hub limits how often it is asked. Try again in ${after}${more}. What has arrived is kept.${says}`
    return new PassingError(failed('rate-limited', text), wait)
  }
  if (status >= 500 || status === 408) {
    const text = `${answer.url.host} fails with status ${status}. Try again later: what has arrived is kept.${says}`
    return new PassingError(failed('unreachable', text))
  }
  if (!isOfHub) {
    // A signed address has expired, for one: the Hub gives a new one.
    const text = `${answer.url.host}, where the Hub has ${file}, refuses it with status ${status}. Try again later: what has arrived is kept.`
    return new PassingError(failed('refused', text))
  }
  const code = header(answer, 'x-error-code')
  const settings = `${endpoint}/settings/tokens`
  if (code === 'GatedRepo') {
    const how =
      token === undefined
        ? `then put a token of yours (${settings}) into HF_TOKEN`
        : 'with the account that the token in use belongs to'
    return failed(
      'no-access',
      `${what} is gated: its authors want their conditions accepted. Open ${endpoint}/${wish.name}, accept them, ${how}.${unsentToken(way)}${says}`,
    )
  }
  if (code === 'RevisionNotFound') {
    return new NotFound(
      `${what} has no branch, tag or commit ${wish.revision} on the Hub: ${endpoint}/${wish.name}/tree/main lists them`,
    )
  }
  if (code === 'EntryNotFound' && file !== undefined) {
    return new NotFound(`${what} has no file ${file} in revision ${wish.revision} on the Hub`)
  }
  if (status === 401 && token !== undefined && /credentials|token/i.test(said)) {
    return failed(
      'no-access',
      `the Hub does not accept the token in use (HF_TOKEN, or the file of \`hf auth login\`): it has expired or was revoked. Make a new one at ${settings}, or remove it.`,
    )
  }
  if (code === 'RepoNotFound' || status === 401 || status === 404) {
    const secret =
      token === undefined
        ? `if it is private, put a token of an account that may read it (${settings}) into HF_TOKEN`
        : 'or the account of the token in use may not read it'
    return new NotFound(
      `the Hub at ${new URL(endpoint).host} has no ${wish.kind} ${wish.name}: check how it is written; ${secret}.${unsentToken(way)}`,
    )
  }
  return failed('refused', `the Hub refuses ${what} with status ${status}.${says}`)
}

function unsentToken({ token, endpoint }: Way): string {
  const isSent = token === undefined || /^https:/.test(endpoint)
  return isSent ? '' : ' A token is sent by https, or to this machine, only.'
}
