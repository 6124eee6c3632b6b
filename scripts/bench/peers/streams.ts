// Streams that decode together, on the CPU, beside what the machine allows and llama.cpp: README.md says how and what for.

import { appendFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openCheckpoint } from '../../../lib/models/checkpoint.js'
import { makePair, type Pair, type Precision, shapeNamed } from './models.js'
import { runTrialScript, waitForQuiet } from './processes.js'
import {
  checkBatch,
  type Joining,
  joiningTable,
  type Ours,
  type StreamCase,
  streamTable,
  type Theirs,
} from './streams-tables.js'
import { machineLine, othersOf, quietRounds, weightName } from './tables.js'
import { choices, wholeNumber } from './words.js'

const HELP = `Measures streams that decode together on the CPU, beside llama.cpp's batched decoding.

Usage: npm run streams -- [options]          (in scripts/bench/peers, after npm install)

  --shape NAME        by default mamba2-130m
  --precisions LIST   by default 8,4
  --streams LIST      by default 1,2,4,8,16,32
  --threads N         by default 2
  --prompt N          tokens of each prompt, by default 16
  --generate N        tokens of each stream that are timed, by default 64
  --long N            tokens of a prompt that joins 8 streams, by default 4096; 0 for none
  --rounds N          processes of each engine, by default 5
  --group-size N      of our weights, by default 64; llama.cpp's blocks are of 32
  --most-others N     percent of the processors that other processes may use during a round, by
                      default 20; other rounds are left out of the tables
  --quiet-wait N      seconds to wait before each trial for other processes to rest, by default 20
  --models FOLDER     where models are kept, by default models/ beside this script
  --out FILE          append every trial, one JSON object a line
`

const text = { type: 'string' } as const
const { values } = parseArgs({
  options: {
    shape: { ...text, default: 'mamba2-130m' },
    precisions: { ...text, default: '8,4' },
    streams: { ...text, default: '1,2,4,8,16,32' },
    threads: { ...text, default: '2' },
    prompt: { ...text, default: '16' },
    generate: { ...text, default: '64' },
    long: { ...text, default: '4096' },
    rounds: { ...text, default: '5' },
    'group-size': { ...text, default: '64' },
    'most-others': { ...text, default: '20' },
    'quiet-wait': { ...text, default: '20' },
    models: text,
    out: text,
    help: { type: 'boolean', default: false },
  },
})

const JOINED = 8

/** What a number of streams is, or the long prompt, at one precision. */
interface Work {
  precision: Precision
  pair: Pair
  vocabulary: number
}

const numbers = {
  threads: wholeNumber('threads', values.threads),
  prompt: wholeNumber('prompt', values.prompt),
  generate: wholeNumber('generate', values.generate),
}
const long = wholeNumber('long', values.long, 0)
const quietWait = wholeNumber('quiet-wait', values['quiet-wait'], 0)
const mostOthers = wholeNumber('most-others', values['most-others'], 0)

async function trial<Result>(
  engine: 'ssm-metal' | 'node-llama-cpp',
  { precision, pair, vocabulary }: Work,
  request: { task: string; streams: number; seed: number; long?: number },
): Promise<Result> {
  await waitForQuiet(quietWait)
  const model = engine === 'ssm-metal' ? pair.ours : pair.theirs
  const whole = { engine, model, vocabulary, mmap: true, ...numbers, ...request }
  const result = (await runTrialScript('streams-trial.mjs', whole)) as Result
  process.stderr.write(`${engine} ${precision} ${request.task} ${request.streams}\n`)
  if (values.out) {
    await appendFile(values.out, `${JSON.stringify({ precision, ...whole, ...result })}\n`)
  }
  return result
}

/** One round of a number of streams; who goes first changes with the round. */
async function together(work: Work, streams: number, round: number) {
  const request = { task: 'measureTogether', streams, seed: 1 + 1000 * round }
  const run = {
    ours: () => trial<Ours>('ssm-metal', work, request),
    theirs: () => trial<Theirs>('node-llama-cpp', work, request),
  }
  if (round % 2 === 0) return { ours: await run.ours(), theirs: await run.theirs() }
  const theirs = await run.theirs()
  return { ours: await run.ours(), theirs }
}

async function main(): Promise<void> {
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const precisions = choices('precisions', values.precisions, ['f16', '8', '4']) as Precision[]
  const counts = values.streams.split(',').map((count) => wholeNumber('streams', count))
  const rounds = wholeNumber('rounds', values.rounds)
  const groupSize = wholeNumber('group-size', values['group-size'])
  const folder = values.models ?? fileURLToPath(new URL('models', import.meta.url))

  console.log('Correctness: llama.cpp, two sequences in a batch and each alone\n')
  const works: Work[] = []
  for (const precision of precisions) {
    const pair = await makePair(folder, shapeNamed(values.shape), precision, groupSize)
    const vocabulary = (await openCheckpoint(pair.ours)).config.vocabSize
    const work = { precision, pair, vocabulary }
    works.push(work)
    const request = { task: 'logitsTogether', streams: 2, generate: 8, seed: 1 }
    checkBatch(weightName(precision), await trial('node-llama-cpp', work, request))
  }
  const cases = works.flatMap((work) =>
    counts.map((streams): StreamCase & Work => ({ ...work, streams, rounds: [] })),
  )
  const joinings = works.map((work) => ({ ...work, rounds: [] as Joining[] }))
  for (let round = 0; round < rounds; round++) {
    for (const one of cases) one.rounds.push(await together(one, one.streams, round))
    if (long === 0) continue
    for (const one of joinings) {
      const request = { task: 'measureJoining', streams: JOINED, long, seed: 1 + 1000 * round }
      one.rounds.push(await trial('ssm-metal', one, request))
    }
  }
  const named = (precision: Precision, what: string) => `${weightName(precision)}, ${what}`
  streamTable(
    cases.map((one) => ({
      ...one,
      rounds: quietRounds(
        named(one.precision, `streams ${one.streams}`),
        one.rounds,
        ({ ours, theirs }) => othersOf(ours, theirs),
        mostOthers,
      ),
    })),
  )
  if (long > 0) {
    joiningTable(
      joinings.map((one) => ({
        ...one,
        rounds: quietRounds(named(one.precision, 'joining'), one.rounds, othersOf, mostOthers),
      })),
    )
  }
  console.log(
    `\n${machineLine()}; ${values.shape}, ${values.threads} threads, prompts of ${values.prompt}, ` +
      `${values.generate} tokens, ${rounds} rounds`,
  )
}

await main()
