// Whole hybrids over a prompt of many chunks and pages: attention and recurrent states go on for thousands of tokens, and
// errors must not grow with them.

import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import { fixture, readGolden } from '../support/checkpoints.js'
import { offByThirds, openTwin, smallerFixture, TWINS } from '../support/long-prompts.js'
import { randomTokens } from '../support/random-checkpoint.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const LENGTH = 3000

describe.each(Object.entries(TWINS))('%s', (name, twin) => {
  it('in double precision is what its authors compute', async () => {
    const { tokens, logits } = await readGolden(name)
    const ours = twin.logits(await openTwin(fixture(name)), tokens)
    expect(relativeL2(ours, logits)).toBeLessThan(1e-6)
  })

  it(`is no further off after ${LENGTH} tokens than after a few`, async () => {
    const folder = await smallerFixture(name)
    const tokens = randomTokens(250, LENGTH, 11)
    const expected = twin.logits(await openTwin(folder), tokens)
    await using model = await loadModel(folder, { device: 'cpu' })
    for (const prefillChunkSize of [900, 256]) {
      const { data } = await model.logits(tokens, { prefillChunkSize })
      const off = offByThirds(data, expected, LENGTH)
      expect(Math.max(...off)).toBeLessThan(GOLDEN_RELATIVE_L2)
      expect(off[2]).toBeLessThan(2 * off[0])
    }
  })
})
