// ssm-metal eval and perplexity --bits, as their users see them.

import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT, runChild, startChild } from '../support/child-process.js'
import { jsonLines, ROWS } from '../support/eval-tasks.js'

const CLI = join(ROOT, 'lib/cli.ts')
const run = (...words: string[]) => runChild(CLI, words)

describe('eval', () => {
  it('killed and started again gives the figures of one run', async () => {
    const rows = Array.from({ length: 120 }, (_, i) => ({
      context: `In the year ${i} there was`,
      choices: [' a king', ' of the', ` ${i % 7} of them`],
      answer: i % 3,
    }))
    const file = await jsonLines(rows)
    const folder = await temporaryFolder()
    const words = (name: string) => ['eval', file, '--json', '--results', join(folder, name)]
    const whole = await run(...words('whole'))
    expect(whole.code).toBe(0)
    const { process: child, result } = startChild(CLI, words('part'))
    const path = join(folder, 'part')
    while (!existsSync(path) || (await readFile(path, 'utf8')).split('\n').length < 20) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    child.kill('SIGKILL')
    expect((await result).signal).toBe('SIGKILL')
    const rest = await run(...words('part'))
    const [a, b] = [whole, rest].map(({ stdout }) => JSON.parse(stdout))
    expect(b.resumed).toBeGreaterThan(15)
    expect(b.resumed).toBeLessThan(120)
    expect(a.acc_norm_stderr).toBeGreaterThan(0)
    for (const name of ['acc', 'acc_stderr', 'acc_norm', 'acc_norm_stderr']) {
      expect(b[name], name).toBe(a[name])
    }
    expect(await readFile(path, 'utf8')).toBe(await readFile(join(folder, 'whole'), 'utf8'))
  }, 120_000)

  it('prints a table that says what was asked', async () => {
    const [file, shots] = [await jsonLines(ROWS.arc), await jsonLines(ROWS.arc, 'train.jsonl')]
    const asked = ['--task', 'arc', '--shots', '1', '--shots-from', shots, '--limit', '2']
    const { code, stdout } = await run('eval', file, ...asked)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^task +arc, 2 questions of task\.jsonl$/m)
    expect(stdout).toMatch(/^examples +1, from train\.jsonl$/m)
    expect(stdout).toMatch(/^acc_norm +[\d.]+ ± [\d.]+$/m)
  })

  it('a wrong file is one message', async () => {
    const { code, stderr } = await run('eval', await jsonLines(ROWS.arc))
    expect(code).toBe(1)
    expect(stderr).toMatch(/several tasks \(arc, openbookqa\): say which with --task/)
  })
})

describe('perplexity --bits', () => {
  it('compares a model with itself in other formats', async () => {
    const text = join(await temporaryFolder(), 'text.txt')
    await writeFile(text, (await readFile(join(ROOT, 'LICENSE'), 'utf8')).slice(0, 4000))
    const model = join(ROOT, 'models/rene-tiny-f16')
    const words = ['perplexity', '-m', model, '-f', text]
    const { code, stdout } = await run(...words, '--bits', '8,4/32,mxfp4', '--json')
    expect(code).toBe(0)
    const rows = JSON.parse(stdout)
    expect(rows.map(({ weights }: { weights: string }) => weights)).toEqual([
      'as they are',
      '8 bits, groups of 64',
      '4 bits, groups of 32',
      'mxfp4',
    ])
    const [original, eight, four, mxfp4] = rows
    expect(original.change).toBeUndefined()
    const alone = JSON.parse((await run(...words, '--q-bits', '8', '--json')).stdout)
    expect(eight.perplexity).toBe(alone.perplexity)
    for (const row of [eight, four, mxfp4]) {
      const { bitsPerByte, bitsPerByteError } = row.change
      expect(bitsPerByte).toBeCloseTo(row.bitsPerByte - original.bitsPerByte, 6)
      expect(bitsPerByteError).toBeGreaterThan(0)
      expect(row.weightBytes).toBeLessThan(original.weightBytes)
    }
    expect(Math.abs(eight.change.bitsPerByte)).toBeLessThan(Math.abs(four.change.bitsPerByte))
  })

  it('refuses what cannot be compared', async () => {
    const quantised = await run('perplexity', '-f', join(ROOT, 'LICENSE'), '--bits', '4')
    expect(quantised.stderr).toMatch(/quantised already \(4 bits/)
    const unknown = await run('perplexity', '-f', join(ROOT, 'LICENSE'), '--bits', '4,7')
    expect(unknown).toMatchObject({ code: 2, stdout: '' })
    expect(unknown.stderr).toMatch(/--bits must be of 4, 5, 6, 8, mxfp4 or nvfp4.*"7"/)
  })
})
