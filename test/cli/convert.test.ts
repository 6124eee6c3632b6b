// ssm-metal convert as its users see it.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { runChild } from '../support/child-process.js'

const CLI = new URL('../../lib/cli.ts', import.meta.url).pathname
const run = (...words: string[]) => runChild(CLI, ['convert', ...words])

describe('convert', () => {
  it('says where the model is, its bytes and its bits per weight, and nothing else in a pipe', async () => {
    const out = join(await temporaryFolder(), 'out')
    const { code, stdout, stderr } = await run('-m', fixture('rene'), '-o', out, '-q')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^\/.*\/out: [\d.]+ KiB, \d+\.\d{3} bits per weight\n$/)
    expect(stdout.startsWith(out)).toBe(true)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'model.safetensors'])
    const again = await run('-m', fixture('rene'), '-o', out, '-q')
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toContain(`${out} is not empty`)
  })

  it.each([
    [['-o', 'out'], 'no model given: add -m MODEL'],
    [['-m', 'in'], 'no folder given: add -o FOLDER'],
    [['-m', 'in', '-o', 'out', '--q-mode', 'mxfp4'], '--q-mode changes nothing without -q'],
    [['-m', 'in', '-o', 'out', '--bits', '4'], 'unknown option --bits'],
  ])('%o is called wrongly', async (words, message) => {
    const { code, stderr } = await run(...words)
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) })
  })
})
