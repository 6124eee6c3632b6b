// The kernels of published models, as texts: what a Mac compiles for them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addon } from '../../lib/operations/addon.js'
import type { KernelText } from '../../lib/addon/contract.js'
import { type CommandList, Device } from '../../lib/operations/device.js'
import { Engine } from '../../lib/engine/engine.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel } from '../../lib/models/language-model.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import {
  RANDOM_MODEL_SHAPES,
  type RandomModelShape,
  randomModelShape,
  writeRandomModel,
} from '../../scripts/random-model.js'

/** Published models. One layer of each kind stands for all of them: layers of a kind are alike. */
export const PUBLISHED: Readonly<Record<string, RandomModelShape>> = Object.fromEntries(
  Object.entries({
    ...RANDOM_MODEL_SHAPES,
    'mamba2-2.7b': randomModelShape({ dModel: 2560, layers: 'S' }),
  }).map(([name, shape]) => [name, { ...shape, layers: [...new Set(shape.layers)].join('') }]),
)

/** In the file, and what the loader makes of them. */
export const WEIGHTS = {
  float16: { dtype: 'float16', options: {} },
  bfloat16: { dtype: 'bfloat16', options: {} },
  '8 bits': { dtype: 'float16', options: { quantize: { bits: 8, groupSize: 64 } } },
  '4 bits': { dtype: 'float16', options: { quantize: { bits: 4, groupSize: 64 } } },
} as const
export type WeightsName = keyof typeof WEIGHTS

export const ACTIVATIONS = ['float32', 'float16'] as const

/**
 * A device that records for a GPU and keeps the texts of all lists. It runs none of them, for nobody
 * looks at results: to quantise weights of the size of published models would take longest.
 */
class NotingDevice extends Device {
  lists: KernelText[][] = []

  constructor() {
    super('metal', addon().createDevice('cpu', 2, [], 30))
  }

  override record(record: (cl: Recorder) => void): CommandList {
    const list = super.record(record)
    this.lists.push(list.kernelTexts())
    list.run = async () => ({ outputs: {} })
    return list
  }
}

export interface PublishedKernels {
  /** What loading weights and copying states run. */
  load: KernelText[]
  /** Of those that `loadModel` prepares for generating: two for a prompt, one for decoding. */
  prefill: KernelText[]
  decode: KernelText[]
}

/** What a Mac compiles for a model with these weights, computing in `activations`. */
export async function publishedKernels(
  shape: RandomModelShape,
  weights: WeightsName,
  activations: (typeof ACTIVATIONS)[number],
): Promise<PublishedKernels> {
  const { dtype, options } = WEIGHTS[weights]
  const folder = mkdtempSync(join(tmpdir(), 'published-'))
  try {
    await writeRandomModel(folder, shape, { dtype, zeros: true })
    const checkpoint = await openCheckpoint(folder)
    using device = new NotingDevice()
    // Plain weights and activations are asked for by one option.
    const model = await LanguageModel.load(device, checkpoint, {
      ...options,
      dtype: activations === 'float16' ? 'float16' : undefined,
    })
    const load = device.lists.flat()
    device.lists = []
    const engine = new Engine(model, { maxStreams: 1, maxQueue: 0 })
    await engine.prepare()
    engine.dispose()
    model.dispose()
    const [prefill, last, decode, copies] = device.lists as KernelText[][]
    return { load: [...load, ...copies!], prefill: [...prefill!, ...last!], decode: decode! }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Distinct texts, and distinct texts with a number of threads: libraries and pipelines. */
export function counts(texts: KernelText[]): { libraries: number; pipelines: number } {
  return {
    libraries: new Set(texts.map(({ text }) => text)).size,
    pipelines: new Set(texts.map(({ text, threads }) => `${threads} ${text}`)).size,
  }
}
