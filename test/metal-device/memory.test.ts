// What native/metal/apple/ does with memory, over the stand-in for Apple's Metal.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { STATE_CHECKPOINTS, SMALL_STATE_CHECKPOINTS } from '../support/checkpoints.js'
import { programWords } from '../support/compiled.js'
import { builtIn, root, run } from './clang.js'

const PAGE = 16384

function play(name: string, argument = '') {
  const file = join(root, 'test/metal-device/memory-scenarios.ts')
  const { status, signal, stdout, stderr } = run(
    process.execPath,
    [...programWords(file), name, argument],
    { SSM_METAL_ADDON: builtIn('Release/metal_device.node'), SSM_METAL_SELF_CHECK: 'off' },
  )
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

const TOO_LARGE = (bytes: number, most: number) =>
  `[metal] a tensor of ${bytes} bytes is larger than the largest buffer of this GPU, ${most} bytes: take a checkpoint of a smaller type or fewer bits, or device 'cpu'`

describe('a file above the largest buffer', () => {
  test.each(SMALL_STATE_CHECKPOINTS)(
    '%s gives the official logits',
    { timeout: 300_000 },
    (name) => {
      const [whole, least, odd] = play('views', name)
      for (const { error } of [whole, least, odd]) expect(error).toBeLessThan(1e-4)
      expect(least.straddling).toBeGreaterThan(1)
      expect(least.buffers).toBeGreaterThan(whole.buffers + 2)
      expect(odd.buffers).toBeGreaterThan(whole.buffers)
    },
  )

  test('each part has a view, up to the limit and not beyond it', () => {
    expect(play('parts')).toEqual({
      'from the start, at the limit': '1 views',
      'at a page, at the limit': '1 views',
      'at the end, at the limit': '1 views',
      'one element above the limit': TOO_LARGE(65540, 65536),
      'at the limit, but across five pages': TOO_LARGE(65536, 65536),
      'across a boundary': '1 views',
      'larger than was said': '1 views',
      'at a limit that is not pages': '1 views',
      'above it': TOO_LARGE(65540, 69631),
      'written, at the limit': 'no error',
      'written, one element above': TOO_LARGE(65540, 65536),
    })
  })
})

describe('what a model is said to need', () => {
  test.each(STATE_CHECKPOINTS)(
    '%s: is what its buffers then take',
    { timeout: 600_000 },
    (name) => {
      const results = play('needs', name)
      expect(results.length).toBeGreaterThan(1)
      for (const { said, most, unused, madeByPlanning } of results) {
        expect(madeByPlanning).toBe(0)
        // To the byte, but for what one stream does not use, and two blocks of runs that a fast GPU may give back in
        // time.
        expect(most, `${said} said`).toBeGreaterThanOrEqual(said - unused - 2 * 16384)
        expect(most, `${said} said`).toBeLessThanOrEqual(said)
      }
    },
  )

  test('is held against what the GPU has left, before anything is allocated', () => {
    const results = play('check')
    const fits = (name: string) => expect(results[name].error).toBeUndefined()
    const refused = (name: string, message: RegExp) => {
      const { error, buffers } = results[name]
      expect(error.code).toBe('ERR_INSUFFICIENT_MEMORY')
      expect(error.message).toMatch(message)
      expect(buffers).toBe(0)
    }
    fits('enough')
    refused(
      'elsewhere',
      /needs 4\d\.\d MiB \(weights .*, workspace .*\) but stand-in has 25\.0 MiB left: try quantize: \{ bits: \d \}/,
    )
    refused('eight', /try quantize: \{ bits: 8 \} \(--q-bits 8\), which needs /)
    refused('four', /try quantize: \{ bits: 4 \} \(--q-bits 4\), which needs /)
    fits('fourBits')
    refused('nothing', /no smaller form of it fits: try device: 'cpu' \(--device cpu\)/)
    fits('unchecked')
    refused(
      'buffer',
      /\[loadModel\] tensor \S+ has \d+ bytes but the largest buffer of stand-in has 1048576: take/,
    )
  })
})

describe('residency', () => {
  test('of a model costs a commit and a request a list, not a buffer or a token', {
    timeout: 240_000,
  }, () => {
    const { load, generated, beats, tokens } = play('residency')
    expect(tokens).toBe(101)
    expect(load).toMatchObject({ commits: 1 })
    expect(load.buffers).toBeGreaterThan(20)
    // The list that sets up the sequence, that of the prompt and that of the tokens, each with buffers of its own,
    // and two more blocks.
    expect(generated.commits).toBeLessThanOrEqual(load.commits + 5)
    expect(generated.requests).toBeLessThanOrEqual(generated.commits + beats)
  })

  test('is not kept of states that nobody runs', { timeout: 240_000 }, () => {
    const { afterPrompts, afterCheckpoints, promptCacheBytes, snapshotBytes } = play('snapshots')
    // As many snapshots again and again: blocks of runs may come, and the last snapshot may not have gone yet.
    const snapshot = Math.ceil(snapshotBytes / afterCheckpoints.length / PAGE) * PAGE
    const spread = (bytes: number[]) => Math.max(...bytes) - Math.min(...bytes)
    expect(promptCacheBytes).toBeGreaterThan(40 * snapshot)
    expect(spread(afterPrompts)).toBeLessThanOrEqual(snapshot + 2 * PAGE)
    expect(spread(afterCheckpoints)).toBeLessThanOrEqual(snapshot + 2 * PAGE)
  })

  test('is asked for while runs come, and no longer; the end does not wait', () => {
    const { status, stdout, stderr } = run(builtIn('metal-device/heartbeat'), [])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.trim().split('\n')).toEqual([
      '100 buffers: 0 commits, 0 requests',
      'a run: 1 commits, 1 requests',
      '100 runs: 1 commits, 1 requests',
      'two more buffers: 2 commits, 2 requests',
      'the end: 2 commits, 2 requests',
      'without a run: 2 commits, 2 requests',
      'it beats: 1',
      'it has ended: 1',
      'it lets go: 1',
      'commits: 1',
      'without a request: 1',
      'a run after a pause requests: 1',
      'it beats again: 1',
      'a beat commits: 1',
      'a run waits for that: 1',
    ])
  })
})
