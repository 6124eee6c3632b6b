// The benchmark's arithmetic, names and outputs. How fast anything is, no test asks.

import { describe, expect, it } from 'vitest'
import type { BenchReport, BenchRow } from '../../lib/bench/bench.js'
import { formatReport, record } from '../../lib/bench/format.js'
import { formatHtml } from '../../lib/bench/html.js'
import { planSweep, planTrials, SWEEP_DEPTHS, testName } from '../../lib/bench/plan.js'
import { binaryTicks, escapeHtml, shortNumber, ticks } from '../../lib/bench/plot.js'
import { randomTokens } from '../../lib/bench/random-prompt.js'
import { deviation, mean, median } from '../../lib/bench/statistics.js'
import { parseCounts } from '../../lib/cli/counts.js'
import { UsageError } from '../../lib/cli/command.js'

describe('statistics', () => {
  it('mean, median and the standard deviation of a sample', () => {
    const values = [9, 1, 4, 2]
    expect(mean(values)).toBe(4)
    expect(median(values)).toBe(3)
    expect(median([5, 100, 1])).toBe(5)
    expect(deviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 12)
    expect(values).toEqual([9, 1, 4, 2])
  })

  it('a single value deviates by 0', () => {
    expect(deviation([7])).toBe(0)
    expect(median([7])).toBe(7)
  })
})

describe('names of tests', () => {
  it.each([
    [{ kind: 'pp', tokens: 512, depth: 0, batch: 1 }, 'pp512'],
    [{ kind: 'tg', tokens: 128, depth: 0, batch: 1 }, 'tg128'],
    [{ kind: 'tg', tokens: 128, depth: 4096, batch: 1 }, 'tg128 @ d4096'],
    [{ kind: 'pp', tokens: 32, depth: 5, batch: 4 }, 'pp32 b4 @ d5'],
  ] as const)('%o is %s', (test, name) => expect(testName(test)).toBe(name))
})

describe('plans', () => {
  const sizes = { promptTokens: [512], generationTokens: [128], depths: [0], batchSizes: [1] }
  const names = (plans: ReturnType<typeof planTrials>) => plans.map((plan) => plan.map(testName))

  it('each test is a trial of its own; 0 tokens leave a kind out', () => {
    const plans = planTrials({ ...sizes, depths: [0, 4096] })
    expect(names(plans)).toEqual([['pp512'], ['tg128'], ['pp512 @ d4096'], ['tg128 @ d4096']])
    expect(names(planTrials({ ...sizes, promptTokens: [0], batchSizes: [1, 2] }))).toEqual([
      ['tg128'],
      ['tg128 b2'],
    ])
  })

  it('a sweep is one walk, with prompts timed where they fit', () => {
    const [plan] = names(planSweep({ ...sizes, depths: [2048, 0, 600] }))
    expect(plan).toEqual(['tg128', 'tg128 @ d600', 'pp512 @ d1536', 'tg128 @ d2048'])
  })

  it('a sweep never walks back', () => {
    let position = 0
    for (const { tokens, depth } of planSweep({ ...sizes, depths: SWEEP_DEPTHS })[0]!) {
      expect(depth).toBeGreaterThanOrEqual(position)
      position = depth + tokens
    }
    expect(position).toBe(65536 + 128)
  })
})

describe('lists of numbers on the command line', () => {
  it('takes lists, ranges and repeated options as llama-bench does', () => {
    expect(parseCounts('-d', [])).toBeUndefined()
    expect(parseCounts('-d', ['0,4096', '7'])).toEqual([0, 4096, 7])
    expect(parseCounts('-d', ['1-4'])).toEqual([1, 2, 3, 4])
    expect(parseCounts('-d', ['0-10+4,512-2048*2'])).toEqual([0, 4, 8, 512, 1024, 2048])
  })

  it.each(['', 'many', '-1', '1.5', '1,', '4-1', '0-8*2', '1-8*1', '1-8+0', '0-999999', '0x10'])(
    'refuses %j',
    (text) => expect(() => parseCounts('-d', [text])).toThrow(UsageError),
  )

  it('names the least value', () => {
    expect(() => parseCounts('-b', ['0'], 1)).toThrow(/-b must be at least 1: "0"/)
  })
})

