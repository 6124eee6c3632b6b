// ssm-metal perplexity

import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import { perplexity } from '../scoring/perplexity.js'
import { PROMPT } from '../options/generation.js'
import { defineCommand, type OptionTable, type OptionValues, UsageError } from './command.js'
import { optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { modelOptions, textOptions } from './options.js'
import { comparisonTable, compareVariants } from './perplexity/compare.js'
import { type Variant, variantsOf } from './perplexity/variants.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'
import { twoColumns } from './table.js'

const perplexityOptions = {
  file: {
    type: 'string',
    short: 'f',
    placeholder: 'FILE',
    description: 'the text, in UTF-8; - reads it from standard input',
  },
  bits: {
    type: 'string',
    multiple: true,
    placeholder: 'LIST',
    description:
      'beside the model as it is: quantised to these bits, such as 4,8 or 4/32 (groups of 32), mxfp4 or nvfp4',
  },
  ...textOptions,
  ...modelOptions,
  json: { type: 'boolean', description: 'print one JSON object instead of a table' },
} as const satisfies OptionTable

export const perplexityCommand = defineCommand({
  name: 'perplexity',
  summary: 'measure how well a model predicts a text',
  usage: '[-m MODEL] -f FILE [--bits LIST] [options]',
  options: perplexityOptions,
  example: 'ssm-metal perplexity -m ./mamba2-130m -f text.txt',
  moreExamples: ['ssm-metal perplexity -m ./mamba2-130m -f text.txt --bits 4,8,mxfp4'],
  async run({ options }) {
    if (options.file === undefined) throw new UsageError('no text given: add -f FILE, or -f -')
    const variants = variantsOf(options.bits)
    if (variants.length > 0 && options.qBits !== undefined) {
      throw new UsageError('--bits compares with the model as it is: leave out --q-bits')
    }
    return interruptible(async (signal) => {
      const input =
        options.file === '-'
          ? await text(addAbortSignal(signal, process.stdin))
          : await readText(options.file!)
      const line = new ProgressLine()
      const { parseSpecial } = optionsOf(PROMPT, options)
      const measure = { options, signal, parseSpecial, line }
      const output = await (variants.length === 0
        ? measureOne(input, measure)
        : compare(input, variants, measure)
      ).finally(() => line.clear())
      process.stdout.write(output)
      return exitCodes.success
    })
  },
})

interface Measure {
  options: OptionValues<typeof perplexityOptions>
  signal: AbortSignal
  parseSpecial: boolean | undefined
  line: ProgressLine
}

async function measureOne(
  input: string,
  { options, signal, parseSpecial, line }: Measure,
): Promise<string> {
  await using model = await loadFromOptions(options, signal)
  const onProgress = ({ tokens, total }: { tokens: number; total: number }) =>
    line.update({ phase: 'predict', loaded: tokens, total, unit: 'tokens' })
  const result = await perplexity(model, input, { signal, onProgress, parseSpecial })
  if (options.json) return `${JSON.stringify(result)}\n`
  const { tokens, bytes, negativeLogLikelihood, perplexityError, bitsPerByte } = result
  return twoColumns([
    ['tokens', String(tokens)],
    ['bytes', String(bytes)],
    ['negative log-likelihood', `${negativeLogLikelihood.toFixed(2)} nats`],
    ['perplexity', `${result.perplexity.toFixed(4)} ± ${perplexityError.toFixed(4)}`],
    ['bits per byte', bitsPerByte.toFixed(5)],
  ])
}

async function compare(
  input: string,
  variants: readonly Variant[],
  { options, signal, parseSpecial, line }: Measure,
): Promise<string> {
  const compared = await compareVariants(input, variants, {
    model: options.model,
    load: (more, path = options.model) =>
      loadFromOptions({ ...options, model: path }, signal, more),
    signal,
    parseSpecial,
    onProgress: (weights, { tokens, total }) =>
      line.update({ phase: `predict (${weights})`, loaded: tokens, total, unit: 'tokens' }),
  })
  return options.json ? `${JSON.stringify(compared)}\n` : comparisonTable(compared)
}

async function readText(file: string): Promise<string> {
  const bytes = await readFile(file)
  try {
    // A byte that is not UTF-8 would be counted as the three of its replacement.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Error(`${file}: is not a text in UTF-8`)
  }
}
