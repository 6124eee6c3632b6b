import { expect, it } from 'vitest'
import { planContinuations } from '../../lib/engine/continuation-plan.js'
import { seededIntegers } from './random.js'

const ROWS = 32

/** Passes of a plan. */
function passes(lengths: readonly number[], chunkSize: number): number {
  const { alone, together } = planContinuations(lengths, chunkSize)
  const ofAlone = alone.map((i) => Math.ceil(lengths[i]! / chunkSize))
  const ofGroups = together.map((group) => Math.max(...group.map((i) => lengths[i]!)))
  return [...ofAlone, ...ofGroups].reduce((a, b) => a + b, 0)
}

it.each<[string, number[], object]>([
  ['none', [], { alone: [], together: [] }],
  ['those that consume nothing', [0, 0], { alone: [], together: [] }],
  ['one token', [1], { alone: [], together: [[0]] }],
  ['one long', [0, 300], { alone: [1], together: [] }],
  ['a long one among short ones', [1, 300, 2, 2, 2], { alone: [1], together: [[2, 3, 4, 0]] }],
  ['few short ones', [2, 300, 3], { alone: [1, 2, 0], together: [] }],
])('%s', (_, lengths, plan) => {
  expect(planContinuations(lengths, 256)).toEqual(plan)
})

it('has each candidate once, groups of at most 32 and the longest first', () => {
  const draw = seededIntegers(1)
  for (let i = 0; i < 300; i++) {
    const most = 1 + draw(2 ** draw(10))
    const lengths = Array.from({ length: draw(100) }, () => draw(most))
    const { alone, together } = planContinuations(lengths, 1 + draw(300))
    const wanted = [...lengths.keys()].filter((i) => lengths[i]! > 0)
    expect([...alone, ...together.flat()].sort((a, b) => a - b)).toEqual(wanted)
    const order = [...alone, ...together.flat()].map((i) => lengths[i]!)
    expect(order).toEqual([...order].sort((a, b) => b - a))
    for (const [g, group] of together.entries()) {
      expect(group.length).toBeLessThanOrEqual(ROWS)
      if (g < together.length - 1) expect(group.length).toBe(ROWS)
    }
  }
})

it('takes no more passes than any other split', () => {
  const draw = seededIntegers(2)
  for (let i = 0; i < 300; i++) {
    const chunkSize = 1 + draw(300)
    const most = 1 + draw(2 ** draw(10))
    const lengths = Array.from({ length: 1 + draw(100) }, () => draw(most))
    const longestFirst = [...lengths].sort((a, b) => b - a)
    const fewest = Math.min(
      ...[...lengths, 0].map((_, split) => {
        let sum = 0
        for (const length of longestFirst.slice(0, split)) sum += Math.ceil(length / chunkSize)
        for (let k = split; k < lengths.length; k += ROWS) sum += longestFirst[k]!
        return sum
      }),
    )
    expect(passes(lengths, chunkSize)).toBe(fewest)
  }
})

it('plans a hundred thousand at once', () => {
  const draw = seededIntegers(3)
  const lengths = Array.from({ length: 100_000 }, () => draw(50))
  expect(passes(lengths, 256)).toBeLessThan(100_000)
})
