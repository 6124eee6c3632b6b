// Frequencies of rotary embedding, against what the functions of transformers 5.24 give (modeling_rope_utils.py).

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readRotary } from '../../lib/models/blocks/rotary.js'
import { ConfigReader } from '../../lib/models/config-reader.js'
import type { JsonObject } from '../../lib/support/json.js'

interface Golden {
  name: string
  headDim: number
  config: JsonObject
  pairs: number
  /** Some of them, by their number. */
  frequencies: Record<string, number>
  factor: number
}

const GOLDENS = JSON.parse(
  readFileSync(new URL('../fixtures/rotary.json', import.meta.url), 'utf8'),
) as Golden[]

const read = (config: JsonObject, headDim: number) =>
  readRotary(new ConfigReader('config.json', config), headDim, 'part')

describe('frequencies', () => {
  test.each(GOLDENS)('by $name', ({ config, headDim, pairs, frequencies, factor }) => {
    const rotary = read(config, headDim)
    expect(rotary.frequencies).toHaveLength(pairs)
    expect(rotary.attentionFactor).toBeCloseTo(factor, 12)
    for (const [i, frequency] of Object.entries(frequencies)) {
      // Two units in the last place: powers differ in it from one library to another.
      expect(Math.abs(rotary.frequencies[Number(i)]! / frequency - 1)).toBeLessThan(2.4e-7)
    }
  })

  test('of the default rule, wherever a configuration has it', () => {
    const expected = [1, 0.1, 0.01, 0.001].map(Math.fround)
    for (const config of [
      { rope_theta: 10_000 },
      { rope_parameters: { rope_type: 'default', rope_theta: 10_000 } },
      { rope_theta: 10_000, rope_scaling: { type: 'default' } },
    ]) {
      expect(read(config, 8).frequencies).toEqual(expected)
    }
    expect(read({ rope_theta: 10_000, partial_rotary_factor: 0.5 }, 8).frequencies).toEqual(
      [1, 0.01].map(Math.fround),
    )
  })
})

test.each(['dynamic', 'longrope', 'mrope'])('refuses the rule "%s" by its name', (rule) => {
  expect(() => read({ rope_scaling: { rope_type: rule, factor: 2 } }, 64)).toThrow(
    `rope_scaling.rope_type = "${rule}"; implemented: "default"`,
  )
})
