// A client that sends the whole conversation with each turn: what is computed is the new text, and not the conversation.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventsOf, json, startServer, type TestServer } from '../support/serving.js'

// A token that was drawn but not run: the last one of an answer. It is run with the next turn.
const UNREAD = 1

interface Message {
  role: string
  content: string
}

/** What a turn has cost, in tokens. */
interface Cost {
  prompt: number
  cached: number
  computed: number
  answer: number
}

let server: TestServer
beforeAll(async () => {
  server = await startServer({ maxTokens: 64 })
})
afterAll(() => server.stop())

const question = (turn: number) => `What came ${turn} days later, and who was there to see it?`
// No two conversations begin alike.
const begun = (about: string): Message[] => [{ role: 'system', content: `A story of ${about}.` }]

/** Adds the answer to the messages. */
async function chat(messages: Message[], more: object = {}): Promise<Cost> {
  const body = { messages, max_tokens: 6, temperature: 0, logit_bias: { 0: -100 }, ...more }
  const { choices, usage, timings } = await json(server.post('/v1/chat/completions', body))
  messages.push(choices[0].message)
  return costOf(usage, timings)
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of a server
function costOf(usage: any, timings: any): Cost {
  const { prompt_tokens: prompt, completion_tokens: answer } = usage
  const cached = usage.prompt_tokens_details.cached_tokens
  expect([timings.cache_n, timings.prompt_n]).toEqual([cached, prompt - cached])
  return { prompt, cached, computed: timings.prompt_n, answer }
}

/** The turn computes no more than what is new since the one before. */
function expectNewTextOnly(cost: Cost, before: Cost): void {
  const fresh = cost.prompt - (before.prompt + before.answer)
  expect(fresh).toBeGreaterThan(0)
  expect(cost.computed).toBeLessThanOrEqual(fresh + UNREAD)
}

/** Ten turns; the costs of all. */
async function tenTurns(messages: Message[], more?: object): Promise<Cost[]> {
  const costs: Cost[] = []
  for (let turn = 1; turn <= 10; turn++) {
    messages.push({ role: 'user', content: question(turn) })
    costs.push(await chat(messages, more))
    if (turn > 1) expectNewTextOnly(costs.at(-1)!, costs.at(-2)!)
  }
  return costs
}

describe('ten turns of a chat', () => {
  it('cost their new text only', async () => {
    const costs = await tenTurns(begun('the sea'))
    // All of them together no more than the last prompt, which has all of the text once.
    const computed = costs.reduce((sum, cost) => sum + cost.computed, 0)
    expect(computed).toBeLessThanOrEqual(costs.at(-1)!.prompt)
    expect(costs[0]).toMatchObject({ cached: 0 })
  })

  it('whose answers end by themselves do so too', async () => {
    const response_format = { type: 'regex', pattern: '[a-z]{2,4}\\.' }
    await tenTurns(begun('a fox'), { response_format, max_tokens: 20 })
  })

  it('that are streamed do so too', async () => {
    const messages = begun('a hare')
    let before: Cost | undefined
    for (let turn = 1; turn <= 10; turn++) {
      messages.push({ role: 'user', content: question(turn) })
      const fields = { max_tokens: 6, temperature: 0, logit_bias: { 0: -100 } }
      const streaming = { stream: true, stream_options: { include_usage: true } }
      const body = { messages, ...fields, ...streaming }
      const events = await server.post('/v1/chat/completions', body).then(eventsOf)
      const deltas = events.map(({ choices: [choice] }) => choice?.delta.content ?? '')
      messages.push({ role: 'assistant', content: deltas.join('') })
      const cost = costOf(events.at(-1).usage, events.at(-2).timings)
      if (before) expectNewTextOnly(cost, before)
      before = cost
    }
  })

  it('go on from the turn before where the last question is put otherwise', async () => {
    const messages = begun('two roads')
    const costs = await tenTurns(messages)
    const [ninth, tenth] = costs.slice(-2)
    messages.splice(-2, 2, { role: 'user', content: 'No: who came on the first day?' })
    const other = await chat(messages)
    expect(other.cached).toBe(tenth!.cached)
    expectNewTextOnly(other, ninth!)
    // And the first way goes on where it was.
    messages.splice(-2, 2, { role: 'user', content: question(10) })
    const again = await chat(messages)
    expect(again.computed).toBe(0)
    messages.push({ role: 'user', content: question(11) })
    expectNewTextOnly(await chat(messages), tenth!)
  })
})

describe('ten turns of responses', () => {
  it('cost their new text only, where a client sends back what it got', async () => {
    const input: object[] = []
    let before: Cost | undefined
    for (let turn = 1; turn <= 10; turn++) {
      input.push({ role: 'user', content: question(turn) })
      const options = { instructions: 'A story of a lamp.', max_output_tokens: 16, temperature: 0 }
      const { output, usage, timings } = await json(
        server.post('/v1/responses', { input, ...options, logit_bias: { 0: -100 } }),
      )
      input.push(...output)
      const cost: Cost = {
        prompt: usage.input_tokens,
        cached: usage.input_tokens_details.cached_tokens,
        computed: timings.prompt_n,
        answer: usage.output_tokens,
      }
      expect(cost.computed).toBe(cost.prompt - cost.cached)
      if (before) expectNewTextOnly(cost, before)
      before = cost
    }
  })
})

describe('events with their timings', () => {
  it('say from the first one on what was in the cache', async () => {
    const messages = begun('a door')
    messages.push({ role: 'user', content: question(1) })
    const first = await chat(messages)
    messages.push({ role: 'user', content: question(2) })
    const body = { messages, max_tokens: 6, temperature: 0, stream: true, timings_per_token: true }
    const events = await server.post('/v1/chat/completions', body).then(eventsOf)
    const written = events.filter(({ choices: [choice] }) => choice.delta.content)
    expect(written.length).toBeGreaterThan(2)
    for (const { timings } of written) {
      expect(timings.cache_n).toBe(first.prompt + first.answer - UNREAD)
    }
    const counts = written.map(({ timings }) => timings.predicted_n)
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    expect(counts.at(-1)).toBeGreaterThan(counts[0])
  })
})
