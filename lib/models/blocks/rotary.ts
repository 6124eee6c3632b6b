// How the pairs of columns of a head turn with the position (RoPE), by what a configuration says of it. Frequencies are
// computed in float32, step by step as transformers does it: at position 100,000 the last bit of one counts.
// (Su et al., "RoFormer", 2021; transformers/modeling_rope_utils.py)

import type { ConfigReader } from '../config-reader.js'

/** Rotary embedding of the heads of queries and keys. */
export interface Rotary {
  /** Radians a position, of each pair of columns that turns; the others of a head stay as they are. */
  frequencies: readonly number[]
  /** Of sine and cosine. */
  attentionFactor: number
  /** For people: `theta 10000, 64 columns`. */
  description: string
}

const { fround, PI } = Math

/** How much of a head turns: all of it, or the part that a configuration states. */
export type RotaryColumns = 'whole' | 'part'

/**
 * What turns by position, in a configuration in the style of transformers: in `rope_parameters`, or at its top. Families
 * that turn whole heads pass over `partial_rotary_factor`.
 */
export function readRotary(config: ConfigReader, headDim: number, columns: RotaryColumns): Rotary {
  const stated = rotaryObject(config)
  const theta = stated.number('rope_theta', 10_000)
  if (!(theta > 1 && Number.isFinite(theta)))
    stated.invalid(`rope_theta must be above 1 but is ${theta}`)
  const part = columns === 'part' ? stated.number('partial_rotary_factor', 1) : 1
  const dim = Math.trunc(headDim * part)
  if (!(part > 0 && part <= 1) || dim < 2 || dim % 2 !== 0) {
    stated.invalid(`partial_rotary_factor ${part} of ${headDim} columns is no even number of them`)
  }
  const pairs = standard(theta, dim)
  const type = stated.only('rope_type', ['default', 'linear', 'llama3', 'yarn'])
  const description = `theta ${theta}, ${dim} columns${type === 'default' ? '' : `, ${type}`}`
  const plain = (frequencies: number[]) => ({ frequencies, attentionFactor: 1, description })
  switch (type) {
    case 'default':
      return plain(pairs.map((power) => fround(1 / power)))
    case 'linear': {
      const factor = stated.factor('factor')
      return plain(pairs.map((power) => fround(fround(1 / power) / factor)))
    }
    case 'llama3':
      return plain(
        llama3(
          stated,
          pairs.map((power) => fround(1 / power)),
        ),
      )
    case 'yarn':
      return { ...yarn(stated, pairs, theta, dim), description }
  }
}

/** Rotary embedding of the first `dim` columns of a head, as it was published first. */
export function plainRotary(theta: number, dim: number): Rotary {
  const frequencies = standard(theta, dim).map((power) => fround(1 / power))
  return { frequencies, attentionFactor: 1, description: `theta ${theta}, ${dim} columns` }
}

// theta ** (2i / dim) for each pair.
function standard(theta: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => fround(theta ** fround((2 * i) / dim)))
}

/** The base of the frequencies, wherever a configuration has it. */
export const readTheta = (config: ConfigReader): number =>
  rotaryObject(config).number('rope_theta', 10_000)

// Writers before transformers 5 have `rope_scaling` beside `rope_theta`, and `type` for `rope_type`.
function rotaryObject(config: ConfigReader): ConfigReader {
  const outer = config.picked(['rope_theta', 'partial_rotary_factor', 'max_position_embeddings'])
  const inner = config.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling'
  const both = config.has(inner) ? outer.withObject(config.object(inner)) : outer
  return both.has('rope_type') || !both.has('type') ? both : both.renamed('type', 'rope_type')
}

// Long waves are stretched by `factor`, short ones stay, those between are blended.
function llama3(stated: ConfigReader, frequencies: number[]): number[] {
  const factor = stated.factor('factor')
  const low = stated.factor('low_freq_factor')
  const high = stated.factor('high_freq_factor')
  const context = stated.dimension('original_max_position_embeddings')
  return frequencies.map((frequency) => {
    const wave = fround(fround(2 * PI) / frequency)
    if (wave < context / high) return frequency
    if (wave > context / low) return fround(frequency / factor)
    const smooth = fround(fround(fround(context / wave) - low) / (high - low))
    const stretched = fround(fround(fround(1 - smooth) * frequency) / factor)
    return fround(stretched + fround(smooth * frequency))
  })
}

// Peng et al., "YaRN", 2023: pairs that turn often stay, those that turn less than once are stretched.
function yarn(stated: ConfigReader, powers: number[], theta: number, dim: number) {
  const context = stated.dimension('original_max_position_embeddings')
  const factor = stated.has('factor')
    ? stated.factor('factor')
    : stated.dimension('max_position_embeddings') / context
  // The pair that turns so often within the original context.
  const pairOf = (turns: number) =>
    (dim * Math.log(context / (turns * 2 * PI))) / (2 * Math.log(theta))
  const isWhole = stated.boolean('truncate', true)
  const first = pairOf(stated.factor('beta_fast', 32))
  const last = pairOf(stated.factor('beta_slow', 1))
  const low = Math.max(isWhole ? Math.floor(first) : first, 0)
  let high = Math.min(isWhole ? Math.ceil(last) : last, dim - 1)
  if (low === high) high += 0.001
  const frequencies = powers.map((power, i) => {
    const ramp = Math.min(Math.max(fround(fround(i - low) / (high - low)), 0), 1)
    const kept = fround(1 - ramp)
    const stretched = fround(fround(1 / fround(factor * power)) * fround(1 - kept))
    return fround(stretched + fround(fround(1 / power) * kept))
  })
  return { frequencies, attentionFactor: yarnAttentionFactor(stated, factor) }
}

function yarnAttentionFactor(stated: ConfigReader, factor: number): number {
  if (stated.has('attention_factor')) return stated.factor('attention_factor')
  const scaled = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1)
  const all = stated.number('mscale_all_dim', 0)
  const mscale = stated.number('mscale', 0)
  return mscale !== 0 && all !== 0 ? scaled(mscale) / scaled(all) : scaled(1)
}
