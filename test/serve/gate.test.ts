// Places for texts, and when one may be free.

import { describe, expect, it } from 'vitest'
import { ApiError } from '../../lib/serve/api-error.js'
import { Gate } from '../../lib/serve/gate.js'

/** A gate whose clock the test sets, in seconds. */
function gateOf(places: number) {
  const clock = { seconds: 0 }
  return { gate: new Gate(places, () => 1000 * clock.seconds), clock }
}

function refusal(enter: () => unknown): ApiError {
  try {
    enter()
  } catch (error) {
    if (error instanceof ApiError) return error
  }
  throw new Error('it was let in')
}

describe('a gate', () => {
  it('has as many places as it was given, each given back once', () => {
    const { gate } = gateOf(2)
    const leave = gate.enter(2)
    expect(refusal(() => gate.enter(1)).status).toBe(429)
    leave()
    leave()
    expect(gate.taken).toBe(0)
    expect(refusal(() => gate.enter(3)).status).toBe(400)
  })

  it('tells when to come again by how long texts have taken, and how many leave in that time', () => {
    const { gate, clock } = gateOf(4)
    const first = gate.enter(1)
    clock.seconds = 20
    first()
    const leaves = [gate.enter(1), gate.enter(3)]
    const wait = (count: number) => refusal(() => gate.enter(count)).headers['retry-after']
    // Four leave in 20 s.
    expect([wait(1), wait(2), wait(4)]).toEqual(['5', '10', '20'])
    for (const leave of leaves) leave()
  })

  it('learns from those that take longer, and from those that have been there for long', () => {
    const { gate, clock } = gateOf(1)
    const wait = () => Number(refusal(() => gate.enter(1)).headers['retry-after'])
    for (let i = 0; i < 30; i++) {
      const leave = gate.enter(1)
      clock.seconds += i < 10 ? 2 : 10
      leave()
    }
    const leave = gate.enter(1)
    expect(wait()).toBe(10)
    clock.seconds += 30
    expect(wait()).toBe(30)
    clock.seconds += 1000
    expect(wait()).toBe(60)
    leave()
  })

  it('knows nothing yet', () => {
    const { gate } = gateOf(1)
    gate.enter(1)
    expect(refusal(() => gate.enter(1)).headers['retry-after']).toBe('1')
  })
})
