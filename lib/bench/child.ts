// Starts a process for a trial and brings back its result.

import { onAbort, reasonOf, throwIfAborted, type Signal } from '../support/abort.js'
import { fork } from 'node:child_process'
import { KEEP_EXTERNAL, scriptOf } from '../support/location.js'
import type { BandwidthRequest, BandwidthResult, TrialRequest, TrialResult } from './trial.js'
import type { Reply, Request } from './trial-process.js'

/** How much of what a process that failed wrote is kept for the message. */
const ERROR_CHARACTERS = 2000

/** Runs a request in a process of its own. Rejects with `signal.reason` when aborted, which ends it. */
export function runInChild(request: TrialRequest, signal?: Signal): Promise<TrialResult>
export function runInChild(request: BandwidthRequest, signal?: Signal): Promise<BandwidthResult>
export async function runInChild(
  request: Request,
  signal?: Signal,
): Promise<TrialResult | BandwidthResult> {
  throwIfAborted(signal)
  const script = scriptOf('bench/trial-process')
  if (script === undefined) {
    throw new Error(
      `[bench] ssm-metal was bundled, and the script of its processes was not: ${KEEP_EXTERNAL}`,
    )
  }
  const child = fork(script, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: nodeOptions(),
  })
  const forget = onAbort(signal, () => child.kill('SIGKILL'))
  let written = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    written = (written + text).slice(-ERROR_CHARACTERS)
  })
  try {
    return await new Promise((resolve, reject) => {
      let reply: Reply | undefined
      child.once('message', (message: Reply) => {
        reply = message
      })
      child.once('error', reject)
      // Not before it has ended: the next trial must not share the machine with it.
      child.once('close', (code, killedBy) => {
        if (signal?.aborted) reject(reasonOf(signal))
        else if (!reply) reject(new Error(deathMessage(code, killedBy, written)))
        else if ('result' in reply) resolve(reply.result)
        else reject(Object.assign(new Error(reply.error), reply.code && { code: reply.code }))
      })
      child.send(request, (error) => {
        // The message of its end says more.
        if (error && child.exitCode === null && child.signalCode === null) reject(error)
      })
    })
  } finally {
    forget()
  }
}

/** This process's options of Node, without what `node --input-type=module --eval CODE` has. */
function nodeOptions(): string[] {
  const isEval = (word: string | undefined) => /^(-e|-p|-pe|--eval|--print)$/.test(word ?? '')
  return process.execArgv.filter(
    (word, i, words) =>
      !/^--(input-type|eval|print)\b/.test(word) && !isEval(word) && !isEval(words[i - 1]),
  )
}

function deathMessage(code: number | null, signal: string | null, written: string): string {
  const end = signal ? `was ended by ${signal}` : `ended with code ${code}`
  const hint = signal === 'SIGKILL' ? ', as the system does when memory runs out' : ''
  const text = written.trim()
  return `[bench] the process of a trial ${end}${hint}${text ? `:\n${text}` : ''}`
}
