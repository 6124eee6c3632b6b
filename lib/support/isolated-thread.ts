// A thread for what came from outside and may take for ever: templates, schemas. Bounded in time and memory.

import { Worker } from 'node:worker_threads'
import { KEEP_EXTERNAL, isTypeScript, requireFrom, scriptOf } from './location.js'

/** What a thread is given at once. */
interface Question<Request, Answer> {
  request: Request
  timeoutMs: number
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/** What its script posts: `ready` once, then an answer a request (isolated-answers.ts). */
export type Reply<Answer> =
  | { ready: true }
  | { answer: Answer }
  | { error: { name: string; message: string } }

// Until the script is there: a machine may be busy.
const START_MS = 60_000

/** A request took longer than it may, or more memory; the thread is gone, and what it held. */
export class ThreadLostError extends Error {
  override readonly name = 'ThreadLostError'
}

export interface IsolatedThreadOptions {
  /** In lib/, without extension. */
  script: string
  /** Of JavaScript's heap. */
  maxMemoryMiB: number
}

/**
 * Answers requests one after another on a thread of its own, which starts with the first one. It does not keep
 * the process alive but while somebody waits. One that is late, or needs too much memory, ends the thread with all
 * that it held; the next request starts another one.
 *
 * @example
 * const thread = new IsolatedThread<Request, string>({ script: 'chat/template-thread', maxMemoryMiB: 64 })
 * const text = await thread.ask({ template, messages }, 1000)
 */
export class IsolatedThread<Request, Answer> {
  readonly #options: IsolatedThreadOptions
  readonly #waiting: Question<Request, Answer>[] = []
  #worker: Worker | undefined
  #isReady = false
  #current: Question<Request, Answer> | undefined
  #timer: NodeJS.Timeout | undefined
  #threads = 0
  #isDisposed = false

  constructor(options: IsolatedThreadOptions) {
    this.#options = options
  }

  /** Starts it before the first request. What fails here fails there again. */
  start(): void {
    if (this.#isDisposed || this.#worker) return
    try {
      this.#worker = this.#start()
      if (!this.#current) this.#worker.unref()
    } catch {
      this.#worker = undefined
    }
  }

  /** Grows when a thread was lost: what the one before held is gone. */
  get generation(): number {
    return this.#threads
  }

  /** Rejects with `ThreadLostError` when it is late, and with an `Error` of the name that the script's had. */
  ask(request: Request, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#isDisposed) return reject(new ThreadLostError('the thread has ended'))
      this.#waiting.push({ request, timeoutMs, resolve, reject })
      this.#next()
    })
  }

  /** Whoever waits is told with a `ThreadLostError`. */
  dispose(): void {
    this.#isDisposed = true
    this.#lose('the thread has ended')
    for (const { reject } of this.#waiting.splice(0)) {
      reject(new ThreadLostError('the thread has ended'))
    }
  }

  #next(): void {
    if (this.#current) return
    const question = this.#waiting.shift()
    if (!question) {
      this.#worker?.unref()
      return
    }
    try {
      this.#worker ??= this.#start()
    } catch (error) {
      question.reject(error)
      this.#next()
      return
    }
    this.#current = question
    this.#worker.ref()
    if (this.#isReady) this.#post(question)
    else this.#lateAfter(START_MS)
  }

  #post({ request, timeoutMs, reject }: Question<Request, Answer>): void {
    this.#lateAfter(timeoutMs)
    try {
      this.#worker!.postMessage(request)
    } catch (error) {
      // A value that no thread can be sent. The thread has nothing to do with it.
      this.#current = undefined
      clearTimeout(this.#timer)
      reject(error)
      this.#next()
    }
  }

  #lateAfter(milliseconds: number): void {
    clearTimeout(this.#timer)
    const question = this.#current
    // Where this thread was busy for so long itself, the answer may be there: timers come before messages.
    const late = () =>
      setImmediate(() => {
        const isWaiting = question !== undefined && this.#current === question
        if (isWaiting) this.#lose(`it took longer than ${milliseconds} ms`)
      })
    this.#timer = setTimeout(late, milliseconds)
  }

  #start(): Worker {
    const { script, maxMemoryMiB } = this.#options
    const file = scriptOf(script)
    if (file === undefined) {
      throw new Error(
        `ssm-metal was bundled, and the script of its threads was not: ${KEEP_EXTERNAL}`,
      )
    }
    const resourceLimits = { maxOldGenerationSizeMb: maxMemoryMiB, maxYoungGenerationSizeMb: 16 }
    // Nothing that the process was started with is needed; a thread takes no loader from it.
    const worker = isTypeScript()
      ? new Worker(
          `require(${JSON.stringify(requireFrom(file).resolve('tsx/cjs'))}); require(${JSON.stringify(file)})`,
          { eval: true, resourceLimits, execArgv: [], env: {} },
        )
      : new Worker(file, { resourceLimits, execArgv: [], env: {} })
    this.#threads += 1
    worker.on('message', (reply: Reply<Answer>) => {
      if (this.#worker === worker) this.#answered(reply)
    })
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#lose(messageOfEnd(error, maxMemoryMiB))
    })
    worker.on('exit', () => {
      if (this.#worker === worker) this.#lose('its thread has ended')
    })
    return worker
  }

  #answered(reply: Reply<Answer>): void {
    const question = this.#current
    if ('ready' in reply) {
      this.#isReady = true
      if (question) this.#post(question)
      return
    }
    this.#current = undefined
    clearTimeout(this.#timer)
    if ('answer' in reply) question?.resolve(reply.answer)
    else {
      const { name, message } = reply.error
      question?.reject(Object.assign(new Error(message), { name }))
    }
    this.#next()
  }

  #lose(reason: string): void {
    const question = this.#current
    const worker = this.#worker
    this.#current = undefined
    this.#worker = undefined
    this.#isReady = false
    clearTimeout(this.#timer)
    void worker?.terminate()
    question?.reject(new ThreadLostError(reason))
    if (!this.#isDisposed) this.#next()
  }
}

function messageOfEnd(error: unknown, maxMemoryMiB: number): string {
  const { code, message } = error as { code?: string; message?: string }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return `it needed more than ${maxMemoryMiB} MiB`
  return `its thread has ended: ${message ?? String(error)}`
}
