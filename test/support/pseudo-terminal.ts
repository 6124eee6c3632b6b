// A program in a terminal: what a person types, and what stands on the screen.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import xterm from '@xterm/headless'
import { onTestFinished } from 'vitest'
import { ROOT } from './child-process.js'
import { programWords } from './compiled.js'

const DRIVER = fileURLToPath(new URL('pseudo-terminal.py', import.meta.url))

export interface PseudoTerminalOptions {
  columns?: number
  rows?: number
  env?: NodeJS.ProcessEnv
}

/** A TypeScript file of this project, running in a terminal. Ends with the test at the latest. */
export class PseudoTerminal {
  readonly #child
  readonly #screen
  /** All that the program has written. */
  output = ''
  /** The exit code. */
  readonly ended: Promise<number | null>
  #drawn: Promise<void> = Promise.resolve()
  readonly #waiting = new Set<() => void>()

  constructor(
    file: string,
    words: readonly string[],
    { columns = 80, rows = 24, env }: PseudoTerminalOptions = {},
  ) {
    const program = [process.execPath, ...programWords(file), ...words]
    this.#screen = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true })
    this.#child = spawn('python3', [DRIVER, String(columns), String(rows), ...program], {
      cwd: ROOT,
      env: { ...process.env, TERM: 'xterm-256color', NO_COLOR: undefined, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void this.#child.kill('SIGKILL'))
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text
      const drawn = new Promise<void>((resolve) => this.#screen.write(text, resolve))
      this.#drawn = drawn
      void drawn.then(() => this.#tell())
    })
    this.ended = once(this.#child, 'close').then(([code]) => {
      this.#tell()
      return code as number | null
    })
  }

  /** Types: `\r` is the return key, `\x03` Control-C. */
  type(text: string): void {
    this.#child.stdin.write(`${JSON.stringify({ write: text })}\n`)
  }

  /** Pastes, as terminals do that were asked to mark it. */
  paste(text: string): void {
    this.type(`\x1b[200~${text.replaceAll('\n', '\r')}\x1b[201~`)
  }

  resize(columns: number, rows: number): void {
    this.#screen.resize(columns, rows)
    this.#child.stdin.write(`${JSON.stringify({ columns, rows })}\n`)
  }

  /** The lines of the screen, and those that have scrolled away, without empty ones at the end. */
  lines(): string[] {
    const { active } = this.#screen.buffer
    const lines = Array.from({ length: active.length }, (_, y) =>
      active.getLine(y)!.translateToString(true).trimEnd(),
    )
    while (lines.at(-1) === '') lines.pop()
    return lines
  }

  /**
   * Resolves with the lines when they match; rejects, with the screen, when the program ends without, or half a minute
   * has passed.
   */
  async until(pattern: RegExp | ((lines: string[]) => boolean)): Promise<string[]> {
    let isLate = false
    const deadline = setTimeout(() => {
      isLate = true
      this.#tell()
    }, 30_000)
    const matches = (lines: string[]) =>
      typeof pattern === 'function' ? pattern(lines) : pattern.test(lines.join('\n'))
    try {
      for (;;) {
        await this.#drawn
        const lines = this.lines()
        if (matches(lines)) return lines
        if (isLate || this.#child.exitCode !== null) {
          const why = isLate ? 'too late' : 'ended'
          throw new Error(`${why}, without ${pattern}; the screen was:\n${lines.join('\n')}`)
        }
        await new Promise<void>((resolve) => this.#waiting.add(resolve))
      }
    } finally {
      clearTimeout(deadline)
    }
  }

  #tell(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
