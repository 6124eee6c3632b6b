// Continuations on the Metal device over its stand-in: what the logits of the whole say.

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { loadModel } from '../../lib/index.js'
import { logSumExp } from '../../lib/engine/logprobs.js'
import { fixture } from '../support/checkpoints.js'
import { tokensOf, watchRuns } from '../support/company.js'
import { expectClose } from '../tolerance.js'
import { seededIntegers } from '../unit/random.js'

process.env.SSM_METAL_ADDON = fileURLToPath(
  new URL('build/Release/metal_device.node', import.meta.url),
)

// One candidate of 70 runs as a prompt, padded to 128 and cut to chunks of 48; the others step.
test.each([['rene'], ['edge-mlx-4bit']])('%s', { timeout: 300_000 }, async (name) => {
  const draw = seededIntegers(6)
  const prefix = tokensOf(20, draw)
  const candidates = [3, 1, 70, 2, 4, 2, 3].map((length) => tokensOf(length, draw))
  using model = await loadModel(fixture(name), { device: 'metal', promptCache: false })
  for (const prefillChunkSize of [undefined, 48]) {
    const watch = watchRuns()
    const scores = await model.score(prefix, candidates, { prefillChunkSize })
    watch.restore()
    // Few widths, because kernels are compiled for each.
    const widths = watch.runs.slice(1).map(({ tokens }) => tokens)
    expect(new Set(widths)).toEqual(new Set(prefillChunkSize ? [48, 32, 8, 4, 1] : [128, 8, 4, 1]))
    for (const [i, candidate] of candidates.entries()) {
      const { data, shape } = await model.logits([...prefix, ...candidate])
      const expected = candidate.map((token, at) => {
        const first = (prefix.length - 1 + at) * shape[1]
        const row = data.subarray(first, first + shape[1])
        return row[token]! - logSumExp(row)
      })
      expectClose(scores[i]!.logprobs, expected, 'float32')
    }
  }
})
