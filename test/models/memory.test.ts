// Loading and disposing leaves the process as it was.

import { expect, it } from 'vitest'
import { runChild } from '../support/child-process.js'
import { fixture } from '../support/checkpoints.js'
import type { Holdings } from '../support/load-cycles.js'

const FILE = new URL('../support/load-cycles.ts', import.meta.url).pathname
const MEBIBYTE = 2 ** 20

async function measure(words: string[]): Promise<{ before: Holdings; after: Holdings }> {
  // With a small young generation and no optimising Node's own memory stays as it is.
  const nodeOptions = ['--expose-gc', '--max-semi-space-size=1', '--no-opt']
  const { code, stdout, stderr } = await runChild(FILE, words, { nodeOptions })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

const growth = ({ before, after }: { before: Holdings; after: Holdings }) => ({
  residentBytes: after.residentBytes - before.residentBytes,
  files: (after.files ?? 0) - (before.files ?? 0),
  mappings: (after.mappings ?? 0) - (before.mappings ?? 0),
  threads: (after.threads ?? 0) - (before.threads ?? 0),
})

// A model of these fixtures holds about a mebibyte: a leak of a fiftieth of that in each cycle shows.
const LARGEST_GROWTH = 4 * MEBIBYTE
// The heap of V8 comes and goes in some.
const MOST_MAPPINGS = 40

it.each(['rene', 'mamba2-state-spaces'])(
  '200 cycles of load, generate and dispose of %s',
  async (name) => {
    const grown = growth(await measure([fixture(name), '200']))
    expect(grown.residentBytes).toBeLessThan(LARGEST_GROWTH)
    expect(grown.files).toBeLessThanOrEqual(0)
    expect(grown.mappings).toBeLessThan(MOST_MAPPINGS)
    expect(grown.threads).toBeLessThanOrEqual(0)
  },
)

it('the measurement notices models that are not disposed', async () => {
  const grown = growth(await measure([fixture('rene'), '10', 'leak']))
  expect(grown.residentBytes).toBeGreaterThan(LARGEST_GROWTH)
})
