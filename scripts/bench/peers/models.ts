// The models that are compared: one set of random weights, in both formats and each precision.

import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  RANDOM_MODEL_SHAPES,
  type RandomModelShape,
  randomModelShape,
  writeRandomModel,
} from '../../random-model.js'
import type { RandomModelDtype } from '../../random-tensors.js'
import type { GgufType } from './gguf.js'
import { writeMamba2Gguf } from './mamba2-gguf.js'
import { runScript } from './processes.js'

/** Names as the command line takes them; the type that each has in GGUF. */
export const PRECISIONS = { f16: 'f16', '8': 'q8_0', '4': 'q4_0' } as const
export type Precision = keyof typeof PRECISIONS

/** The same model for both engines. */
export interface Pair {
  /** A folder. */
  ours: string
  /** A GGUF file. */
  theirs: string
}

const SMALL_SHAPE = randomModelShape({
  dModel: 256,
  layers: 'SSSS',
  vocabSize: 512,
  headDim: 32,
  dState: 64,
})

/** Makes what is missing in `folder`. The 8- and 4-bit models come from the float16 weights of both. */
export async function makePair(
  folder: string,
  shape: string,
  precision: Precision,
  groupSize: number,
): Promise<Pair> {
  const base = await makeRandom(folder, shape, RANDOM_MODEL_SHAPES[shape]!, 'float16')
  return pairFrom(folder, base, shape, precision, groupSize)
}

/** A small model, in which both engines agree to rounding when its weights are float32. */
export async function makeCheckPair(
  folder: string,
  precision: Precision | 'f32',
  groupSize: number,
): Promise<Pair> {
  const base = await makeRandom(folder, 'small', SMALL_SHAPE, 'float32')
  if (precision === 'f32' || precision === 'f16') {
    return { ours: base, theirs: await makeGguf(folder, base, `small-${precision}`, precision) }
  }
  return pairFrom(folder, base, 'small', precision, groupSize)
}

async function pairFrom(
  folder: string,
  base: string,
  name: string,
  precision: Precision,
  groupSize: number,
): Promise<Pair> {
  const theirs = await makeGguf(folder, base, `${name}-${precision}`, PRECISIONS[precision])
  if (precision === 'f16') return { ours: base, theirs }
  const ours = join(folder, `${name}-${precision}bit-g${groupSize}`)
  if (!existsSync(join(ours, 'config.json'))) {
    say(`quantising ${ours}`)
    await runScript('../../quantize.ts', [
      base,
      ours,
      ...['--bits', precision, '--group-size', String(groupSize)],
    ])
  }
  return { ours, theirs }
}

async function makeRandom(
  folder: string,
  name: string,
  shape: RandomModelShape,
  dtype: RandomModelDtype,
): Promise<string> {
  const path = join(folder, `${name}-${dtype}`)
  // Written last.
  if (!existsSync(join(path, 'config.json'))) {
    say(`writing ${path}`)
    await writeRandomModel(path, shape, { dtype, seed: 1 })
  }
  return path
}

async function makeGguf(folder: string, from: string, name: string, type: GgufType) {
  const path = join(folder, `${name}.gguf`)
  if (!existsSync(path)) {
    say(`writing ${path}`)
    await mkdir(folder, { recursive: true })
    await writeMamba2Gguf(from, path, type)
  }
  return path
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
