// What `responseFormat` costs a token: a model of the shape of mamba2-130m with random weights at 8 bits, and a
// byte-level vocabulary of 50,000 tokens.
//
//   npm run mask-cost -- [--rounds 9] [--tokens 64] [--streams 1,8] [--threads N]
//
// Streams in turns in one process: any token, a mask that allows everything, and a JSON Schema. The second is what the
// engine pays for two lists instead of one, the third has the grammar thread's work too.

import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { randomTokens } from '../../lib/bench/random-prompt.js'
import { median } from '../../lib/bench/statistics.js'
import type { Masker } from '../../lib/engine/masks.js'
import type { EngineStream } from '../../lib/engine/stream.js'
import { GrammarEngine } from '../../lib/grammar/grammar.js'
import { loadModel, type Model } from '../../lib/index.js'
import { samplerOf } from '../../lib/generation/sampler.js'
import { NO_TOKEN } from '../../lib/operations/drawn-token.js'
import { RANDOM_MODEL_SHAPES, writeRandomModel } from '../random-model.js'
import { byteLevelTokenizer } from './byte-level-tokenizer.js'

const VOCABULARY = 50_000
const PROMPT_TOKENS = 16
// Tokens until it is the next one's turn: a busy neighbour slows all.
const BLOCK = 16

// Strings, numbers and names, longer than any run.
const SCHEMA = {
  type: 'array',
  minItems: 40,
  items: {
    type: 'object',
    properties: {
      id: { type: 'integer', minimum: 0, maximum: 99_999 },
      name: { type: 'string', maxLength: 24 },
      kind: { enum: ['small', 'medium', 'large'] },
      weight: { type: 'number' },
      tags: { type: 'array', items: { type: 'string', pattern: '^[a-z]{1,8}$' }, maxItems: 3 },
    },
    required: ['id', 'name', 'kind', 'weight', 'tags'],
  },
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    tokens: { type: 'string', default: '64' },
    streams: { type: 'string', default: '1,8' },
    threads: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const tokens = Math.ceil(Number(values.tokens) / BLOCK) * BLOCK

const folder = mkdtempSync(join(tmpdir(), 'ssm-metal-mask-cost-'))
try {
  const shape = { ...RANDOM_MODEL_SHAPES['mamba2-130m']!, vocabSize: VOCABULARY }
  await writeRandomModel(folder, shape, { dtype: 'float16', seed: 1 })
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(byteLevelTokenizer(VOCABULARY)))
  await using model = await loadModel(folder, {
    device: 'cpu',
    quantize: { bits: 8 },
    promptCache: false,
    ...(values.threads ? { threads: Number(values.threads) } : {}),
  })
  await compare(model)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** A mask for each stream, or none; `dispose` once it has ended. */
type Masks = () => Promise<{ masker: Masker | undefined; dispose(): void }>

/** Milliseconds: on the clock, and of all threads of the process. */
interface Spent {
  time: number
  processor: number
}

interface Stream {
  stream: EngineStream
  dispose(): void
}

async function compare(model: Model): Promise<void> {
  const { tokenizer, config, device } = model
  const vocabulary = config.paddedVocabSize
  const grammars = new GrammarEngine({ tokenizer: tokenizer!, vocabulary })
  const any = { mask: new Uint32Array(Math.ceil(vocabulary / 32)).fill(0xffffffff), isOver: false }
  const ways: Record<string, Masks> = {
    'any token': async () => ({ masker: undefined, dispose() {} }),
    'a mask of everything': async () => ({
      masker: { first: async () => any, after: async () => any },
      dispose() {},
    }),
    'a JSON Schema': async () => {
      const format = { type: 'json_schema', schema: SCHEMA } as const
      const matcher = await grammars.compile('mask-cost', format, { stopTokens: new Set() })
      return {
        masker: { first: async () => matcher.step, after: (token) => matcher.accept(token) },
        dispose: () => matcher.dispose(),
      }
    },
  }
  console.log(`mamba2-130m, 8 bits, ${vocabulary} tokens, ${device.threads} threads`)
  console.log(`${rounds} rounds of ${tokens} tokens a stream, medians (range)\n`)
  console.log('streams | | ms a token | against any token | ms of processors | against any token')
  console.log('--: | --- | --: | --: | --: | --:')
  for (const streams of values.streams.split(',').map(Number)) {
    await compareTogether(model, ways, streams)
  }
  grammars.dispose()
}

async function compareTogether(
  model: Model,
  ways: Record<string, Masks>,
  streams: number,
): Promise<void> {
  const names = Object.keys(ways)
  const spent = names.map(() => [] as Spent[])
  // The first round belongs to nobody: weights and grammars are touched for the first time.
  for (let round = 0; round <= rounds; round++) {
    const sets: Stream[][] = []
    for (const masks of Object.values(ways)) sets.push(await open(model, masks, { streams, round }))
    const sums = names.map(() => ({ time: 0, processor: 0 }))
    for (let done = 0; done < tokens; done += BLOCK) {
      // Whoever comes first may find the machine asleep.
      for (let turn = 0; turn < sets.length; turn++) {
        const i = (turn + done / BLOCK + round) % sets.length
        const { time, processor } = await decodeBlock(sets[i]!)
        sums[i]!.time += time
        sums[i]!.processor += processor
      }
    }
    for (const { stream, dispose } of sets.flat()) {
      stream.close()
      dispose()
    }
    if (round > 0) for (const [i, sum] of sums.entries()) spent[i]!.push(sum)
  }
  for (const [i, rounds] of spent.entries()) {
    const columns = (['time', 'processor'] as const).flatMap((what) => {
      const ratios = rounds.map((sum, round) => sum[what] / spent[0]![round]![what])
      const range = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
      const milliseconds = median(rounds.map((sum) => sum[what])) / tokens
      return [milliseconds.toFixed(2), `${median(ratios).toFixed(3)} (${range})`]
    })
    console.log([streams, names[i], ...columns].join(' | '))
  }
}

/** Streams that have read their prompts and drawn a token. */
async function open(
  { engine, config }: Model,
  masks: Masks,
  { streams, round }: { streams: number; round: number },
): Promise<Stream[]> {
  const opened = Array.from({ length: streams }, async (_, i) => {
    const seed = round * streams + i
    const { masker, dispose } = await masks()
    const prompt = randomTokens(seed, config.vocabSize)(PROMPT_TOKENS)
    const stream = await engine.open('mask-cost', {
      position: 0,
      history: prompt,
      generated: 0,
      maxTokens: tokens + 1,
      stopTokens: new Set(),
      alternatives: undefined,
      sampler: samplerOf('mask-cost', { temperature: 1, seed }),
      masker,
    })
    await stream.prefill(prompt)
    return { stream, dispose }
  })
  return Promise.all(opened)
}

/** The next tokens of all streams, which are asked for at once, as a generation does. */
async function decodeBlock(set: readonly Stream[]): Promise<Spent> {
  const start = performance.now()
  const before = process.cpuUsage()
  const drawn = await Promise.all(
    set.flatMap(({ stream }) => Array.from({ length: BLOCK }, () => stream.decode())),
  )
  if (drawn.some(({ token }) => token === NO_TOKEN)) throw new Error('a text was over too early')
  const { user, system } = process.cpuUsage(before)
  return { time: performance.now() - start, processor: (user + system) / 1000 }
}
