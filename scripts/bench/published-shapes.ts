// The hybrid families at the sizes of published models, with random weights, on the CPU: tokens a second, memory, state, and
// how much of the machine's float32 arithmetic the products of a prompt reach.
//
//   npm run published-shapes -- --help

import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { bench, type BenchRow } from '../../lib/bench/bench.js'
import { describeMachine } from '../../lib/machine/machine.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { contextBytesPerToken } from '../../lib/models/state-fields.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { choices, wholeNumber } from './peers/words.js'
import { FloatPeak } from './shapes/float-peak.js'
import { makeModel, makeRecurrent, PRECISIONS, type Precision } from './shapes/models.js'
import { type LinearRow, type PageResults, type ProductRow, renderPage } from './shapes/page.js'
import { measureProducts, operationsOf, productsOf } from './shapes/products.js'
import { PUBLISHED_SHAPES } from './shapes/published.js'

const PARTS = ['speed', 'products', 'linear'] as const
const LENGTHS = [1024, 2048, 4096, 8192]

const HELP = `Measures models of published shapes with random weights on the CPU, and prints a page of tables.

Usage: npm run published-shapes -- [options]

  --shapes LIST       by default all: ${Object.keys(PUBLISHED_SHAPES).join(', ')}
  --precisions LIST   by default ${PRECISIONS.join(',')}
  --parts LIST        by default ${PARTS.join(',')}: tokens a second and memory; matrix products of
                      a prompt against the machine's peak; time a token of prompts of
                      ${LENGTHS.join(', ')} tokens through layers that do not attend
  --prompt N          tokens of the prompt, by default 512
  --generate N        tokens to generate, by default 64
  --repetitions N     by default 3, each in a process of its own
  --threads N         by default the CPUs that this process may use
  --models FOLDER     where models are kept, by default shapes/models/ beside this script: about
                      20 GB for all of them
  --write             also writes docs/published-shapes.md
`

const text = { type: 'string' } as const
const { values } = parseArgs({
  options: {
    shapes: { ...text, default: Object.keys(PUBLISHED_SHAPES).join(',') },
    precisions: { ...text, default: PRECISIONS.join(',') },
    parts: { ...text, default: PARTS.join(',') },
    prompt: { ...text, default: '512' },
    generate: { ...text, default: '64' },
    repetitions: { ...text, default: '3' },
    threads: text,
    models: text,
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const folder = values.models ?? here('shapes/models')
const threads = values.threads ? wholeNumber('threads', values.threads) : undefined
const shapes = () => choices('shapes', values.shapes, Object.keys(PUBLISHED_SHAPES))

/** Both tests of a model: the prompt, and the tokens after it. */
async function speedOf(name: string, precision: Precision) {
  const path = await makeModel(folder, name, PUBLISHED_SHAPES[name]!, precision)
  const { rows } = await bench({
    models: [path],
    device: 'cpu',
    threads: threads === undefined ? undefined : [threads],
    promptTokens: [wholeNumber('prompt', values.prompt)],
    generationTokens: [wholeNumber('generate', values.generate)],
    repetitions: wholeNumber('repetitions', values.repetitions),
    seed: 1,
  })
  const [prompt, generation] = rows as [BenchRow, BenchRow]
  const { config } = await openCheckpoint(path)
  const contextBytes = contextBytesPerToken(config)
  return { name, precision, prompt, generation, contextBytes }
}

async function productsRow(
  name: string,
  device: ReturnType<typeof createDevice>,
  peak: FloatPeak,
): Promise<ProductRow> {
  const products = await productsOf(PUBLISHED_SHAPES[name]!.config)
  const rates = await measureProducts(device, products, () => peak.measure(device.threads))
  return { name, operations: operationsOf(products), rates }
}

/** `flat-cost` of a model without attention: a long prompt and short ones in turns. */
async function linearRow(name: string): Promise<LinearRow> {
  const path = await makeRecurrent(folder, name, PUBLISHED_SHAPES[name]!)
  const words = ['--only', 'prefill', '--prefill', LENGTHS.join()]
  if (threads) words.push('--threads', String(threads))
  const script = here('flat-cost.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--import', 'tsx', script, path],
    ...words,
  ])
  const table = stdout.matchAll(/^(\d+) \| [\d.]+ \| ([\d.]+) \| ([\d.]+)$/gm)
  return {
    name,
    lengths: [...table].map(([, length, milliseconds, ratio]) => ({
      length: Number(length),
      milliseconds: Number(milliseconds),
      ratio: Number(ratio),
    })),
  }
}

async function measure(parts: readonly string[]): Promise<PageResults> {
  using device = createDevice('cpu', threads ? { threads } : {})
  await using peak = await FloatPeak.compile(device.cpuLevel)
  const results: PageResults = {
    machine: describeMachine(),
    date: new Date().toISOString().slice(0, 10),
    ...{ threads: device.threads, level: device.cpuLevel ?? 'reference' },
    ...{ prompt: values.prompt, generate: values.generate, repetitions: values.repetitions },
    peaks: [await peak.measure(device.threads)],
    ...{ speed: [], products: [], linear: [] },
  }
  const say = (what: string) => process.stderr.write(`${what}\n`)
  for (const name of shapes()) {
    if (parts.includes('speed')) {
      for (const precision of choices('precisions', values.precisions, PRECISIONS)) {
        say(`${name}, ${precision}`)
        results.speed.push(await speedOf(name, precision as Precision))
      }
    }
    if (parts.includes('products')) {
      say(`${name}, products`)
      results.products.push(await productsRow(name, device, peak))
    }
    if (parts.includes('linear') && PUBLISHED_SHAPES[name]!.recurrent) {
      say(`${name}, lengths`)
      results.linear.push(await linearRow(name))
    }
    results.peaks.push(await peak.measure(device.threads))
  }
  return results
}

if (values.help) process.stdout.write(HELP)
else {
  const page = renderPage(await measure(choices('parts', values.parts, PARTS)))
  process.stdout.write(page)
  if (values.write) await writeFile(here('../../docs/published-shapes.md'), page)
}
