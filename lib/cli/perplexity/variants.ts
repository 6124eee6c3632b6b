// --bits: the same model in several formats of its weights.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convert } from '../../convert/convert.js'
import { defaultModel } from '../../default-model.js'
import { AFFINE_BITS, AFFINE_GROUP_SIZES } from '../../operations/arguments.js'
import type { AffineBits, AffineGroupSize } from '../../operations/arguments.js'
import type { LoadOptions } from '../../options/loading.js'
import type { Model } from '../../model.js'
import { listed } from '../../support/format.js'
import { UsageError } from '../command.js'
import { showNotice } from '../notice.js'

const MODES = ['mxfp4', 'nvfp4'] as const

/** A format that weights may be brought to. */
export interface Variant {
  name: string
  /** Quantised while it is loaded. */
  quantize?: NonNullable<LoadOptions['quantize']>
  /** Converted into a folder that is removed afterwards. */
  mode?: (typeof MODES)[number]
}

/**
 * The formats of `--bits`: bits of a weight, perhaps with a group size after a slash, and names of modes.
 *
 * @example variantsOf(['4,8/32', 'mxfp4'])
 */
export function variantsOf(texts: readonly string[]): Variant[] {
  return texts.flatMap((text) => text.split(',')).map(variantOf)
}

function variantOf(text: string): Variant {
  const mode = MODES.find((mode) => mode === text)
  if (mode) return { name: mode, mode }
  const [, digits, group] = /^(\d+)(?:\/(\d+))?$/.exec(text) ?? []
  const bits = AFFINE_BITS.find((bits) => bits === Number(digits))
  const groupSize = AFFINE_GROUP_SIZES.find((size) => size === Number(group ?? 64))
  if (bits === undefined || groupSize === undefined) {
    const groups = listed(AFFINE_GROUP_SIZES, 'or')
    throw new UsageError(
      `option --bits must be of ${listed([...AFFINE_BITS, ...MODES], 'or')}, bits perhaps with a group size of ${groups} after a slash, but has ${JSON.stringify(text)}`,
    )
  }
  return { name: nameOf(bits, groupSize), quantize: { bits, groupSize } }
}

const nameOf = (bits: AffineBits, groupSize: AffineGroupSize): string =>
  `${bits} bits, groups of ${groupSize}`

/** How a model is loaded: `path` instead of the one that was named, where there is one. */
export type LoadVariant = (more: Pick<LoadOptions, 'quantize'>, path?: string) => Promise<Model>

/** Loads a model in a format, and frees it after `work`. */
export async function withVariant<T>(
  { quantize, mode }: Variant,
  { model, load, signal }: { model: string | undefined; load: LoadVariant; signal: AbortSignal },
  work: (model: Model) => Promise<T>,
): Promise<T> {
  if (mode === undefined) {
    await using loaded = await load({ quantize })
    return await work(loaded)
  }
  const folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  try {
    const path = join(folder, mode)
    const options = { quantize: { mode }, signal, onNotice: showNotice }
    await convert(model ?? defaultModel(undefined), path, options)
    await using loaded = await load({}, path)
    return await work(loaded)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
