// How much float32 arithmetic this machine does: what products are compared with.

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** A program that measures it, until it is disposed of. */
export class FloatPeak {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Compiles float-peak.cpp with `CXX`, by default c++, and the options of a level of the CPU device. */
  static async compile(level: string | undefined): Promise<FloatPeak> {
    const folder = await mkdtemp(join(tmpdir(), 'ssm-metal-peak-'))
    const options = ['-O3', '-std=c++20', '-pthread', ...(await optionsOf(level))]
    const [compiler, ...words] = (process.env.CXX ?? 'c++').split(' ')
    const output = join(folder, 'float-peak')
    await run(compiler!, [...words, ...options, here('float-peak.cpp'), '-o', output])
    return new FloatPeak(folder)
  }

  /** Floating-point operations a second of so many threads. */
  async measure(threads: number): Promise<number> {
    const { stdout } = await run(join(this.#folder, 'float-peak'), [String(threads)])
    return Number(stdout)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }
}

// As the build has them, in the file of the level. The plain loops have none.
async function optionsOf(level: string | undefined): Promise<string[]> {
  if (level === undefined || level === 'reference') return []
  const source = await readFile(here(`../../../native/cpu/levels/${level}.cpp`), 'utf8')
  return /^\/\/ options: (.*)$/m.exec(source)![1]!.trim().split(/\s+/)
}
