// Several texts from one prompt.

import type { Moments } from '../engine/moments.js'
import type { SamplerSettings } from '../engine/sampler-settings.js'
import { SharedPrompt } from '../engine/shared-prompt.js'
import { UnsupportedOptionError } from '../support/errors.js'
import type { GenerateResult } from './generate.js'
import { type GenerateOptions, SAMPLES, type SamplesOptions } from '../options/generation.js'
import { optionValue } from '../support/option-table.js'
import type { TextStream } from './text-stream.js'

/** What a model does for them. */
export interface SampleHost {
  tokens(options: GenerateOptions): Promise<Uint32Array>
  /** How many streams run at once. */
  readonly maxStreams: number
  /** With the defaults of the model. */
  sampler(options: GenerateOptions): SamplerSettings
  stream(
    tokens: Uint32Array,
    options: GenerateOptions,
    also: (moments: Moments | undefined) => Promise<Moments | undefined>,
  ): TextStream
}

/** Texts on their way from one prompt, which the first one runs: the others wait for it, and take no place before. */
export interface SampleStreams extends Disposable {
  readonly streams: readonly TextStream[]
  /** The first one has failed, or nobody will read it: no other begins. */
  fail(error: unknown): void
}

/**
 * The streams of `n` texts from one prompt, the one with index i from seed + i. To be disposed of when all have ended.
 *
 * @throws UnsupportedOptionError where all would be the same.
 */
export async function sampleStreams(
  operation: string,
  { n, ...options }: SamplesOptions,
  host: SampleHost,
): Promise<SampleStreams> {
  const count = optionValue(operation, SAMPLES, 'n', { n })!
  const { seed, isGreedy } = host.sampler(options)
  if (count > 1 && isGreedy) {
    throw new UnsupportedOptionError(
      `[${operation}] n changes nothing without a temperature above 0: all ${count} texts would be the same`,
    )
  }
  const tokens = await host.tokens(options)
  const shared = count > 1 ? new SharedPrompt(tokens.length) : undefined
  const streams = Array.from({ length: count }, (_, i) =>
    host.stream(tokens, { ...options, seed: seed + i }, async (moments) => {
      if (!shared) return moments
      return i === 0 ? shared.first(moments) : shared.next(moments)
    }),
  )
  return {
    streams,
    fail: (error) => shared?.fail(error),
    [Symbol.dispose]: () => shared?.[Symbol.dispose](),
  }
}

/** Runs a prompt once and generates `n` texts. When one fails, all end. Throws as `sampleStreams`. */
export async function samples(
  operation: string,
  options: SamplesOptions,
  host: SampleHost,
): Promise<GenerateResult[]> {
  using shared = await sampleStreams(operation, options, host)
  const { streams } = shared
  const count = streams.length
  const results: GenerateResult[] = []
  let next = 0
  let hasFailed = false
  // As many as there are places: the others do not fill the queue.
  const runSome = async () => {
    for (let i = next++; i < count && !hasFailed; i = next++) {
      const result = streams[i]!.resultAlone()
      if (i === 0) result.catch((error: unknown) => shared.fail(error))
      results[i] = await result
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(count, host.maxStreams) }, runSome))
    return results
  } catch (error) {
    hasFailed = true
    // Whoever is left has nobody to hear of it.
    await Promise.allSettled(streams.map((stream) => stream.return()))
    throw error
  }
}