describe('random prompts', () => {
  it('are within the vocabulary, the same for the same seed and others for another', () => {
    const ids = randomTokens(7, 50)(1000)
    expect(Math.max(...ids)).toBe(49)
    expect(Math.min(...ids)).toBe(0)
    expect(randomTokens(7, 50)(1000)).toEqual(ids)
    expect(randomTokens(8, 50)(1000)).not.toEqual(ids)
  })
})

// A row whose figures can be followed by hand: 128 tokens in 1 s and in 2 s.
const tg: BenchRow = {
  model: {
    model: 'org/"odd", <model>|name',
    path: '/models/"odd", <model>|name',
    label: '"odd", <model>|name q8 g64',
    architecture: 'mamba2',
    weightType: 'q8 g64',
    quantization: { bits: 8, groupSize: 64 },
    parameters: 128_988_672,
    unreadBytes: 0,
  },
  name: 'tg128 @ d4096',
  test: { kind: 'tg', tokens: 128, depth: 4096, batch: 1 },
  device: 'cpu',
  threads: 2,
  milliseconds: [1000, 2000],
  tokensPerSecond: [128, 64],
  mean: 96,
  deviation: Math.sqrt(2048),
  median: 96,
  loadMs: 25,
  timeToFirstTokenMs: undefined,
  peakMemoryBytes: 300 * 2 ** 20,
  weightBytes: 150e6,
  stateBytes: 20e6,
  bytesPerStep: 170e6,
  bytesPerSecond: 16.32e9,
  readBandwidth: 20e9,
  bandwidthShare: 0.816,
}
const pp: BenchRow = {
  ...tg,
  name: 'pp512',
  test: { kind: 'pp', tokens: 512, depth: 0, batch: 1 },
  timeToFirstTokenMs: 1500,
  bytesPerStep: undefined,
  bytesPerSecond: undefined,
  bandwidthShare: undefined,
}
const report: BenchReport = {
  startedAt: '2026-01-02T03:04:05.678Z',
  seconds: 61,
  machine: {
    version: '1.2.3',
    processor: 'A <fast> chip',
    cores: 2,
    memoryBytes: 2 ** 34,
    freeMemoryBytes: 2 ** 33,
    platform: 'linux',
    architecture: 'x64',
    system: '6.1',
    systemName: 'Linux 6',
    node: '20.19.0',
    translated: false,
  },
  seed: 5,
  repetitions: 2,
  sweep: false,
  rows: [pp, tg],
}

describe('json', () => {
  it('has the keys of llama-bench and ours', () => {
    const [first, second] = JSON.parse(formatReport(report, 'json'))
    expect(second).toMatchObject({
      backends: 'cpu',
      model_filename: tg.model.path,
      model_type: 'mamba2 q8 g64',
      model_size: 150e6,
      model_n_params: 128_988_672,
      n_batch: 1,
      n_threads: 2,
      n_prompt: 0,
      n_gen: 128,
      n_depth: 4096,
      test: 'tg128 @ d4096',
      test_time: report.startedAt,
      avg_ns: 1.5e9,
      stddev_ns: 707106781,
      avg_ts: 96,
      stddev_ts: Math.sqrt(2048),
      median_ts: 96,
      samples_ns: [1e9, 2e9],
      samples_ts: [128, 64],
      load_ms: 25,
      time_to_first_token_ms: null,
      peak_memory_bytes: 300 * 2 ** 20,
      state_bytes: 20e6,
      weight_bytes: 150e6,
      achieved_bandwidth_gbps: 16.32,
      read_bandwidth_gbps: 20,
      bandwidth_share: 0.816,
      package_version: '1.2.3',
    })
    expect(first).toMatchObject({
      n_prompt: 512,
      n_gen: 0,
      time_to_first_token_ms: 1500,
      achieved_bandwidth_gbps: null,
    })
    expect(Object.keys(first)).toEqual(Object.keys(second))
  })

  it('jsonl has one row a line', () => {
    const lines = formatReport(report, 'jsonl').split('\n')
    expect(lines.pop()).toBe('')
    const expected = report.rows.map((row) => record(report, row))
    expect(lines.map((line) => JSON.parse(line))).toEqual(JSON.parse(JSON.stringify(expected)))
  })
})

