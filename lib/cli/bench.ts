// ssm-metal bench: speed and memory, in the habits of llama-bench.

import type { AffineBits, AffineGroupSize } from '../operations/arguments.js'
import { access, constants, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { bench } from '../bench/bench.js'
import { BENCH_FORMATS, type BenchFormat, formatReport } from '../bench/format.js'
import { formatHtml } from '../bench/html.js'
import { showNotice } from './notice.js'
import { defineCommand, type OptionValues, UsageError } from './command.js'
import { interruptible } from './interrupt.js'
import { modelOptions } from './options.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

const { device, dtype, 'q-bits': qBits, 'q-group-size': qGroupSize } = modelOptions

const benchOptions = {
  model: {
    type: 'string',
    short: 'm',
    multiple: true,
    placeholder: 'MODEL',
    description:
      'file, folder, or Hub name of a model in the Hugging Face cache; several after commas; by default the small one built in',
  },
  'n-prompt': {
    type: 'string',
    short: 'p',
    multiple: true,
    aliases: ['prompt-tokens'],
    placeholder: 'N,N',
    description: 'tokens of the prompt; 0 measures none; default 512',
  },
  'n-gen': {
    type: 'string',
    short: 'n',
    multiple: true,
    aliases: ['generation-tokens'],
    placeholder: 'N,N',
    description: 'tokens to generate; 0 measures none; default 128',
  },
  'n-depth': {
    type: 'string',
    short: 'd',
    multiple: true,
    placeholder: 'N,N',
    description: 'tokens that each stream has seen before; default 0',
  },
  'batch-size': {
    type: 'string',
    short: 'b',
    multiple: true,
    placeholder: 'N,N',
    description: 'streams that run together; default 1',
  },
  repetitions: {
    type: 'integer',
    short: 'r',
    aliases: ['num-trials'],
    minimum: 1,
    default: 5,
    description: 'how often each test is run, each time in a process of its own',
  },
  sweep: {
    type: 'boolean',
    description: 'walk through context lengths up to 65,536, or those of -d, along one sequence',
  },
  device,
  threads: {
    type: 'string',
    short: 't',
    multiple: true,
    placeholder: 'N,N',
    description: 'threads of the CPU device; default the CPUs that this process may use',
  },
  dtype,
  'q-bits': qBits,
  'q-group-size': qGroupSize,
  output: {
    type: 'string',
    short: 'o',
    choices: BENCH_FORMATS,
    default: 'md',
    placeholder: 'FORMAT',
    description: 'what is printed',
  },
  html: {
    type: 'string',
    placeholder: 'FILE',
    description: 'also write a page with tables and plots, complete in one file',
  },
  seed: {
    type: 'integer',
    minimum: 0,
    maximum: 2 ** 32 - 1,
    description: 'of the random prompts, of which every repetition has its own',
  },
  'no-warmup': {
    type: 'boolean',
    description: 'measure from the first token of each process on',
  },
} as const

export const benchCommand = defineCommand({
  name: 'bench',
  summary: 'measure speed and memory: prefill (pp), decode (tg), against context length',
  usage: '[-m MODEL] [-p N] [-n N] [-d N] [options]',
  options: benchOptions,
  example: 'ssm-metal bench -m ./mamba2-130m -p 512 -n 128 -d 0,4096 -o md',
  async run({ options }) {
    const request = benchRequest(options)
    // Better now than after an hour of measuring.
    if (options.html !== undefined) await access(dirname(options.html), constants.W_OK)
    return interruptible(async (signal) => {
      const line = new ProgressLine()
      let announced = 0
      const report = await bench({
        ...request,
        signal,
        onNotice: showNotice,
        onProgress({ label, round, rounds, done, total }) {
          const phase = `${label}, round ${round} of ${rounds}`
          line.update({ phase, loaded: done, total, unit: 'trials' })
          if (process.stderr.isTTY || round === announced) return
          announced = round
          process.stderr.write(`ssm-metal bench: round ${round} of ${rounds}\n`)
        },
      }).finally(() => line.clear())
      process.stdout.write(formatReport(report, options.output as BenchFormat))
      if (options.html !== undefined) {
        await writeFile(options.html, formatHtml(report, commandLine()))
        process.stderr.write(`ssm-metal bench: wrote ${options.html}\n`)
      }
      return exitCodes.success
    })
  },
})

function benchRequest(options: OptionValues<typeof benchOptions>) {
  if (options.qGroupSize !== undefined && options.qBits === undefined) {
    throw new UsageError('--q-group-size needs --q-bits')
  }
  const models = options.model.flatMap((text) => text.split(',')).filter((name) => name !== '')
  return {
    models: models.length === 0 ? undefined : models,
    promptTokens: parseCounts('-p', options.nPrompt),
    generationTokens: parseCounts('-n', options.nGen),
    depths: parseCounts('-d', options.nDepth),
    batchSizes: parseCounts('-b', options.batchSize, 1),
    threads: parseCounts('-t', options.threads, 1),
    repetitions: options.repetitions,
    sweep: options.sweep,
    warmup: !options.noWarmup,
    device: options.device as 'auto' | 'cpu' | 'metal',
    dtype: options.dtype as 'auto' | 'float32' | 'float16' | 'bfloat16',
    quantize:
      options.qBits === undefined
        ? undefined
        : {
            bits: options.qBits as AffineBits,
            groupSize: options.qGroupSize as AffineGroupSize | undefined,
          },
    seed: options.seed,
  }
}

/**
 * Numbers as llama-bench takes them: lists with commas, and ranges `first-last`, `first-last+step` and
 * `first-last*factor`. Undefined when the option was not given.
 *
 * @example parseCounts('-d', ['0,1024-4096*2']) // [0, 1024, 2048, 4096]
 */
export function parseCounts(flag: string, texts: readonly string[], least = 0) {
  if (texts.length === 0) return undefined
  return texts.flatMap((text) => text.split(',')).flatMap((part) => parseRange(flag, part, least))
}

// More would be a mistake: nobody waits for a thousand tests.
const MOST_VALUES = 1000

function parseRange(flag: string, text: string, least: number): number[] {
  const match = /^(\d{1,9})(?:-(\d{1,9})(?:([+*])(\d{1,9}))?)?$/.exec(text)
  const wrong = (problem: string): never => {
    throw new UsageError(`option ${flag} ${problem}: ${JSON.stringify(text)}`)
  }
  if (!match) return wrong('must be of whole numbers, such as 512 or 0,4096 or 0-4096+1024')
  const first = Number(match[1])
  const last = Number(match[2] ?? first)
  const by = Number(match[4] ?? 1)
  if (first < least) return wrong(`must be at least ${least}`)
  const values: number[] = []
  for (let value = first; value <= last; value = match[3] === '*' ? value * by : value + by) {
    values.push(value)
    const next = match[3] === '*' ? value * by : value + by
    if (next <= value && last > first) return wrong('has a range that never ends')
    if (values.length > MOST_VALUES) return wrong('has too many values')
  }
  return values.length === 0 ? wrong('has a range that ends before it begins') : values
}

/** What was called, for the page: words with special characters in quotes. */
function commandLine(): string {
  const words = process.argv
    .slice(2)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
  return ['ssm-metal', ...words].join(' ')
}
