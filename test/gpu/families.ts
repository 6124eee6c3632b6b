// Published shapes of the hybrid families on the GPU, random weights: a small model of each against the plain loops of
// the CPU, then a decode step and a chunk of a prompt of the whole one as the timers see them.
//   node families.js ROWS FOLDER [--record]
// FOLDER is where checkpoints go. --record: nothing is compared, and weights are not written, to note the pipelines on
// a machine without a GPU.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Checkpoint, openCheckpoint } from '../../lib/models/checkpoint.js'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { PUBLISHED_SHAPES, smallConfig } from '../../scripts/bench/shapes/published.js'
import { type RandomConfig, writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import { compare, logitsOf, time } from './whole-model.js'

const [rows, folder, flag] = process.argv.slice(2)
if (!rows || !folder || (flag && flag !== '--record')) {
  console.error('usage: node families.js ROWS FOLDER [--record]')
  process.exit(2)
}
using device = createDevice('metal')
using reference = referenceDevice()
let failed = 0

const quantize = { bits: 4, groupSize: 64 } as const
const FORMS = [
  { form: '4-bit, float16', options: { quantize, dtype: 'float16' } },
  { form: 'float16', options: { dtype: 'float16' } },
] as const

async function checkpointOf(name: string, config: RandomConfig): Promise<Checkpoint> {
  const path = join(folder!, name)
  await writeRandomCheckpoint(path, config, { dtype: 'float16', zeros: flag !== undefined })
  return await openCheckpoint(path)
}

for (const [name, shape] of Object.entries(PUBLISHED_SHAPES)) {
  const small = await checkpointOf(`${name}-small`, smallConfig(shape))
  const expected = flag ? [] : await logitsOf(reference, small, {})
  const model = `${name}, small`
  const exact = await logitsOf(device, small, {})
  failed += compare(rows, { model, form: 'float32', limit: 1e-4 }, exact, expected)
  // Of two experts that count nearly the same float16 may choose the other one.
  const hasExperts = shape.config.num_experts !== undefined
  const rounded = await logitsOf(device, small, { dtype: 'float16' })
  if (!hasExperts) {
    failed += compare(rows, { model, form: 'float16', limit: 2e-2 }, rounded, expected)
  }
  const checkpoint = await checkpointOf(name, shape.config)
  for (const each of FORMS) await time(device, checkpoint, rows, { model: name, ...each })
  await rm(join(folder, name), { recursive: true })
}
process.exit(failed === 0 ? 0 : 1)
