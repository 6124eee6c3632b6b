// ssm-metal bench: speed and memory, in the habits of llama-bench.

import { access, constants, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { bench } from '../bench/bench.js'
import { BENCH_FORMATS, type BenchFormat, formatReport } from '../bench/format.js'
import { formatHtml } from '../bench/html.js'
import { showNotice } from './notice.js'
import { BENCH } from '../options/bench.js'
import { QUANTIZATION } from '../options/loading.js'
import { defineCommand, type OptionTable, type OptionValues } from './command.js'
import { flagsOf, optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

const { seed, 'no-warmup': noWarmup, ...measured } = flagsOf(BENCH)

const benchOptions = {
  model: {
    type: 'string',
    short: 'm',
    multiple: true,
    placeholder: 'MODEL',
    description:
      'file, folder, or Hub name of a model in the Hugging Face cache; several after commas; by default the small one built in',
  },
  ...measured,
  ...flagsOf(QUANTIZATION),
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
  seed,
  'no-warmup': noWarmup,
} as const satisfies OptionTable

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
  const models = options.model.flatMap((text) => text.split(',')).filter((name) => name !== '')
  return { ...optionsOf(BENCH, options), models: models.length === 0 ? undefined : models }
}

/** What was called, for the page: words with special characters in quotes. */
function commandLine(): string {
  const words = process.argv
    .slice(2)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
  return ['ssm-metal', ...words].join(' ')
}
