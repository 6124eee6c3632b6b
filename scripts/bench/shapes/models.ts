// Models of published shapes on disk, made when they are missing.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { convert } from '../../../lib/convert/convert.js'
import { type RandomConfig, writeRandomCheckpoint } from '../../random-checkpoint.js'
import type { PublishedShape } from './published.js'

/** As the command line takes them. */
export const PRECISIONS = ['f16', '8', '4'] as const
export type Precision = (typeof PRECISIONS)[number]

/** A model of a shape in `folder`. The 8- and 4-bit ones come from the float16 one. */
export async function makeModel(
  folder: string,
  name: string,
  shape: PublishedShape,
  precision: Precision,
): Promise<string> {
  const base = await makeFloats(folder, `${name}-float16`, shape.config)
  if (precision === 'f16') return base
  const bits = Number(precision) as 8 | 4
  const path = join(folder, `${name}-${bits}bit`)
  if (!existsSync(join(path, 'config.json'))) {
    process.stderr.write(`quantising ${path}\n`)
    await convert(base, path, { quantize: { bits } })
  }
  return path
}

/** The model of a few layers without attention. */
export function makeRecurrent(
  folder: string,
  name: string,
  { config, recurrent }: PublishedShape,
): Promise<string> {
  return makeFloats(folder, `${name}-recurrent`, { ...config, ...recurrent })
}

async function makeFloats(folder: string, name: string, config: RandomConfig): Promise<string> {
  const path = join(folder, name)
  if (!existsSync(join(path, 'config.json'))) {
    process.stderr.write(`writing ${path}\n`)
    await writeRandomCheckpoint(path, config, { dtype: 'float16', seed: 1 })
  }
  return path
}
