// Streams that run all the while that something else is done to a server: nothing of it may reach them.

import { expect } from 'vitest'
import { eventsOf, json, type TestServer } from './serving.js'

const requestOf = (seed: number) => ({
  prompt: 'The old man looked at the sea',
  max_tokens: 60,
  temperature: 0.9,
  seed,
  logit_bias: { 0: -100 },
})

const SEEDS = [1, 2, 3]

/**
 * @example
 * const streams = await ServedStreams.start(server)
 * await askForTrouble(server)
 * await streams.expectUnharmed()
 */
export class ServedStreams {
  readonly #server: TestServer
  readonly #alone: readonly string[]
  readonly #running: Promise<void>[]
  readonly #texts: [seed: number, text: string][] = []
  #isOver = false

  private constructor(server: TestServer, alone: readonly string[]) {
    this.#server = server
    this.#alone = alone
    this.#running = SEEDS.map((seed) => this.#stream(seed))
  }

  /** The server must have no prompt cache: the same seed gives the same bits then. */
  static async start(server: TestServer): Promise<ServedStreams> {
    const alone: string[] = []
    for (const seed of SEEDS) {
      const { choices } = await json(server.post('/v1/completions', requestOf(seed)))
      alone.push(choices[0].text)
    }
    return new ServedStreams(server, alone)
  }

  /** Ends them: each text must be what it is without company. */
  async expectUnharmed(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#running)
    expect(this.#texts.length).toBeGreaterThanOrEqual(SEEDS.length)
    for (const [seed, text] of this.#texts) expect(text).toBe(this.#alone[SEEDS.indexOf(seed)])
  }

  async #stream(seed: number): Promise<void> {
    do {
      const body = { ...requestOf(seed), stream: true }
      const events = await this.#server.post('/v1/completions', body).then(eventsOf)
      this.#texts.push([seed, events.map(({ choices: [choice] }) => choice.text).join('')])
    } while (!this.#isOver)
  }
}
