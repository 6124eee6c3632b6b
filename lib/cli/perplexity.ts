// ssm-metal perplexity

import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import { perplexity } from '../scoring/perplexity.js'
import { PROMPT } from '../options/generation.js'
import { defineCommand, UsageError } from './command.js'
import { optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { modelOptions, textOptions } from './options.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

export const perplexityCommand = defineCommand({
  name: 'perplexity',
  summary: 'measure how well a model predicts a text',
  usage: '[-m MODEL] -f FILE [options]',
  options: {
    file: {
      type: 'string',
      short: 'f',
      placeholder: 'FILE',
      description: 'the text, in UTF-8; - reads it from standard input',
    },
    ...textOptions,
    ...modelOptions,
    json: { type: 'boolean', description: 'print one JSON object instead of a table' },
  },
  example: 'ssm-metal perplexity -m ./mamba2-130m -f text.txt',
  async run({ options }) {
    if (options.file === undefined) throw new UsageError('no text given: add -f FILE, or -f -')
    return interruptible(async (signal) => {
      const input =
        options.file === '-'
          ? await text(addAbortSignal(signal, process.stdin))
          : await readText(options.file!)
      await using model = await loadFromOptions(options, signal)
      const line = new ProgressLine()
      const onProgress = ({ tokens, total }: { tokens: number; total: number }) =>
        line.update({ phase: 'predict', loaded: tokens, total, unit: 'tokens' })
      const result = await perplexity(model, input, {
        signal,
        onProgress,
        ...optionsOf(PROMPT, options),
      }).finally(() => line.clear())
      if (options.json) {
        process.stdout.write(`${JSON.stringify(result)}\n`)
        return exitCodes.success
      }
      const { tokens, bytes, negativeLogLikelihood, perplexityError, bitsPerByte } = result
      const rows: [string, string][] = [
        ['tokens', String(tokens)],
        ['bytes', String(bytes)],
        ['negative log-likelihood', `${negativeLogLikelihood.toFixed(2)} nats`],
        ['perplexity', `${result.perplexity.toFixed(4)} ± ${perplexityError.toFixed(4)}`],
        ['bits per byte', bitsPerByte.toFixed(5)],
      ]
      const width = Math.max(...rows.map(([name]) => name.length))
      process.stdout.write(
        rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join(''),
      )
      return exitCodes.success
    })
  },
})

async function readText(file: string): Promise<string> {
  const bytes = await readFile(file)
  try {
    // A byte that is not UTF-8 would be counted as the three of its replacement.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Error(`${file}: is not a text in UTF-8`)
  }
}
