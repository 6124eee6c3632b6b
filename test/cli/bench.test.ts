// ssm-metal bench from the command line to its output, on the built-in model, with so few tokens that
// the figures mean nothing; none is looked at.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ChildOptions, runChild, startChild, untilOutput } from '../support/child-process.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'

const CLI = new URL('../../lib/cli.ts', import.meta.url).pathname
const run = (words: string[], options?: ChildOptions) => runChild(CLI, ['bench', ...words], options)
const SMALL = ['-p', '5', '-n', '2', '-r', '2', '--device', 'cpu']

describe('bench', () => {
  it('measures each test in each repetition and writes rows and a page', async () => {
    const html = join(await temporaryFolder(), 'page.html')
    const words = [...SMALL, '-d', '0,3', '-t', '2', '-o', 'json', '--html', html, '--seed', '1']
    const { code, stdout, stderr } = await run(words)
    expect({ code, stderr }).toMatchObject({ code: 0 })
    const rows = JSON.parse(stdout)
    expect(rows.map((row: { test: string }) => row.test)).toEqual([
      'pp5',
      'tg2',
      'pp5 @ d3',
      'tg2 @ d3',
    ])
    for (const row of rows) {
      expect(row.samples_ns).toHaveLength(2)
      expect(row.seed).toBe(1)
      expect(row.n_threads).toBe(2)
      expect(row.model_type).toBe('rene q4 g64')
      for (const key of ['avg_ns', 'median_ts', 'load_ms', 'read_bandwidth_gbps']) {
        expect(row[key], key).toBeGreaterThan(0)
      }
      expect(row.peak_memory_bytes).toBeGreaterThan(row.weight_bytes)
      expect(row.bandwidth_share === null).toBe(row.n_gen === 0)
    }
    expect(stderr).toContain('using the built-in rene-tiny')
    expect(stderr).toContain('round 2 of 2')
    const page = await readFile(html, 'utf8')
    expect(page).toContain('tg2 @ d3')
    expect(page).toContain('ssm-metal bench -p 5')
  })

  it('sweeps, batches and quantises', async () => {
    const model = fixture('mamba2-hf')
    const words = ['-m', model, '-p', '2', '-n', '1', '-r', '1', '--q-bits', '8', '-o', 'jsonl']
    const { code, stdout, stderr } = await run([
      ...words,
      ...['--q-group-size', '32', '--sweep', '-d', '0,6', '-b', '1,2', '-t', '1'],
    ])
    expect({ code, stderr }).toMatchObject({ code: 0 })
    const rows = stdout.trimEnd().split('\n')
    expect(rows.map((row) => JSON.parse(row).test)).toEqual([
      ...['tg1', 'pp2 @ d4', 'tg1 @ d6'],
      ...['tg1 b2', 'pp2 b2 @ d4', 'tg1 b2 @ d6'],
    ])
    expect(JSON.parse(rows[3]!).state_bytes).toBe(2 * JSON.parse(rows[0]!).state_bytes)
    expect(JSON.parse(rows[0]!).quantization_bits).toBe(8)
  })

  it('an error of a trial is a message, with code 1', async () => {
    // A quantised model cannot be quantised again: known only once its weights are loaded.
    const { code, stdout, stderr } = await run([...SMALL, '--q-bits', '8'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^ssm-metal bench: \[loadModel\] quantize: .*is quantised already/m)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('SIGINT ends it with 130', async () => {
    const child = startChild(CLI, ['bench', '-p', '0', '-n', '1000000', '-r', '1'])
    await untilOutput(child, 'stderr', /round 1/)
    child.process.kill('SIGINT')
    const { code, signal, stdout } = await child.result
    expect({ code, signal, stdout }).toEqual({ code: 130, signal: null, stdout: '' })
  })

  it.each<[string, string[], number, RegExp]>([
    ['a list that is none', ['-p', '5,x'], 2, /option -p must be of whole numbers.*"x"/],
    ['a batch of none', ['-b', '0'], 2, /-b must be at least 1/],
    ['an unknown format', ['-o', 'sql'], 2, /md, json, jsonl or csv/],
    ['nothing to measure', ['-p', '0', '-n', '0'], 1, /nothing to measure/],
    ['a model that is not there', ['-m', './nowhere/model'], 1, /nowhere.model/],
    ['a page that cannot be written', ['--html', '/nowhere/page.html'], 1, /\/nowhere/],
    ['two prompts of a sweep', ['--sweep', '-p', '1,2'], 1, /sweep takes one number/],
  ])('refuses %s', async (_, words, expected, message) => {
    const { code, stdout, stderr } = await run(words)
    expect(stderr).toMatch(message)
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' })
  })
})
