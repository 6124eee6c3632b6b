// How much worse a model predicts a text once its weights are quantised.

import {
  type Perplexity,
  type PerplexityChange,
  perplexityChange,
  perplexityOf,
  textToPredict,
  tokenLosses,
} from '../../scoring/perplexity.js'
import type { PerplexityOptions } from '../../options/scoring.js'
import { UnsupportedOptionError } from '../../support/errors.js'
import { formatBytes } from '../../support/format.js'
import { quantizedKind } from '../../weights/formats/formats.js'
import { type LoadVariant, type Variant, withVariant } from './variants.js'

/** A model in a format of its weights. */
export interface Compared extends Perplexity {
  weights: string
  /** Of the weights in memory. */
  weightBytes: number
  /** Against the first; undefined for itself. */
  change?: PerplexityChange
}

export interface ComparisonOptions {
  model: string | undefined
  load: LoadVariant
  signal: AbortSignal
  parseSpecial: boolean | undefined
  onProgress(
    weights: string,
    ...progress: Parameters<NonNullable<PerplexityOptions['onProgress']>>
  ): void
}

const ORIGINAL = 'as they are'

/** Predicts a text with a model as it is, then in each of the formats: the same tokens. */
export async function compareVariants(
  text: string,
  variants: readonly Variant[],
  { parseSpecial, onProgress, ...loading }: ComparisonOptions,
): Promise<Compared[]> {
  const { signal } = loading
  const bytes = Buffer.byteLength(text)
  const losses = (name: string) => ({
    signal,
    onProgress: (progress: { tokens: number; total: number }) => onProgress(name, progress),
  })
  const first = await withVariant({ name: ORIGINAL }, loading, async (model) => {
    const { quantization } = model.config
    if (quantization) {
      const bits = quantizedKind(quantization).bitsInWords(quantization)
      throw new UnsupportedOptionError(
        `--bits quantises a model in floats, and this one is quantised already (${bits}): name the original`,
      )
    }
    const tokens = textToPredict(model, text, { parseSpecial })
    const own = await tokenLosses(model, tokens, losses(ORIGINAL))
    return { tokens, losses: own, weightBytes: model.weightBytes }
  })
  const { weightBytes } = first
  const compared: Compared[] = [
    { weights: ORIGINAL, weightBytes, ...perplexityOf(first.losses, bytes) },
  ]
  for (const variant of variants) {
    const { name } = variant
    compared.push(
      await withVariant(variant, loading, async (model) => {
        const own = await tokenLosses(model, first.tokens, losses(name))
        const change = perplexityChange(first.losses, own, bytes)
        const { weightBytes } = model
        return { weights: name, weightBytes, ...perplexityOf(own, bytes), change }
      }),
    )
  }
  return compared
}

/** As a table in Markdown. */
export function comparisonTable(compared: readonly Compared[]): string {
  const [{ bitsPerByte: original, weightBytes: size }] = compared as [Compared]
  const header = ['weights', 'size', 'of size', 'perplexity', 'bits per byte', 'difference', '']
  const rows = compared.map(({ weights, weightBytes, change, ...result }) => [
    weights,
    formatBytes(weightBytes),
    `${((weightBytes / size) * 100).toFixed(1)} %`,
    `${result.perplexity.toFixed(4)} ± ${result.perplexityError.toFixed(4)}`,
    result.bitsPerByte.toFixed(5),
    change ? `${signed(change.bitsPerByte, 5)} ± ${change.bitsPerByteError.toFixed(5)}` : '',
    change ? `${signed((change.bitsPerByte / original) * 100, 3)} %` : '',
  ])
  const widths = header.map((name, i) =>
    Math.max(3, ...[header, ...rows].map((row) => row[i]!.length), name.length),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |\n`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [header, rule, ...rows].map(line).join('')
}

const signed = (value: number, digits: number): string =>
  `${value < 0 ? '' : '+'}${value.toFixed(digits)}`
