// One line on standard error that shows how far something is, and goes away when it is done.

import { formatBytes, formatDuration } from '../support/format.js'

/** What is under way. */
export interface Progress {
  /** What is being done: `load`, `convert`, ... */
  readonly phase: string
  /** How much is done, in bytes unless `unit` says otherwise. */
  readonly loaded: number
  /** Of how much; 0 if that is not known. */
  readonly total: number
  /** What is counted, if not bytes: `'tokens'`. */
  readonly unit?: string
  /** How fast it goes, where that says more than the time that has passed. */
  readonly bytesPerSecond?: number | undefined
  readonly secondsLeft?: number | undefined
}

/** The part of a terminal that is used. */
export interface ProgressStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Options of a {@link ProgressLine}. */
export interface ProgressOptions {
  /** Where the line is drawn. Defaults to standard error. */
  stream?: ProgressStream
  /** The clock, in milliseconds. Defaults to `performance.now`. */
  now?: () => number
  /** The least time between two drawings, in milliseconds. Defaults to `100`. */
  interval?: number
}

/**
 * A progress line. Draws only on a terminal, at most ten times a second; its bold type respects
 * NO_COLOR. Call `clear()` before anything else is written to the terminal.
 *
 * @example
 * const line = new ProgressLine()
 * line.update({ phase: 'load', loaded: 5e8, total: 1e9 }) // load  50%  477 MiB / 954 MiB  1.2 s
 * line.clear()
 */
export class ProgressLine {
  readonly #stream: ProgressStream
  readonly #now: () => number
  readonly #interval: number
  readonly #enabled: boolean
  readonly #bold: boolean
  #phase: string | undefined
  #phaseStart = 0
  #lastDrawn = Number.NEGATIVE_INFINITY
  #width = 0

  constructor(options: ProgressOptions = {}) {
    this.#stream = options.stream ?? process.stderr
    this.#now = options.now ?? (() => performance.now())
    this.#interval = options.interval ?? 100
    const { NO_COLOR: noColor, TERM: terminal } = process.env
    this.#enabled = this.#stream.isTTY === true && terminal !== 'dumb'
    this.#bold = this.#enabled && !noColor
  }

  /**
   * Shows `progress`, unless the line was drawn just now. The elapsed time is that of the phase.
   *
   * @example line.update({ phase: 'prefill', loaded: 512, total: 4096, unit: 'tokens' })
   */
  update(progress: Progress): void {
    if (!this.#enabled) return
    const now = this.#now()
    const { phase } = progress
    if (phase !== this.#phase) {
      this.#phase = phase
      this.#phaseStart = now
    } else if (now - this.#lastDrawn < this.#interval) {
      return
    }
    this.#lastDrawn = now
    this.#draw(progress, now - this.#phaseStart)
  }

  /** Removes the line; a later `update` draws it anew. */
  clear(): void {
    if (this.#width > 0) this.#stream.write(`\r${' '.repeat(this.#width)}\r`)
    this.#width = 0
    this.#phase = undefined
    this.#lastDrawn = Number.NEGATIVE_INFINITY
  }

  #draw(progress: Progress, elapsed: number): void {
    const { phase, loaded, total, unit } = progress
    const amount = (value: number): string =>
      unit === undefined ? formatBytes(value) : String(Math.round(value))
    const parts: string[] = []
    if (total > 0) {
      const percent = Math.floor(Math.min(1, Math.max(0, loaded / total)) * 100)
      parts.push(`${String(percent).padStart(3)}%`, `${amount(loaded)} / ${amount(total)}`)
    } else {
      parts.push(amount(loaded))
    }
    if (unit !== undefined) parts[parts.length - 1] += ` ${unit}`
    parts.push(...timesOf(progress, elapsed))
    // In the last column some terminals wrap, and a wrapped line cannot be drawn over. Some have no size: 0.
    const room = (this.#stream.columns || 80) - 1
    const line = `${phase}  ${parts.join('  ')}`.slice(0, room)
    const padding = ' '.repeat(Math.max(0, this.#width - line.length))
    const head = line.slice(0, phase.length)
    const shown = this.#bold ? `\x1b[1m${head}\x1b[22m${line.slice(phase.length)}` : line
    this.#stream.write(`\r${shown}${padding}`)
    this.#width = line.length
  }
}

/** How fast it is and how long it will take, where that is known; else how long it has taken. */
function timesOf({ bytesPerSecond, secondsLeft }: Progress, elapsed: number): string[] {
  if (bytesPerSecond !== undefined) {
    const left = secondsLeft === undefined ? [] : [`${roundTime(secondsLeft * 1000)} left`]
    return [`${formatBytes(bytesPerSecond)}/s`, ...left]
  }
  return [roundTime(elapsed)]
}

/** Tenths of a second: a unit that changes while one looks is hard to read. */
function roundTime(milliseconds: number): string {
  return milliseconds < 59_950
    ? `${(milliseconds / 1000).toFixed(1)} s`
    : formatDuration(milliseconds)
}
