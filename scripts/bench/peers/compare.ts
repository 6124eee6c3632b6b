// This package beside node-llama-cpp (llama.cpp), on the CPU: README.md says how and what for.

import { appendFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from '../../../lib/bench/statistics.js'
import { openCheckpoint } from '../../../lib/models/checkpoint.js'
import { stateBytes } from '../../../lib/models/state-fields.js'
import {
  makeCheckPair,
  makePair,
  type Pair,
  PRECISIONS,
  type Precision,
  SHAPES,
  shapeNamed,
} from './models.js'
import {
  runBandwidth,
  runLogits,
  runTrial,
  type TrialRequest,
  type TrialResult,
  waitForQuiet,
} from './processes.js'
import {
  difference,
  machineLine,
  othersOf,
  quietRounds,
  row,
  spread,
  weightName,
} from './tables.js'
import { choices, wholeNumber } from './words.js'

const HELP = `Compares this package with node-llama-cpp on the CPU, on the same random weights.

Usage: npm run compare -- [options]          (in scripts/bench/peers, after npm install)

  --shapes LIST       by default mamba2-130m; of
                      ${[...SHAPES.keys()].join(', ').replace(/(.{40,70}?,) /g, '$1\n                      ')}
  --precisions LIST   by default f16,8,4
  --threads LIST      by default 2,1
  --prompt N          tokens of the prompt, by default 512
  --generate N        tokens to generate, by default 64
  --repetitions N     in each process, by default 3
  --rounds N          processes of each engine, by default 5
  --group-size N      of our 8- and 4-bit weights, by default 64; llama.cpp's blocks are of 32
  --no-mmap           llama.cpp reads the file instead of mapping it
  --most-others N     percent of the processors that other processes may use during a round, by
                      default 20; other rounds are left out of the tables
  --quiet-wait N      seconds to wait before each trial for other processes to rest, by default 20
  --models FOLDER     where models are kept, by default models/ beside this script
  --out FILE          append every trial, one JSON object a line
  --check-only        only compare logits
`

const text = { type: 'string' } as const
const { values } = parseArgs({
  options: {
    shapes: { ...text, default: 'mamba2-130m' },
    precisions: { ...text, default: 'f16,8,4' },
    threads: { ...text, default: '2,1' },
    prompt: { ...text, default: '512' },
    generate: { ...text, default: '64' },
    repetitions: { ...text, default: '3' },
    rounds: { ...text, default: '5' },
    'group-size': { ...text, default: '64' },
    'no-mmap': { type: 'boolean', default: false },
    'most-others': { ...text, default: '20' },
    'quiet-wait': { ...text, default: '20' },
    models: text,
    out: text,
    'check-only': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** One line of the tables. */
interface Case {
  shape: string
  precision: Precision
  threads: number
  pair: Pair
  /** Bytes of weights and state that our engine needs for a token, once. */
  stateBytes: number
  rounds: Round[]
}

interface Round {
  ours: TrialResult
  theirs: TrialResult
  /** Bytes a second that these threads read. */
  bandwidth: number
}

const tokens = Array.from({ length: 24 }, (_, i) => (i * 37 + 5) % 500)

/**
 * Throws unless both engines mean the same model: the root of the mean squared difference of their
 * logits, in standard deviations of the logits, stays below `tolerance`, for a prompt at once and token
 * by token.
 */
async function checkLogits(name: string, { ours, theirs }: Pair, tolerance: number): Promise<void> {
  const a = await runLogits({ engine: 'ssm-metal', model: ours }, tokens)
  const b = await runLogits({ engine: 'node-llama-cpp', model: theirs }, tokens)
  for (const way of ['asPrompt', 'oneByOne'] as const) {
    const error = difference(a[way], b[way])
    const how = way === 'asPrompt' ? 'as a prompt' : 'token by token'
    const verdict = `${name}, ${how}: logits differ by ${error.toExponential(1)} standard deviations`
    if (!(error < tolerance)) throw new Error(`${verdict}; ${tolerance} are allowed`)
    console.log(`- ${verdict}`)
  }
}

// llama.cpp rounds activations to float16, or to 8 bits beside quantised weights, and its formats lose
// other digits than ours: there the check only says that nothing is grossly wrong. Deep random models
// magnify such errors without saying anything about trained ones, so that 8 and 4 bits are checked in
// the small model.
const TOLERANCES = { f32: 1e-4, f16: 0.02, '8': 0.1, '4': 0.7 } as const

// The delta rule magnifies them more: each engine is 0.7 away from its own float32 weights at 4 bits. Where a token goes to
// few of many experts, rounding decides about which, and logits say nothing.
const OWN_TOLERANCES: Readonly<Record<string, Partial<Record<Precision, number | undefined>>>> = {
  'qwen3.5-0.8b': { '4': 0.9 },
  'qwen3.5-35b-a3b': { '8': undefined, '4': undefined },
}

function toleranceOf(shape: string, precision: Precision | 'f32'): number | undefined {
  const own = OWN_TOLERANCES[shape]
  return own && precision in own ? own[precision as Precision] : TOLERANCES[precision]
}

function ratioTable(cases: readonly Case[]): void {
  console.log(
    '\nOurs / llama.cpp, median of the rounds (range). Speed: more is better; memory, first token: less.\n',
  )
  console.log(
    '| shape | weights | threads | decode | prefill | peak memory | load to first token |',
  )
  console.log('| --- | --- | --: | --: | --: | --: | --: |')
  for (const { shape, precision, threads, rounds } of cases) {
    const ratio = (measure: (result: TrialResult) => number) =>
      spread(
        rounds.map(({ ours, theirs }) => measure(ours) / measure(theirs)),
        2,
      )
    const cells = [
      ratio(({ decode }) => median(decode)),
      ratio(({ prefill }) => median(prefill)),
      ratio((result) => result.peakMemoryBytes),
      ratio((result) => result.firstTokenMs),
    ]
    console.log(row([shape, weightName(precision), threads, ...cells]))
  }
}

function figureTable(cases: readonly Case[]): void {
  console.log(
    '\nMedians of the rounds (range). GB/s: weights and state once a token; share: of what these threads read in the same round.\n',
  )
  console.log(
    '| shape | weights | threads | engine | decode tok/s | prefill tok/s | GB/s | share % | peak MiB | first token ms | others % |',
  )
  console.log('| --- | --- | --: | --- | --: | --: | --: | --: | --: | --: | --: |')
  for (const { shape, precision, threads, rounds, stateBytes: state } of cases) {
    for (const engine of ['ours', 'theirs'] as const) {
      const of = (measure: (result: TrialResult, bandwidth: number) => number, digits: number) =>
        spread(
          rounds.map((round) => measure(round[engine], round.bandwidth)),
          digits,
        )
      const rate = (result: TrialResult) => median(result.decode) * (result.weightBytes + state)
      const cells = [
        of(({ decode }) => median(decode), 1),
        of(({ prefill }) => median(prefill), 0),
        of((result) => rate(result) / 1e9, 1),
        of((result, bandwidth) => (100 * rate(result)) / bandwidth, 0),
        of((result) => result.peakMemoryBytes / 2 ** 20, 0),
        of((result) => result.firstTokenMs, 0),
        of(({ otherCpu }) => 100 * (otherCpu ?? Number.NaN), 0),
      ]
      const name = engine === 'ours' ? 'ssm-metal' : 'llama.cpp'
      console.log(row([shape, weightName(precision), threads, name, ...cells]))
    }
  }
}

async function main(): Promise<void> {
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const shapes = choices('shapes', values.shapes, [...SHAPES.keys()]).map(shapeNamed)
  const precisions = choices(
    'precisions',
    values.precisions,
    Object.keys(PRECISIONS),
  ) as Precision[]
  const threadCounts = values.threads.split(',').map((count) => wholeNumber('threads', count))
  const rounds = wholeNumber('rounds', values.rounds)
  const quietWait = wholeNumber('quiet-wait', values['quiet-wait'], 0)
  const mostOthers = wholeNumber('most-others', values['most-others'], 0)
  const groupSize = wholeNumber('group-size', values['group-size'])
  const folder = values.models ?? fileURLToPath(new URL('models', import.meta.url))

  console.log('Correctness: the same weights in both engines\n')
  // One of each family.
  for (const shape of new Map(shapes.map((one) => [one.small.name, one])).values()) {
    for (const precision of ['f32', ...precisions] as const) {
      const tolerance = toleranceOf(shape.name, precision)
      if (tolerance === undefined) continue
      const pair = await makeCheckPair(folder, shape, precision, groupSize)
      await checkLogits(`${shape.small.name}, ${weightName(precision)}`, pair, tolerance)
    }
  }
  const cases: Case[] = []
  for (const shape of shapes) {
    for (const precision of precisions) {
      const pair = await makePair(folder, shape, precision, groupSize)
      if (precision === 'f16') await checkLogits(`${shape.name}, f16`, pair, TOLERANCES.f16)
      const state = stateBytes((await openCheckpoint(pair.ours)).config)
      for (const threads of threadCounts) {
        cases.push({ shape: shape.name, precision, threads, pair, stateBytes: state, rounds: [] })
      }
    }
  }
  if (values['check-only']) return

  for (let round = 0; round < rounds; round++) {
    const bandwidths = new Map<number, number>()
    for (const { shape, precision, threads, pair, rounds: results } of cases) {
      await waitForQuiet(quietWait)
      const bandwidth = bandwidths.get(threads) ?? (await runBandwidth(threads))
      bandwidths.set(threads, bandwidth)
      const request = {
        threads,
        prompt: wholeNumber('prompt', values.prompt),
        generate: wholeNumber('generate', values.generate),
        repetitions: wholeNumber('repetitions', values.repetitions),
        seed: 1 + 1000 * round,
        mmap: !values['no-mmap'],
      }
      const trial = async (engine: TrialRequest['engine']) => {
        await waitForQuiet(quietWait)
        const model = engine === 'ssm-metal' ? pair.ours : pair.theirs
        const result = await runTrial({ ...request, engine, model })
        process.stderr.write(
          `round ${round + 1}: ${shape} ${precision} threads ${threads} ${engine}: ` +
            `decode ${median(result.decode).toFixed(1)}, prefill ${median(result.prefill).toFixed(0)} tok/s\n`,
        )
        if (values.out) {
          const line = { round, shape, precision, engine, bandwidth, ...request, ...result }
          await appendFile(values.out, `${JSON.stringify(line)}\n`)
        }
        return result
      }
      // Who goes first changes with the round.
      const first = round % 2 === 0 ? 'ssm-metal' : 'node-llama-cpp'
      const second = round % 2 === 0 ? 'node-llama-cpp' : 'ssm-metal'
      const one = await trial(first)
      const two = await trial(second)
      results.push(
        round % 2 === 0
          ? { ours: one, theirs: two, bandwidth }
          : { ours: two, theirs: one, bandwidth },
      )
    }
  }
  const shown = cases.map((one) => {
    const name = `${one.shape}, ${weightName(one.precision)}, threads ${one.threads}`
    const busy = ({ ours, theirs }: Round) => othersOf(ours, theirs)
    return { ...one, rounds: quietRounds(name, one.rounds, busy, mostOthers) }
  })
  ratioTable(shown)
  figureTable(shown)
  const bandwidths = threadCounts.map((threads) => {
    const rates = cases
      .filter((one) => one.threads === threads)
      .flatMap((one) => one.rounds.map(({ bandwidth }) => bandwidth / 1e9))
    return `${spread(rates, 1)} GB/s with ${threads}`
  })
  console.log(`\nRead bandwidth, threads: ${bandwidths.join(', ')}`)
  console.log(
    `${machineLine()}; prompt ${values.prompt}, ${values.generate} tokens, ${rounds} rounds of ${values.repetitions} repetitions`,
  )
}

await main()
