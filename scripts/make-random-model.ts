// Writes a checkpoint with random weights: npx tsx scripts/make-random-model.ts --help

import { parseArgs } from 'node:util'
import { PUBLISHED_SHAPES } from './bench/shapes/published.js'
import { writeRandomCheckpoint } from './random-checkpoint.js'
import {
  RANDOM_MODEL_SHAPES,
  type RandomModelShape,
  randomModelShape,
  writeRandomModel,
} from './random-model.js'
import {
  RANDOM_MODEL_DTYPES,
  type RandomModelDtype,
  type RandomModelOptions,
} from './random-tensors.js'

const SIZES: Record<string, keyof RandomModelShape> = {
  'd-model': 'dModel',
  'vocab-size': 'vocabSize',
  'd-state': 'dState',
  'head-dim': 'headDim',
  groups: 'nGroups',
  expand: 'expand',
  'd-conv': 'dConv',
  'mlp-expand': 'mlpExpand',
  'attention-head-dim': 'attentionHeadDim',
  'kv-heads': 'kvHeads',
  window: 'window',
}

const HELP = `Writes a checkpoint with random weights: config.json and model.safetensors.

Usage: npx tsx scripts/make-random-model.ts FOLDER --shape NAME [options]
       npx tsx scripts/make-random-model.ts FOLDER --d-model N --layers LAYERS [options]

  --shape NAME      ${Object.keys(RANDOM_MODEL_SHAPES).join(', ')};
                    and, without sizes of one's own (scripts/bench/shapes/published.ts),
                    ${Object.keys(PUBLISHED_SHAPES).slice(0, 4).join(', ')},
                    ${Object.keys(PUBLISHED_SHAPES).slice(4).join(', ')}
  --layers LAYERS   a number of Mamba-2 layers, or a letter for each layer: S Mamba-2, M MLP,
                    A attention. With M or A the model is written as a Rene, else as a mamba2
  --dtype DTYPE     ${RANDOM_MODEL_DTYPES.join(', ')}; by default float32
  --seed N          by default 0; the same seed gives the same file
  --help            this text

Sizes, which also change those of --shape:
  ${Object.keys(SIZES)
    .map((name) => `--${name} N`)
    .join('  ')
    .replace(/(.{50,80}?) {2}/g, '$1\n  ')}
`

class UsageError extends Error {}

function wholeNumber(name: string, text: string, least = 1): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value
  throw new UsageError(`--${name} must be a whole number, at least ${least}, but is ${text}`)
}

/** Writes the model of a named shape with other sizes, or of sizes alone. */
async function write(
  folder: string,
  name: string | boolean | undefined,
  changes: Partial<RandomModelShape>,
  options: RandomModelOptions,
): Promise<number> {
  const shape = typeof name === 'string' ? name : ''
  const published = PUBLISHED_SHAPES[shape]
  if (published) {
    if (Object.keys(changes).length > 0) {
      throw new UsageError(`--shape ${shape} has the published sizes: leave out all others`)
    }
    return writeRandomCheckpoint(folder, published.config, options)
  }
  const named = RANDOM_MODEL_SHAPES[shape]
  if (name !== undefined && !named) {
    const known = [...Object.keys(RANDOM_MODEL_SHAPES), ...Object.keys(PUBLISHED_SHAPES)]
    throw new UsageError(`--shape must be one of ${known.join(', ')} but is ${shape}`)
  }
  const { dModel, layers } = { ...named, ...changes }
  if (dModel === undefined || layers === undefined) {
    throw new UsageError('give --shape, or --d-model and --layers')
  }
  return writeRandomModel(
    folder,
    randomModelShape({ ...named, ...changes, dModel, layers }),
    options,
  )
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const parsed = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries(Object.keys(SIZES).map((name) => [name, text])),
      shape: text,
      layers: text,
      dtype: text,
      seed: text,
      help: { type: 'boolean' },
    },
  })
  const { positionals } = parsed
  const values: Record<string, string | boolean | undefined> = parsed.values
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [folder, ...others] = positionals
  if (!folder || others.length > 0) throw new UsageError('give one folder to write to')
  const dtype = (values.dtype ?? 'float32') as RandomModelDtype
  if (!RANDOM_MODEL_DTYPES.includes(dtype)) {
    throw new UsageError(`--dtype must be one of ${RANDOM_MODEL_DTYPES.join(', ')} but is ${dtype}`)
  }
  const changes: Partial<RandomModelShape> = {}
  for (const [name, key] of Object.entries(SIZES)) {
    const value = values[name]
    if (typeof value === 'string') Object.assign(changes, { [key]: wholeNumber(name, value) })
  }
  if (typeof values.layers === 'string') {
    const { layers } = values
    changes.layers = /^\d/.test(layers) ? 'S'.repeat(wholeNumber('layers', layers)) : layers
  }
  let shown = -1
  const options: RandomModelOptions = {
    dtype,
    seed: typeof values.seed === 'string' ? wholeNumber('seed', values.seed, 0) : 0,
    onProgress(written, total) {
      const percent = Math.floor((100 * written) / total)
      if (process.stderr.isTTY && percent > shown) process.stderr.write(`\r${percent}%`)
      shown = percent
    },
  }
  const bytes = await write(folder, values.shape, changes, options)
  if (process.stderr.isTTY) process.stderr.write('\r')
  process.stderr.write(`${folder}: ${(bytes / 1e6).toFixed(1)} MB of ${dtype}\n`)
}

try {
  await main()
} catch (error) {
  const isUsage = error instanceof UsageError || (error as Error).name === 'TypeError'
  process.stderr.write(`make-random-model: ${(error as Error).message}\n`)
  process.exitCode = isUsage ? 2 : 1
}
