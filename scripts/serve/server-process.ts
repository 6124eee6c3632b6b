// ssm-metal serve as a process of its own, and how much memory it takes.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))

export interface ServerProcess {
  readonly url: string
  /** A number of /metrics. */
  metric(name: string): Promise<number>
  /** Ends it as an operator does; throws unless it ends well. */
  stop(): Promise<void>
}

/** @example const server = await startServerProcess(['--max-queue', '16']) */
export async function startServerProcess(words: readonly string[]): Promise<ServerProcess> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', CLI, 'serve', '--port', '0', ...words],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  process.once('exit', () => child.kill('SIGKILL'))
  const [url] = (await once(createInterface(child.stdout!), 'line')) as [string]
  return {
    url,
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`)).text()
      return Number(new RegExp(`^ssm_metal_${name} (\\S+)$`, 'm').exec(text)?.[1])
    },
    stop: () => stop(child),
  }
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const [code, signal] = await ended
  if (code !== 0) throw new Error(`the server ended with ${code ?? signal}`)
}

/** Megabytes over time. */
export class MemoryWatch {
  readonly samples: { seconds: number; MiB: number }[] = []
  readonly #server: ServerProcess
  readonly #timer: NodeJS.Timeout
  readonly #start = performance.now()

  constructor(server: ServerProcess, everySeconds: number) {
    this.#server = server
    this.#timer = setInterval(() => void this.sample().catch(() => {}), 1000 * everySeconds)
  }

  async sample(): Promise<number> {
    const MiB = (await this.#server.metric('resident_bytes')) / 2 ** 20
    this.samples.push({ seconds: (performance.now() - this.#start) / 1000, MiB })
    return MiB
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /**
   * Growth after the first third, in which buffers, caches and compiled code reach their size: the median of the last
   * third above that of the second one. Medians, for the garbage collector makes it jump.
   */
  growth(): { from: number; to: number; ratio: number } {
    const third = Math.floor(this.samples.length / 3)
    const median = (samples: readonly { MiB: number }[]) =>
      samples.map(({ MiB }) => MiB).sort((a, b) => a - b)[Math.floor(samples.length / 2)]!
    const from = median(this.samples.slice(third, 2 * third))
    const to = median(this.samples.slice(2 * third))
    return { from, to, ratio: to / from }
  }
}

/**
 * More than this between two thirds of a run is a leak, or close to one. In a run of a minute the heap may still grow to the
 * size at which it is first collected as a whole.
 */
export const MOST_GROWTH = { minute: 1.1, hour: 1.05 }
