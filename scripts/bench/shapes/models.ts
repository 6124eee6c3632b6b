// Models of published shapes on disk, made when they are missing.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type RandomConfig, writeRandomCheckpoint } from '../../random-checkpoint.js'
import type { PublishedShape } from './published.js'

const run = promisify(execFile)

/** As the command line takes them. */
export const PRECISIONS = ['f16', '8', '4'] as const
export type Precision = (typeof PRECISIONS)[number]

/** A folder with a model, and what its weights are quantised to as they are loaded. */
export interface MadeModel {
  path: string
  quantize: { bits: 8 | 4 } | undefined
}

/** A model of a shape in `folder`. The 8- and 4-bit ones come from the float16 one. */
export async function makeModel(
  folder: string,
  name: string,
  shape: PublishedShape,
  precision: Precision,
): Promise<MadeModel> {
  const base = await makeFloats(folder, `${name}-float16`, shape.config)
  if (precision === 'f16') return { path: base, quantize: undefined }
  const bits = Number(precision) as 8 | 4
  // Its format has no quantised form.
  if (shape.config.model_type === 'llamba') return { path: base, quantize: { bits } }
  const path = join(folder, `${name}-${bits}bit`)
  if (!existsSync(join(path, 'config.json'))) {
    process.stderr.write(`quantising ${path}\n`)
    const script = fileURLToPath(new URL('../../quantize.ts', import.meta.url))
    await run(process.execPath, ['--import', 'tsx', script, base, path, '--bits', precision])
  }
  return { path, quantize: undefined }
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
