// The measurement of read bandwidth: what it gives back, and that it holds nobody up. How fast memory
// is, no test asks.

import { describe, expect, it } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { measureReadBandwidth } from '../../lib/index.js'
import { runChild } from '../support/child-process.js'

describe('measureReadBandwidth', () => {
  it('gives bytes a second, and several measurements may run at once', async () => {
    const rates = await Promise.all([measureReadBandwidth(1), measureReadBandwidth(3)])
    // Bytes and seconds, not gigabytes or milliseconds.
    for (const rate of rates) {
      expect(rate).toBeGreaterThan(1e6)
      expect(rate).toBeLessThan(1e14)
    }
  })

  it('refuses numbers of threads that make no sense, and buffers that do not fit', async () => {
    await expect(measureReadBandwidth(0)).rejects.toThrow(
      '[measureReadBandwidth] threads must be a whole number from 1 to 1024',
    )
    const failure = await new Promise((resolve) =>
      addon().measureReadBandwidth(1, 2 ** 52, (_status, failure) => resolve(failure)),
    )
    expect(failure).toMatchObject({ message: expect.stringMatching(/^not enough memory/) })
  })

  it('lets the event loop run', async () => {
    let turns = 0
    const timer = setInterval(() => {
      turns += 1
    }, 1)
    await measureReadBandwidth(1)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(5)
  })

  it.each(['exit', 'terminate'])('does not keep a process that ends: %s', async (ending) => {
    const script = new URL('../support/bandwidth-exit.ts', import.meta.url).pathname
    const { code, signal, stderr } = await runChild(script, [ending])
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  })
})
