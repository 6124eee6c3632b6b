// Programs in child processes, for what a test cannot survive in its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { programWords } from './compiled.js'

/** The folder of this clone. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface ChildOptions {
  /** Written to standard input, which is then closed. */
  input?: string
  /** Leave standard input open after `input`, as a terminal does. */
  holdInput?: boolean
  nodeOptions?: readonly string[]
  env?: NodeJS.ProcessEnv
  /** Milliseconds after which the process is killed. Defaults to 60,000. */
  timeout?: number
}

export interface ChildResult {
  /** Null when a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Child {
  process: ChildProcess
  result: Promise<ChildResult>
}

/** Starts a TypeScript file of this project. Ends with the test at the latest. */
export function startChild(
  file: string,
  words: readonly string[],
  { input = '', holdInput = false, nodeOptions = [], env, timeout = 60_000 }: ChildOptions = {},
): Child {
  const child = spawn(process.execPath, [...nodeOptions, ...programWords(file), ...words], {
    cwd: ROOT,
    env: { ...process.env, NODE_NO_WARNINGS: '1', ...env },
    timeout,
    killSignal: 'SIGKILL',
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  // A child that ends without reading its input is fine.
  child.stdin.on('error', () => {})
  if (holdInput) child.stdin.write(input)
  else child.stdin.end(input)
  const result = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }))
  return { process: child, result }
}

/** Runs a TypeScript file of this project to its end. */
export function runChild(
  file: string,
  words: readonly string[],
  options?: ChildOptions,
): Promise<ChildResult> {
  return startChild(file, words, options).result
}

/** Resolves when the output of a child so far matches. */
export async function untilOutput(
  child: Child,
  stream: 'stdout' | 'stderr',
  pattern: RegExp,
): Promise<void> {
  let seen = ''
  await new Promise<void>((resolve, reject) => {
    child.process[stream]!.on('data', (text: string) => {
      seen += text
      if (pattern.test(seen)) resolve()
    })
    child.process.once('close', () => reject(new Error(`ended after ${JSON.stringify(seen)}`)))
  })
}
