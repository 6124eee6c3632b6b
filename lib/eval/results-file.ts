// Results of an evaluation, a line each, so that one that was cut short goes on.

import { type FileHandle, open } from 'node:fs/promises'
import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'
import type { Answers } from './metrics.js'

/** What must be the same for results to belong together. */
export type Setting = Readonly<Record<string, string | number | null>>

/** The answers to one question. */
export interface Result extends Answers {
  /** Which question of the file, from 0. */
  question: number
  /** Tokens of each continuation. */
  tokens: readonly number[]
  /** Tokens that were cut off the contexts on the left, together. */
  cut: number
}

const FORMAT = 'ssm-metal-eval'

/** A file of results: a line that says of what, then a line for each question. */
export class ResultsFile {
  readonly #file: FileHandle
  /** What it had when it was opened. */
  readonly results: readonly Result[]

  private constructor(file: FileHandle, results: readonly Result[]) {
    this.#file = file
    this.results = results
  }

  /**
   * Opens a file, or makes a new one. A last line that was not written to its end is dropped.
   *
   * @throws CorruptFileError for a file of something else; Error for one of another model, task or number of examples.
   */
  static async open(path: string, setting: Setting): Promise<ResultsFile> {
    const file = await open(path, 'a+')
    try {
      const text = await file.readFile('utf8')
      const lines = text.split('\n')
      const rest = lines.pop()!
      const [first, ...others] = lines
      if (first === undefined) {
        await file.truncate(0)
        await file.write(`${JSON.stringify({ format: FORMAT, ...setting })}\n`)
        return new ResultsFile(file, [])
      }
      checkSetting(path, first, setting)
      const results = others.map((line, index) => resultOf(path, line, index + 2))
      if (rest !== '') await file.truncate(Buffer.byteLength(text) - Buffer.byteLength(rest))
      return new ResultsFile(file, results)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async append(result: Result): Promise<void> {
    await this.#file.write(`${JSON.stringify(result)}\n`)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function checkSetting(path: string, line: string, setting: Setting): void {
  const { format, ...found } = parsed(line) ?? {}
  if (format !== FORMAT) {
    throw new CorruptFileError(`${path}: is no file of results of ssm-metal eval`)
  }
  const other = Object.keys(setting).find((name) => found[name] !== setting[name])
  if (other === undefined) return
  throw new Error(
    `${path}: has results of another ${other} (${quote(found[other])}, now ${quote(setting[other])}): name another file`,
  )
}

function resultOf(path: string, line: string, number: number): Result {
  const value = parsed(line) ?? {}
  const { question, logprobs, greedy, tokens, cut } = value
  const isRight =
    Number.isSafeInteger(question) &&
    isListOf(logprobs, Number.isFinite) &&
    isListOf(greedy, (item) => typeof item === 'boolean') &&
    isListOf(tokens, Number.isSafeInteger) &&
    Number.isSafeInteger(cut)
  if (isRight) return value as unknown as Result
  throw new CorruptFileError(`${path}:${number}: is no result of ssm-metal eval`)
}

const isListOf = (value: unknown, is: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every((item) => is(item))
