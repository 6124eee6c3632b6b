// Checkpoints with random weights of any family, from a configuration alone: what a family's blocks ask a loader for is
// what gets written, so that names and shapes are in one place. Unlike scripts/random-model.ts it needs no list of
// tensors, and gives norms and biases values that matter.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigReader } from '../lib/models/config-reader.js'
import { familyOf } from '../lib/models/families/families.js'
import { loadWeights } from '../lib/models/language-model.js'
import type { Tensor } from '../lib/operations/tensor.js'
import type { JsonObject } from '../lib/support/json.js'
import type { Weight } from '../lib/weights/formats/format.js'
import { type Linear, type RowRange, WeightLoader } from '../lib/weights/loader.js'
import type { WeightStore } from '../lib/weights/store.js'
import {
  DECAY,
  matrix,
  ONES,
  type RandomModelOptions,
  STEP_BIAS,
  taps,
  type TensorPlan,
  writeRandomTensors,
} from './random-tensors.js'

/** What config.json holds. */
export type RandomConfig = Readonly<JsonObject>

/**
 * Writes `config.json` and `model.safetensors` into `folder`, with the tensors that the family of `config` names as its
 * authors do; returns the bytes of the latter. The same configuration, dtype and seed give the same bytes.
 */
export async function writeRandomCheckpoint(
  folder: string,
  config: RandomConfig,
  options: RandomModelOptions = {},
): Promise<number> {
  const plans = await planTensors(config)
  await mkdir(folder, { recursive: true })
  const bytes = await writeRandomTensors(join(folder, 'model.safetensors'), plans, options)
  const written = { ...config, torch_dtype: options.dtype ?? 'float32' }
  // Written last: who finds it finds a whole model.
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(written, null, 2)}\n`)
  return bytes
}

/** Every tensor of a model, in the order in which it is loaded. */
export async function planTensors(config: RandomConfig): Promise<TensorPlan[]> {
  const { family, config: reader } = familyOf(new ConfigReader('config.json', { ...config }))
  const described = family.describe(reader, new Map())
  const layers = described.layers.map((layer) => layer.config)
  const recorder = new TensorRecorder()
  await loadWeights(
    recorder,
    { ...described, config: { ...described.config, layers } },
    { activationType: 'float32', kvType: 'float32' },
  )
  return [...recorder.plans.values()]
}

// Nobody reads what a recorder gives.
const NOTHING = {} as Tensor & Weight

/** Loads nothing, and notes what would have been loaded. */
class TensorRecorder extends WeightLoader {
  readonly plans = new Map<string, TensorPlan>()

  constructor() {
    const source = { weightsFile: '', tensors: new Map(), quantizationOf: () => undefined }
    super(source, {}, {} as WeightStore)
  }

  override async vector(name: string, length: number, offset = 0): Promise<Tensor> {
    return this.#plan({ name, shape: [length], init: vectorInit(name, offset) })
  }

  override repeatedVector(name: string, length: number): Promise<Tensor> {
    return this.vector(name, length)
  }

  override mappedVector(name: string, length: number): Promise<Tensor> {
    return this.vector(name, length)
  }

  override async sumOfVectors(
    _: number,
    parts: readonly { name: string; length: number }[],
  ): Promise<Tensor> {
    for (const { name, length } of parts) await this.vector(name, length)
    return NOTHING
  }

  override async convolution(name: string, channels: number, width: number): Promise<Tensor> {
    return this.#plan({ name, shape: [channels, 1, width], init: taps(width) })
  }

  override async weight(path: string, outputs: number | RowRange, inputs: number): Promise<Weight> {
    const rows = typeof outputs === 'number' ? outputs : outputs.of
    return this.#plan(matrix(`${path}.weight`, rows, inputs))
  }

  override async linear(
    path: string,
    outputs: number | RowRange,
    inputs: number,
    bias: boolean,
  ): Promise<Linear> {
    await this.weight(path, outputs, inputs)
    if (bias) await this.vector(`${path}.bias`, typeof outputs === 'number' ? outputs : outputs.of)
    return { weight: NOTHING, bias: undefined }
  }

  override scaled(): Linear {
    return { weight: NOTHING, bias: undefined }
  }

  override constant(): Tensor {
    return NOTHING
  }

  override async experts(
    path: string,
    { experts, rows }: { experts: number; rows: number },
    inputs: number,
  ): Promise<Weight> {
    if (!path.includes('*')) {
      const { init } = matrix(path, rows, inputs)
      return this.#plan({ name: `${path}.weight`, shape: [experts, rows, inputs], init })
    }
    for (let expert = 0; expert < experts; expert++) {
      await this.weight(path.replace('*', String(expert)), rows, inputs)
    }
    return NOTHING
  }

  #plan(plan: TensorPlan): typeof NOTHING {
    this.plans.set(plan.name, plan)
    return NOTHING
  }
}

// By what its last name is in all families. `offset` is what the model adds to the values of the file.
function vectorInit(name: string, offset: number): TensorPlan['init'] {
  if (/A_log$/.test(name)) return DECAY
  if (/dt_bias$/.test(name)) return STEP_BIAS
  if (/\.D$/.test(name)) return ONES
  // Not all 1, so that a norm left out is seen.
  if (/norm\w*\.weight$/.test(name)) return { value: (random) => 0.9 + 0.2 * random() - offset }
  return { deviation: 0.1 }
}
