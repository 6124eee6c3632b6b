// The models that are compared: one set of random weights, in both formats and each precision.

import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  RANDOM_MODEL_SHAPES,
  type RandomModelDtype,
  type RandomModelShape,
  randomModelShape,
  writeRandomModel,
} from '../../random-model.js'
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

/** Small enough to compare logits in float32 in a second. */
const CHECK_SHAPE = randomModelShape({
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
  const theirs = await makeGguf(folder, base, `${shape}-${precision}`, PRECISIONS[precision])
  if (precision === 'f16') return { ours: base, theirs }
  const ours = join(folder, `${shape}-${precision}bit-g${groupSize}`)
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

/** A small float32 model, in which both engines must agree to rounding. */
export async function makeCheckPair(folder: string): Promise<Pair> {
  const ours = await makeRandom(folder, 'check', CHECK_SHAPE, 'float32')
  return { ours, theirs: await makeGguf(folder, ours, 'check-f32', 'f32') }
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
