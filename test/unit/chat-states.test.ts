// Which states a chat holds, and who frees them.

import { describe, expect, it } from 'vitest'
import { ChatStates } from '../../lib/chat/chat-states.js'
import type { Snapshot } from '../../lib/engine/snapshot.js'

/** Counts its holders as a snapshot does, and refuses what a freed one would. */
class FakeSnapshot {
  holders = 1
  readonly bytes = 10
  readonly hasLogits: boolean

  constructor({ hasLogits = true } = {}) {
    this.hasLogits = hasLogits
  }

  share(): this {
    if (this.holders === 0) throw new Error('it is freed')
    this.holders += 1
    return this
  }

  dispose(): void {
    if (this.holders === 0) throw new Error('it is freed twice')
    this.holders -= 1
  }
}

const fake = (options?: { hasLogits: boolean }) => {
  const counted = new FakeSnapshot(options)
  return { counted, snapshot: counted as unknown as Snapshot }
}

const ids = (...tokens: number[]) => Uint32Array.from(tokens)

// A turn with its copies: after the prompt, and after what was drawn.
function play(states: ChatStates, prompt: Uint32Array, drawn: number[]) {
  const moments = states.momentsOf(prompt, { begins: true })
  const beginning = moments.beginning()
  const [first, last] = [fake(), fake()]
  moments.receiver({ prompt: prompt.length, drawn: [] })!(first.snapshot)
  moments.receiver({ prompt: prompt.length, drawn })!(last.snapshot)
  return { beginning, prompt: first.counted, answer: last.counted }
}

describe('ChatStates', () => {
  it('begins with the answer, with the prompt for another answer, or with nothing', () => {
    const states = new ChatStates()
    const first = play(states, ids(1, 2), [3, 4])
    expect(first.beginning).toBeUndefined()
    const find = (...tokens: number[]) => {
      const moment = states.momentsOf(ids(...tokens), { begins: true }).beginning()
      return moment && { position: moment.position, snapshot: moment.snapshot as unknown }
    }
    expect(find(1, 2, 3, 4, 5)).toEqual({ position: 4, snapshot: first.answer })
    expect(find(1, 2, 3, 4, 5)!.snapshot).toBe(first.answer)
    expect(find(1, 2, 3, 5)!.snapshot).toBe(first.prompt)
    expect(find(1, 2)!.snapshot).toBe(first.prompt)
    expect(find(1, 2)!.position).toBe(2)
    expect(find(1)).toBeUndefined()
    expect(find(2, 2, 3, 4, 5)).toBeUndefined()
  })

  it('begins nothing where it only takes copies', () => {
    const states = new ChatStates()
    play(states, ids(1), [2])
    expect(states.momentsOf(ids(1, 2, 3), { begins: false }).beginning()).toBeUndefined()
  })

  it('needs logits for a prompt that goes no further', () => {
    const states = new ChatStates()
    const { snapshot } = fake({ hasLogits: false })
    states.restore({ tokens: ids(1, 2), snapshot })
    const beginning = (...tokens: number[]) =>
      states.momentsOf(ids(...tokens), { begins: true }).beginning()
    expect(beginning(1, 2)).toBeUndefined()
    expect(beginning(1, 2, 3)).toEqual({ snapshot, position: 2 })
  })

  it('wants copies of the whole prompt and of the turn, not within the prompt', () => {
    const states = new ChatStates()
    const { receiver } = states.momentsOf(ids(1, 2, 3), { begins: true })
    expect(receiver({ prompt: 2, drawn: [] })).toBeUndefined()
    expect(receiver({ prompt: 3, drawn: [] })).toBeDefined()
    expect(receiver({ prompt: 3, drawn: [9] })).toBeDefined()
  })

  it('keeps the answer before until there is another one, and holds two at most', () => {
    const states = new ChatStates()
    const first = play(states, ids(1), [2])
    const moments = states.momentsOf(ids(1, 2, 3), { begins: true })
    const next = fake()
    moments.receiver({ prompt: 3, drawn: [] })!(next.snapshot)
    expect([first.prompt.holders, first.answer.holders, next.counted.holders]).toEqual([0, 1, 1])
    // The turn came to nothing: the conversation goes on from the answer.
    expect(states.momentsOf(ids(1, 2, 4), { begins: true }).beginning()!.position).toBe(2)
    moments.receiver({ prompt: 3, drawn: [4] })!(undefined)
    expect(first.answer.holders).toBe(1)
    const last = fake()
    moments.receiver({ prompt: 3, drawn: [4] })!(last.snapshot)
    expect([first.answer.holders, last.counted.holders]).toEqual([0, 1])
    expect(states.snapshots).toEqual([next.snapshot, last.snapshot])
  })

  it('waits for copies that are being made', async () => {
    const states = new ChatStates()
    const moments = states.momentsOf(ids(1), { begins: true })
    expect(moments.ready!()).toBeUndefined()
    const receive = moments.receiver({ prompt: 1, drawn: [2] })!
    let isSettled = false
    const settled = states.settled().then(() => {
      isSettled = true
    })
    await new Promise(setImmediate)
    expect(isSettled).toBe(false)
    receive(fake().snapshot)
    await settled
    expect(states.snapshots).toHaveLength(1)
  })

  it('shares its states with a fork, which lets go of its own', () => {
    const states = new ChatStates()
    const { prompt, answer } = play(states, ids(1), [2])
    const fork = states.fork()
    expect([prompt.holders, answer.holders]).toEqual([2, 2])
    const other = play(fork, ids(1, 2, 3), [4])
    expect([prompt.holders, answer.holders]).toEqual([1, 1])
    expect(states.momentsOf(ids(1, 2, 5), { begins: true }).beginning()!.position).toBe(2)
    states.dispose()
    expect([prompt.holders, answer.holders]).toEqual([0, 0])
    expect(fork.momentsOf(ids(1, 2, 3, 4, 5), { begins: true }).beginning()!.position).toBe(4)
    fork.dispose()
    fork.dispose()
    expect([other.prompt.holders, other.answer.holders]).toEqual([0, 0])
  })

  it('a state from a file takes the place of all others', () => {
    const states = new ChatStates()
    const { prompt, answer } = play(states, ids(1), [2])
    const restored = fake({ hasLogits: false })
    states.restore({ tokens: ids(7), snapshot: restored.snapshot })
    expect([prompt.holders, answer.holders, restored.counted.holders]).toEqual([0, 0, 1])
    expect(states.momentsOf(ids(1, 2, 3), { begins: true }).beginning()).toBeUndefined()
    expect(states.longestOf(ids(7, 8))!.tokens).toEqual(ids(7))
  })

  it('frees copies that arrive after it was disposed', () => {
    const states = new ChatStates()
    const moments = states.momentsOf(ids(1), { begins: true })
    const receive = moments.receiver({ prompt: 1, drawn: [] })!
    states.dispose()
    const late = fake()
    receive(late.snapshot)
    expect(late.counted.holders).toBe(0)
    expect(states.snapshots).toEqual([])
    expect(moments.beginning!()).toBeUndefined()
  })
})
