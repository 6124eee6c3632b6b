// Many clients of a server at once, of whom every third leaves in the middle of its text.

import { setTimeout as sleep } from 'node:timers/promises'
import { seededIntegers } from '../../test/unit/random.js'

/** A request for a text as a stream, and what a client alone gets. */
export interface Exercise {
  /** Fields of /v1/completions. */
  readonly body: Readonly<Record<string, unknown>>
  readonly tokens: readonly string[]
  /** Whether another token may stand at a place, because two were as likely but for rounding. */
  mayDiffer(place: number): boolean
}

export interface LoadCounts {
  completed: number
  /** Clients that left. */
  left: number
  /** Answers with 429. */
  refused: number
  /** Texts that differ from one alone, where they may. */
  rounded: number
  /** Texts that differ where they may not, and other statuses: all of them said. */
  wrong: string[]
}

export interface LoadOptions {
  readonly clients: number
  /** Whether no more requests are sent, after so many. */
  isOver(sent: number): boolean
}

/** @example const { completed, wrong } = await runClients(url, exercises, { clients: 64, isOver: (sent) => sent >= 200 }) */
export async function runClients(
  url: string,
  exercises: readonly Exercise[],
  { clients, isOver }: LoadOptions,
): Promise<LoadCounts> {
  const counts: LoadCounts = { completed: 0, left: 0, refused: 0, rounded: 0, wrong: [] }
  let sent = 0
  const client = async (i: number) => {
    const draw = seededIntegers(i)
    while (!isOver(sent)) {
      const exercise = exercises[sent++ % exercises.length]!
      const leavesAfter = i % 3 === 2 ? draw(exercise.tokens.length) : Infinity
      while (!(await ask(url, exercise, leavesAfter, counts))) {
        counts.refused += 1
        // Sooner than it says: it is the load that is wanted.
        await sleep(50)
      }
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, i) => client(i)))
  return counts
}

/**
 * False where there was no place for it.
 *
 * @param leavesAfter Events after which the client goes away.
 */
async function ask(
  url: string,
  { body, tokens, mayDiffer }: Exercise,
  leavesAfter: number,
  counts: LoadCounts,
): Promise<boolean> {
  const controller = new AbortController()
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // Log-probabilities come with the tokens, whose texts tell them apart.
    body: JSON.stringify({ ...body, stream: true, logprobs: 0 }),
    signal: controller.signal,
  })
  if (response.status === 429) {
    await response.text()
    return false
  }
  if (response.status !== 200) {
    counts.wrong.push(`${response.status}: ${await response.text()}`)
    return true
  }
  try {
    const heard = await tokensOf(response, leavesAfter)
    counts.completed += 1
    const place = tokens.findIndex((token, i) => token !== heard[i])
    if (place < 0 && heard.length === tokens.length) return true
    if (place >= 0 && mayDiffer(place)) counts.rounded += 1
    else
      counts.wrong.push(`${JSON.stringify(body)}: "${heard.join('')}" and not "${tokens.join('')}"`)
  } catch (error) {
    controller.abort()
    if (error instanceof Left) counts.left += 1
    else counts.wrong.push(String(error))
  }
  return true
}

/** The client has heard enough. */
class Left extends Error {}

async function tokensOf(response: Response, leavesAfter: number): Promise<string[]> {
  const heard: string[] = []
  let events = 0
  for await (const data of eventData(response)) {
    if (data === '[DONE]') return heard
    if (events++ >= leavesAfter) throw new Left()
    const { error, choices } = JSON.parse(data)
    if (error) throw new Error(error.message)
    heard.push(...(choices[0].logprobs?.tokens ?? []))
  }
  throw new Error('the answer has no end')
}

/** The data of events as they come. */
export async function* eventData(response: Response): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder()
  let held = ''
  for await (const bytes of response.body!) {
    const parts = (held + decoder.decode(bytes, { stream: true })).split('\n\n')
    held = parts.pop()!
    for (const part of parts) yield part.replace(/^(?:event: .*\n)?data: /, '')
  }
}
