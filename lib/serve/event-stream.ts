// Server-sent events, at the pace at which the client reads them.

import type { ServerResponse } from 'node:http'
import { onAbort, reasonOf, throwIfAborted } from '../support/abort.js'

/** The client has not read on for too long: its stream ends. */
export class SlowReaderError extends Error {
  override readonly name = 'SlowReaderError'
}

/**
 * @example
 * const events = new EventStream(response, { signal, idleMs: 30_000 })
 * await events.send({ text: 'Once' })
 * events.end()
 */
export class EventStream {
  readonly #response: ServerResponse
  readonly #signal: AbortSignal
  readonly #idleMs: number
  /** Several texts write in turns: who waits for the client makes the others wait. */
  #draining: Promise<void> | undefined

  constructor(
    response: ServerResponse,
    { signal, idleMs }: { signal: AbortSignal; idleMs: number },
  ) {
    this.#response = response
    this.#signal = signal
    this.#idleMs = idleMs
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // What nginx would otherwise hold back.
      'x-accel-buffering': 'no',
    })
    // Each token has its own packet.
    response.socket?.setNoDelay(true)
  }

  /** Writes an event. Resolves when the client has read enough for another one. */
  send(data: object | string, event?: string): Promise<void> {
    const text = typeof data === 'string' ? data : JSON.stringify(data)
    const lead = event === undefined ? '' : `event: ${event}\n`
    if (this.#response.write(`${lead}data: ${text}\n\n`)) return Promise.resolve()
    this.#draining ??= this.#drained().finally(() => {
      this.#draining = undefined
    })
    return this.#draining
  }

  end(): void {
    this.#response.end()
  }

  async #drained(): Promise<void> {
    throwIfAborted(this.#signal)
    await new Promise<void>((resolve, reject) => {
      const response = this.#response
      const settle = (outcome: () => void) => {
        clearTimeout(timer)
        forget()
        response.off('drain', onDrain)
        outcome()
      }
      const onDrain = () => settle(resolve)
      const timer = setTimeout(() => {
        settle(() => reject(new SlowReaderError('the client does not read on')))
      }, this.#idleMs)
      const forget = onAbort(this.#signal, () => settle(() => reject(reasonOf(this.#signal))))
      response.once('drain', onDrain)
    })
  }
}
