// Shows what state-space models are about: time per decoded token and memory do not grow with the
// context, prefill time grows linearly.
//
//   npx tsx scripts/make-random-model.ts /tmp/mamba2-130m --shape mamba2-130m
//   npm run flat-cost -- /tmp/mamba2-130m
//
// A short and a long sequence of one process take turns, decoding token by token and reading their
// prompts chunk by chunk, so that a busy neighbour slows both.

import { parseArgs } from 'node:util'
import { randomTokens } from '../../lib/bench/random-prompt.js'
import { median } from '../../lib/bench/statistics.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { Engine } from '../../lib/engine/engine.js'
import type { EngineStream } from '../../lib/engine/stream.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel } from '../../lib/models/language-model.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'string', default: '200' },
    long: { type: 'string', default: '20000' },
    tokens: { type: 'string', default: '64' },
    prefill: { type: 'string', default: '1024,2048,4096,8192,16384' },
    threads: { type: 'string' },
    only: { type: 'string' },
  },
})
if (!positionals[0]) {
  console.error(
    'Usage: npm run flat-cost -- MODEL [--short 200] [--long 20000] [--tokens 64] [--prefill 1024,2048] [--only decode|prefill] [--threads N]',
  )
  process.exit(2)
}

const device = createDevice('cpu', values.threads ? { threads: Number(values.threads) } : {})
const checkpoint = await openCheckpoint(positionals[0])
const model = await LanguageModel.load(device, checkpoint, {})
// Fresh ones for every prompt.
const tokens = randomTokens(1, model.config.vocabSize)

/** One sequence. It has an engine of its own, so that nothing else runs beside what is timed. */
class Alone {
  readonly #engine = new Engine(model, { maxStreams: 1, maxQueue: 0 })
  #stream: EngineStream | undefined

  /** Goes on with random tokens. */
  async prefill(count: number): Promise<void> {
    this.#stream ??= await this.#engine.open('flat-cost', {
      position: 0,
      history: new Uint32Array(0),
      maxTokens: 2 ** 31,
      stopTokens: new Set(),
      generated: 0,
      alternatives: undefined,
    })
    await this.#stream.prefill(tokens(count))
  }

  async decode(): Promise<void> {
    await this.#stream!.decode()
  }

  /** Begins anew. */
  reset(): void {
    this.#stream?.close()
    this.#stream = undefined
  }

  dispose(): void {
    this.#engine.dispose()
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

const megabytes = () => process.memoryUsage.rss() / 2 ** 20

// One long prompt, chunk by chunk, in turns with short ones, each chunk of the long one compared with
// the chunk of a short one beside it.
async function prefillTable(): Promise<void> {
  const chunk = 512
  const lengths = values.prefill.split(',').map(Number)
  const shortest = lengths[0]!
  const long = new Alone()
  const short = new Alone()
  await long.prefill(chunk) // the first touch of the weights belongs to nobody
  console.log('\nprompt, tokens | ms | ms a token | against prompts of the first length, in turns')
  console.log('-------------- | --: | --: | --:')
  const times = { long: [] as number[], short: [] as number[] }
  for (let done = chunk; done <= Math.max(...lengths); done += chunk) {
    times.long.push(await timed(() => long.prefill(chunk)))
    times.short.push(await timed(() => short.prefill(chunk)))
    if (done % shortest === 0) short.reset()
    if (!lengths.includes(done)) continue
    const sum = times.long.reduce((total, time) => total + time, 0)
    const ratio = median(times.long.map((time, i) => time / times.short[i]!))
    console.log(`${done} | ${sum.toFixed(0)} | ${(sum / done).toFixed(3)} | ${ratio.toFixed(3)}`)
  }
  long.dispose()
  short.dispose()
}

async function decodeTable(): Promise<void> {
  const lengths = [Number(values.short), Number(values.long)]
  const rows = []
  for (const length of lengths) {
    const sequence = new Alone()
    await sequence.prefill(length)
    rows.push({ length, sequence, times: [] as number[] })
  }
  for (const { sequence } of rows) await sequence.decode()
  const before = megabytes()
  for (let i = 0; i < Number(values.tokens); i++) {
    for (const row of rows) row.times.push(await timed(() => row.sequence.decode()))
  }
  const after = megabytes()
  console.log('\ndecode at position | ms a token, median | against the first')
  console.log('------------------ | --: | --:')
  const first = median(rows[0]!.times)
  for (const { length, times } of rows) {
    console.log(`${length} | ${median(times).toFixed(2)} | ${(median(times) / first).toFixed(3)}`)
  }
  console.log(
    `\nresident memory while decoding: ${before.toFixed(0)} MiB before, ${after.toFixed(0)} MiB after`,
  )
  for (const { sequence } of rows) sequence.dispose()
}

console.log(
  `${positionals[0]}: ${device.threads} threads, weights ${(model.weightBytes / 2 ** 20).toFixed(0)} MiB`,
)
if (values.only !== 'prefill') await decodeTable()
if (values.only !== 'decode') await prefillTable()
model.dispose()
device.dispose()
