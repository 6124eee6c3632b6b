// Rene's published shape on the GPU, all kernels in order: a prompt and some tokens against the plain loops of
// the CPU, then a decode step and a chunk of a prompt as the timers see them. Random weights.
//   node model.js ROWS FOLDER [--record]
// FOLDER is where the checkpoint goes. --record: one layer of each kind and no comparison, to note the
// pipelines on a machine without a GPU.

import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { RANDOM_MODEL_SHAPES, writeRandomModel } from '../../scripts/random-model.js'
import { compare, logitsOf, time } from './whole-model.js'

const [rows, folder, flag] = process.argv.slice(2)
if (!rows || !folder || (flag && flag !== '--record')) {
  console.error('usage: node model.js ROWS FOLDER [--record]')
  process.exit(2)
}
const name = 'rene-1.3b'
const whole = RANDOM_MODEL_SHAPES[name]!
const shape = flag ? { ...whole, layers: 'SMA' } : whole

await writeRandomModel(folder, shape, { dtype: 'float16' })
const checkpoint = await openCheckpoint(folder)
using device = createDevice('metal')
using reference = referenceDevice()
let failed = 0

const FORMS = [
  { form: '4-bit, float32', options: { quantize: { bits: 4, groupSize: 64 } }, limit: 2e-4 },
  {
    form: '4-bit, float16',
    options: { quantize: { bits: 4, groupSize: 64 }, dtype: 'float16' },
    limit: 2e-2,
  },
  { form: 'float16', options: { dtype: 'float16' }, limit: 2e-2 },
] as const

const quantised = flag ? [] : await logitsOf(reference, checkpoint, FORMS[0].options)
const exact = flag ? [] : await logitsOf(reference, checkpoint, {})
for (const [i, { form, options, limit }] of FORMS.entries()) {
  const actual = await logitsOf(device, checkpoint, options)
  failed += compare(rows, { model: name, form, limit }, actual, [quantised, quantised, exact][i]!)
  const takenApart = form.endsWith('float32')
  await time(device, checkpoint, rows, { model: name, form, options, takenApart })
}
process.exit(failed === 0 ? 0 : 1)
