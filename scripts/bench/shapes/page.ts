// docs/published-shapes.md: every figure in it is of one run of scripts/bench/published-shapes.ts.

import type { BenchRow } from '../../../lib/bench/bench.js'
import { median } from '../../../lib/bench/statistics.js'
import type { Machine } from '../../../lib/machine/machine.js'
import type { ProductRate } from './products.js'
import { PUBLISHED_SHAPES } from './published.js'

export interface SpeedRow {
  name: string
  precision: string
  prompt: BenchRow
  generation: BenchRow
  /** What each token of a context takes. */
  contextBytes: number
}

export interface ProductRow {
  name: string
  /** Of the products, a token of a prompt. */
  operations: number
  rates: readonly ProductRate[]
}

export interface LinearRow {
  name: string
  /** `ratio`: of the time a chunk, against chunks of the shortest prompt beside it. */
  lengths: readonly { length: number; milliseconds: number; ratio: number }[]
}

export interface PageResults {
  machine: Machine
  date: string
  threads: number
  level: string
  prompt: string
  generate: string
  repetitions: string
  /** Float32 operations a second, before, between and after the models. */
  peaks: number[]
  speed: SpeedRow[]
  products: ProductRow[]
  linear: LinearRow[]
}

export function renderPage(results: PageResults): string {
  const sections = [header(results), shapes(), speed(results), products(results), linear(results)]
  return `${sections.filter(Boolean).join('\n\n')}\n`
}

// The first `words` columns are text, all others figures.
function table(
  columns: readonly string[],
  body: readonly (readonly unknown[])[],
  words = 1,
): string {
  const row = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`
  const align = columns.map((_, i) => (i < words ? '---' : '---:'))
  return [row(columns), row(align), ...body.map(row)].join('\n')
}

const percent = (part: number) => `${(100 * part).toFixed(0)} %`
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0)
const gigaflops = (rate: number) => (rate / 1e9).toFixed(0)
const weights = (precision: string) => (precision === 'f16' ? 'float16' : `${precision} bits`)

function header({ machine, date, threads, level, peaks }: PageResults): string {
  const { processor, platform, architecture, node, version } = machine
  const range = `${gigaflops(Math.min(...peaks))} to ${gigaflops(Math.max(...peaks))}`
  return `# Published shapes

Written by \`npm run published-shapes -- --write\` on ${date}: ${processor}, ${threads} threads, level ${level}, ${platform}
${architecture}, Node ${node}, ssm-metal ${version}. Weights are random: they cost what trained ones cost, and say nothing about texts.

The peak of these threads was ${range} GFLOP/s in the course of the run (median ${gigaflops(median(peaks))}): independent float32
multiply-adds on registers, compiled with the options of the level that the CPU device uses
(scripts/bench/shapes/float-peak.cpp). Where it swings, others used the machine.`
}

function shapes(): string {
  const body = Object.entries(PUBLISHED_SHAPES).map(([name, { model, scaled }]) => {
    return [name, model, scaled?.words ?? 'all of it']
  })
  return table(['name', 'shape of', 'made here'], body, 3)
}

function speed({ speed: rows, prompt, generate, repetitions }: PageResults): string {
  if (rows.length === 0) return ''
  const body = rows.map(({ name, precision, prompt: pp, generation: tg, contextBytes }) => [
    name,
    weights(precision),
    pp.median.toFixed(1),
    tg.median.toFixed(1),
    percent(tg.bandwidthShare!),
    mebibytes(Math.max(pp.peakMemoryBytes, tg.peakMemoryBytes)),
    mebibytes(pp.weightBytes),
    mebibytes(pp.stateBytes),
    contextBytes,
  ])
  const columns = [
    ...['model', 'weights', 'prompt, tokens/s', 'decode, tokens/s', 'of reads'],
    ...['peak memory, MiB', 'weights, MiB', 'state, MiB', 'bytes a token of context'],
  ]
  return `## Speed and memory

A prompt of ${prompt} tokens from an empty state, and ${generate} tokens one by one; medians of ${repetitions} processes each. Of reads: bytes of
weights and state a second, against what these threads read from memory in the same round; of models with experts a token
reads only some of the weights that are counted. Peak memory is of the whole process. State has a fixed size; keys and
values of attention, in float32, grow with the context.

${table(columns, body, 2)}`
}

function products({ products: rows, speed: speeds, threads }: PageResults): string {
  if (rows.length === 0) return ''
  const sum = (rates: readonly ProductRate[], of: 'operations' | 'possible' | 'seconds') =>
    rates.reduce((total, rate) => total + rate[of], 0)
  const body = rows.map(({ name, operations, rates }) => {
    const prefill = speeds.find((row) => row.name === name && row.precision === 'f16')?.prompt
    const seconds = sum(rates, 'seconds')
    const peak = sum(rates, 'possible') / seconds
    return [
      name,
      (operations / 1e6).toFixed(0),
      gigaflops(sum(rates, 'operations') / seconds),
      percent(sum(rates, 'operations') / sum(rates, 'possible')),
      prefill ? percent((operations * prefill.median) / peak) : '',
    ]
  })
  const slow = rows.flatMap(({ name, rates }) =>
    rates
      .filter((rate) => rate.operations < 0.6 * rate.possible)
      .map((rate) => [
        `${name}: ${rate.name}`,
        rate.count,
        percent(rate.operations / rate.possible),
        percent(rate.seconds / sum(rates, 'seconds')),
      ]),
  )
  const below = ['product, outputs x inputs', 'times', 'share of the peak', 'of their time']
  return `## Products of a prompt

Every matrix of a model times the 256 tokens of a chunk, weights in float32 and from memory, alone: operations a second of
${threads} threads, as a share of the peak measured after each product (asked for: 60 %). The last column is the whole prompt with
float16 weights as above, all else included, against the peak.

${table(['model', 'Mflop a token', 'GFLOP/s', 'share of the peak', 'whole prompt'], body)}${
  slow.length === 0 ? '' : `\n\nBelow 60 % were:\n\n${table(below, slow)}`
}`
}

function linear({ linear: rows }: PageResults): string {
  if (rows.length === 0) return ''
  const lengths = rows[0]!.lengths.map(({ length }) => length)
  const body = rows.map(({ name, lengths: each }) => [
    name,
    ...each.map(({ milliseconds, ratio }) => `${milliseconds.toFixed(2)} (${ratio.toFixed(2)})`),
  ])
  return `## Long prompts without attention

Milliseconds a token of one prompt through a few layers of each shape, none of which attends; in brackets the time a
piece against pieces of prompts of ${lengths[0]} tokens, in turns in the same process. Falcon-H1 attends in every layer.

${table(['model', ...lengths.map((length) => `${length} tokens`)], body)}`
}
