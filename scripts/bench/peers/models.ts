// The models that are compared: one set of random weights, in both formats and each precision.

import { convert } from '../../../lib/convert/convert.js'
import type { ConvertQuantization } from '../../../lib/options/converting.js'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeRandomCheckpoint } from '../../random-checkpoint.js'
import { RANDOM_MODEL_SHAPES, randomModelShape, writeRandomModel } from '../../random-model.js'
import type { RandomModelDtype, RandomModelOptions } from '../../random-tensors.js'
import { PUBLISHED_SHAPES, smallConfig } from '../shapes/published.js'
import type { GgufType } from './gguf.js'
import { hasGguf, writeModelGguf } from './model-gguf.js'

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

/** What can be compared. */
interface Shape {
  /** What its files are called. */
  name: string
  write(folder: string, options: RandomModelOptions): Promise<unknown>
  /** A small model of the same family, in which both engines agree to rounding when its weights are float32. */
  small: Omit<Shape, 'small'>
}

const SMALL_MAMBA2: Shape['small'] = {
  name: 'small',
  write: (folder, options) =>
    writeRandomModel(
      folder,
      randomModelShape({ dModel: 256, layers: 'SSSS', vocabSize: 512, headDim: 32, dState: 64 }),
      options,
    ),
}

const mamba2Shapes = Object.entries(RANDOM_MODEL_SHAPES)
  .filter(([name]) => name.startsWith('mamba2'))
  .map(([name, shape]): Shape => {
    return {
      name,
      write: (folder, options) => writeRandomModel(folder, shape, options),
      small: SMALL_MAMBA2,
    }
  })

const publishedShapes = Object.entries(PUBLISHED_SHAPES)
  .filter(([, { config }]) => hasGguf(String(config.model_type).replace(/_text$/, '')))
  .map(([name, shape]): Shape => {
    return {
      name,
      write: (folder, options) => writeRandomCheckpoint(folder, shape.config, options),
      small: {
        name: `small-${name}`,
        write: (folder, options) => writeRandomCheckpoint(folder, smallConfig(shape), options),
      },
    }
  })

/** By the names that commands take. */
export const SHAPES: ReadonlyMap<string, Shape> = new Map(
  [...mamba2Shapes, ...publishedShapes].map((shape) => [shape.name, shape]),
)

/** Throws for a name that no shape has. */
export function shapeNamed(name: string): Shape {
  const shape = SHAPES.get(name)
  if (shape) return shape
  throw new Error(`there is no shape ${name}; there are ${[...SHAPES.keys()].join(', ')}`)
}

/** Makes what is missing in `folder`. The 8- and 4-bit models come from the float16 weights of both. */
export async function makePair(
  folder: string,
  shape: Shape,
  precision: Precision,
  groupSize: number,
): Promise<Pair> {
  const base = await makeRandom(folder, shape, 'float16')
  return pairFrom(folder, base, shape.name, precision, groupSize)
}

/** The small model of a shape. */
export async function makeCheckPair(
  folder: string,
  { small }: Shape,
  precision: Precision | 'f32',
  groupSize: number,
): Promise<Pair> {
  const base = await makeRandom(folder, small, 'float32')
  if (precision === 'f32' || precision === 'f16') {
    return {
      ours: base,
      theirs: await makeGguf(folder, base, `${small.name}-${precision}`, precision),
    }
  }
  return pairFrom(folder, base, small.name, precision, groupSize)
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
    // Other numbers are refused.
    const quantize = { bits: Number(precision), groupSize } as ConvertQuantization
    await convert(base, ours, { quantize })
  }
  return { ours, theirs }
}

async function makeRandom(
  folder: string,
  { name, write }: Shape['small'],
  dtype: RandomModelDtype,
): Promise<string> {
  const path = join(folder, `${name}-${dtype}`)
  // Written last.
  if (!existsSync(join(path, 'config.json'))) {
    say(`writing ${path}`)
    await write(path, { dtype, seed: 1 })
  }
  return path
}

async function makeGguf(folder: string, from: string, name: string, type: GgufType) {
  const path = join(folder, `${name}.gguf`)
  if (!existsSync(path)) {
    say(`writing ${path}`)
    await mkdir(folder, { recursive: true })
    await writeModelGguf(from, path, type)
  }
  return path
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