describe('csv', () => {
  it('quotes every value and doubles quotes inside', () => {
    const [head, first, second, end] = formatReport(report, 'csv').split('\n')
    expect(end).toBe('')
    const fields = (line: string) =>
      [...line.matchAll(/"((?:[^"]|"")*)"(?:,|$)/g)].map((match) => match[1]!.replaceAll('""', '"'))
    const keys = head!.split(',')
    expect(keys).not.toContain('samples_ns')
    for (const line of [first!, second!]) expect(fields(line)).toHaveLength(keys.length)
    const value = (key: string) => fields(second!)[keys.indexOf(key)]
    expect(value('model_filename')).toBe('/models/"odd", <model>|name')
    expect(value('median_ts')).toBe('96')
    expect(value('time_to_first_token_ms')).toBe('')
  })
})

describe('md', () => {
  it('is an aligned table with the columns of llama-bench first', () => {
    const lines = formatReport(report, 'md').split('\n')
    const table = lines.slice(0, 4)
    expect(new Set(table.map((line) => line.length)).size).toBe(1)
    expect(table[0]).toMatch(
      /^\| model +\| +size \| +params \| backend \| threads \| +test \| +t\/s \|/,
    )
    expect(table[3]).toMatch(/\| tg128 @ d4096 \| 96\.0 ± 45\.3 \| +96\.0 \| +300 MiB \|/)
    expect(table[3]).toContain('| 16.3 |    82 % |')
    // A bar inside a cell would end it.
    expect(table[3]).toContain('<model>\\|name')
    expect(lines.join('\n')).toContain('loaded in 25.0 ms; 1.50 s from a prompt')
  })
})

describe('html', () => {
  it('escapes what comes from outside, in text and attributes', () => {
    expect(escapeHtml(`<a href="x">'&'</a>`)).toBe(
      '&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;',
    )
    const page = formatHtml(report, `ssm-metal bench -m '<script>alert("1")</script>'`)
    expect(page).not.toContain('<script')
    expect(page).not.toContain('<model>')
    expect(page).not.toContain('<fast>')
    expect(page).toContain('&lt;model&gt;|name q8 g64')
  })

  it('needs nothing from outside and has every row', () => {
    const page = formatHtml(report, 'ssm-metal bench')
    expect(page).not.toMatch(/https?:|url\(|@import|<link|<img|\bsrc=/)
    expect(page).toContain('prefers-color-scheme: dark')
    expect(page).toContain('name="viewport"')
    expect(page.match(/<tbody>[\s\S]*<\/tbody>/)![0].match(/<tr>/g)).toHaveLength(2)
  })

  it('draws lines where there are several depths, bars where not', () => {
    const polylines = (rows: BenchRow[]) =>
      formatHtml({ ...report, rows }, '').match(/<polyline/g)?.length ?? 0
    expect(polylines(report.rows)).toBe(0)
    const atZero = { ...tg, name: 'tg128', test: { ...tg.test, depth: 0 } }
    // Decode speed and memory.
    expect(polylines([atZero, tg])).toBe(2)
  })
})

describe('axes', () => {
  it('has round ticks from 0 to at least the largest value', () => {
    expect(ticks(87, 4)).toEqual([0, 25, 50, 75, 100])
    expect(ticks(100, 4)).toEqual([0, 25, 50, 75, 100])
    expect(ticks(0.3, 4).at(-1)).toBeGreaterThanOrEqual(0.3)
    expect(ticks(0, 4)[0]).toBe(0)
    expect(binaryTicks(65536, 4)).toEqual([0, 16384, 32768, 49152, 65536])
    expect(binaryTicks(0, 4)).toEqual([0, 1])
  })

  it('writes numbers short', () => {
    expect([0, 2.5, 2.504, 12.34, 250, 1234.5].map(shortNumber)).toEqual([
      '0',
      '2.5',
      '2.5',
      '12.3',
      '250',
      '1235',
    ])
  })
})
