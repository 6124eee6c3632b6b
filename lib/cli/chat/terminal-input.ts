// Messages from a keyboard: lines with history and editing, in a terminal's raw mode, where Control-C is a key.

import { createInterface, type Interface } from 'node:readline'
import { PassThrough, Writable } from 'node:stream'
import { MessageLines } from './message-lines.js'

const CONTROL_C = 3
// What the terminal puts around pasted text, so that its line ends do not send it.
const BRACKETED_PASTE = { on: '\x1b[?2004h', off: '\x1b[?2004l' }

/** The terminal as readline sees it, which is told of a resize where it has a line there. */
class PromptScreen extends Writable {
  readonly isTTY = true

  get columns(): number {
    return process.stdout.columns
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    // At once: what others write to the terminal comes after it.
    process.stdout.write(chunk)
    done()
  }
}

export interface TerminalInputOptions {
  /** Before a message, and before each further line of it. */
  prompts: { first: string; next: string }
  /** What a line that begins so may become, for the tab key. */
  complete(line: string): string[]
  /** Says something to the user, in a line of its own. */
  notify(text: string): void
  signal: AbortSignal
}

/** The keyboard. Close it, or the terminal stays in raw mode. */
export class TerminalInput {
  readonly #options: TerminalInputOptions
  /** What readline reads: keys that are pressed during an answer wait. */
  readonly #keys: PassThrough
  readonly #screen: PromptScreen
  readonly #readline: Interface
  readonly #message = new MessageLines()
  readonly #ahead: Buffer[] = []
  /** Lines that came in one piece with the end of a message. */
  readonly #lines: { text: string; isPasted: boolean }[] = []
  #stop: (() => void) | undefined
  #resolve: ((message: string | undefined) => void) | undefined
  #isPasting = false
  #isClosed = false
  /** Control-C was the last key, and there was nothing to clear. */
  #isLeaving = false

  readonly #onData = (chunk: Buffer) => this.#take(chunk)
  readonly #onEnd = () => void this.#keys.end()
  readonly #onExit = () => process.stdout.write(BRACKETED_PASTE.off)
  readonly #onAbort = () => this.close()
  // During an answer there is no line to draw anew: readline would draw over the text.
  readonly #onResize = () => {
    if (!this.#stop) this.#screen.emit('resize')
  }

  constructor(options: TerminalInputOptions) {
    this.#options = options
    const setRawMode = (mode: boolean) => process.stdin.setRawMode(mode)
    this.#keys = Object.assign(new PassThrough(), { setRawMode })
    this.#screen = new PromptScreen()
    this.#readline = createInterface({
      input: this.#keys,
      output: this.#screen,
      terminal: true,
      removeHistoryDuplicates: true,
      historySize: 1000,
      completer: (line: string) => [options.complete(line), line],
    })
    this.#keys.on('keypress', (_: string | undefined, { name }: { name?: string }) => {
      if (name === 'paste-start') this.#isPasting = true
      if (name === 'paste-end') this.#isPasting = false
    })
    this.#readline.on('line', (text) => this.#line(text))
    this.#readline.on('SIGINT', () => this.#interrupt())
    this.#readline.on('close', () => this.close())
    process.stdin.on('data', this.#onData)
    process.stdin.once('end', this.#onEnd)
    process.stdout.on('resize', this.#onResize)
    if (knowsPaste()) {
      process.stdout.write(BRACKETED_PASTE.on)
      process.once('exit', this.#onExit)
    }
    options.signal.addEventListener('abort', this.#onAbort)
    if (options.signal.aborted) this.close()
  }

  /** The next message; undefined when the user leaves. */
  read(): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      if (this.#isClosed) return this.#settle(undefined)
      this.#ask()
      for (const line of this.#lines.splice(0)) this.#line(line.text, line.isPasted)
    })
  }

  /** Runs `work`. Control-C calls `stop`; other keys are for the next message. */
  async during<T>(work: () => Promise<T>, stop: () => void): Promise<T> {
    this.#stop = stop
    try {
      return await work()
    } finally {
      this.#stop = undefined
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#readline.close()
    process.stdin.off('data', this.#onData)
    process.stdin.off('end', this.#onEnd)
    process.stdout.off('resize', this.#onResize)
    process.stdin.pause()
    process.off('exit', this.#onExit)
    if (knowsPaste()) this.#onExit()
    this.#settle(undefined)
  }

  #take(chunk: Buffer): void {
    if (!this.#stop) this.#keys.write(chunk)
    else if (!chunk.includes(CONTROL_C)) this.#ahead.push(chunk)
    else {
      this.#ahead.length = 0
      this.#stop()
    }
  }

  #ask(): void {
    const { first, next } = this.#options.prompts
    this.#readline.setPrompt(this.#message.isOpen ? next : first)
    this.#readline.prompt()
    for (const chunk of this.#ahead.splice(0)) this.#keys.write(chunk)
  }

  #line(text: string, isPasted = this.#isPasting): void {
    this.#isLeaving = false
    if (!this.#resolve) {
      this.#lines.push({ text, isPasted })
      return
    }
    const message = this.#message.push(text, { goesOn: isPasted })
    if (message === undefined) this.#ask()
    else this.#settle(message)
  }

  #interrupt(): void {
    const isEmpty = this.#readline.line === '' && !this.#message.isOpen
    if (isEmpty && this.#isLeaving) {
      this.close()
      return
    }
    this.#isLeaving = isEmpty
    this.#message.clear()
    if (isEmpty) {
      process.stdout.write('\n')
      this.#options.notify('Control-C once more leaves, as do Control-D and /exit')
    } else {
      this.#readline.write(null, { ctrl: true, name: 'e' })
      this.#readline.write(null, { ctrl: true, name: 'u' })
    }
    this.#ask()
  }

  #settle(message: string | undefined): void {
    this.#resolve?.(message)
    this.#resolve = undefined
  }
}

const knowsPaste = () => process.env.TERM !== 'dumb'
