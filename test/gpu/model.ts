// A whole model on the GPU, all kernels in order: a prompt and some tokens against the plain loops of
// the CPU, then a decode step and a chunk of a prompt as the timers see them. Random weights.
//   node model.js ROWS FOLDER [--record]
// FOLDER is where the checkpoint goes. --record: one layer of each kind and no comparison, to note the
// pipelines on a machine without a GPU.

import { appendFileSync } from 'node:fs'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import { type Checkpoint, openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel, type PassContext } from '../../lib/models/language-model.js'
import { Workspace } from '../../lib/models/workspace.js'
import { StatePool } from '../../lib/engine/state-pool.js'
import { stateBytes } from '../../lib/models/state-fields.js'
import { RANDOM_MODEL_SHAPES, writeRandomModel } from '../../scripts/random-model.js'
import { ForcedTokens } from '../support/forced-tokens.js'
import { unfused } from './unfused.js'

const [rows, folder, flag] = process.argv.slice(2)
if (!rows || !folder || (flag && flag !== '--record')) {
  console.error('usage: node model.js ROWS FOLDER [--record]')
  process.exit(2)
}
const name = 'rene-1.3b'
const whole = RANDOM_MODEL_SHAPES[name]!
const shape = flag ? { ...whole, layers: 'SMA' } : whole
const PROMPT = 70 // a whole chunk of the scan and some
const TOKENS = 3
const CHUNK = 512

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

const quantised = flag ? [] : await run(reference, checkpoint, FORMS[0].options)
const exact = flag ? [] : await run(reference, checkpoint, {})
for (const [i, { form, options, limit }] of FORMS.entries()) {
  const actual = await run(device, checkpoint, options)
  const expected = [quantised, quantised, exact][i]!
  for (const [step, logits] of expected.entries()) {
    const error = distance(actual[step]!, logits)
    const what = step === 0 ? `prompt of ${PROMPT} tokens` : `decode step ${step}`
    const passed = error <= limit
    if (!passed) failed += 1
    console.log(
      `${name}, ${form}, ${what}: error ${error.toExponential(1)}${passed ? '' : '  FAILED'}`,
    )
    write({ model: name, form, what, error, limit, passed })
  }
  await time(form, options)
}
process.exit(failed === 0 ? 0 : 1)

function write(row: object) {
  appendFileSync(rows!, `${JSON.stringify(row)}\n`)
}

/** ‖actual − expected‖ / ‖expected‖. */
function distance(actual: Float32Array, expected: Float32Array): number {
  let difference = 0
  let square = 0
  for (const [i, e] of expected.entries()) {
    difference += (actual[i]! - e) ** 2
    square += e * e
  }
  return Math.sqrt(difference / square)
}

type Options = Parameters<typeof LanguageModel.load>[2]

/** Logits after a prompt, and after each of some tokens that follow it. */
async function run(on: Device, from: Checkpoint, options: Options): Promise<Float32Array[]> {
  process.env.SSM_GPU_LABEL = ''
  const model = await LanguageModel.load(on, from, options)
  using sequence = new ForcedTokens(model)
  const vocabulary = model.config.paddedVocabSize
  const token = (i: number) => (i * 7919 + 13) % vocabulary
  const result: Float32Array[] = []
  result.push(await sequence.prefill(Uint32Array.from({ length: PROMPT }, (_, i) => token(i))))
  for (let i = 0; i < TOKENS; i++) result.push(await sequence.decode(token(PROMPT + i)))
  model.dispose()
  return result
}

async function time(form: string, options: Options): Promise<void> {
  const model = await LanguageModel.load(device, checkpoint, options)
  const pool = new StatePool(model, 1)
  const state = pool.layers
  const bytes = stateBytes(model.config, model.activationType)
  const workspace = new Workspace(device, model.activationType)
  const zero = device.tensor('uint32', [1]) // slot 0, position 0
  const label = (what: string) => `${name}, ${form}, ${what}`
  const record = async (what: string, body: (pass: PassContext) => void) => {
    process.env.SSM_GPU_LABEL = label(what)
    write({ label: label(what), read: model.weightBytes + bytes, written: bytes })
    using list = device.record((cl) => body({ cl, workspace, rows: zero, positions: zero }))
    await list.run()
    process.env.SSM_GPU_LABEL = ''
  }
  const one = device.tensor('uint32', [1], Uint32Array.of(1))
  await record('decode step', (pass) => model.decode(pass, one, state))
  if (model.activationType === 'float32') {
    await record('decode step, unfused', (pass) => model.decode(unfused(pass, device), one, state))
  }
  const length = CHUNK
  const chunk = device.tensor('uint32', [1, length])
  await record(`prefill of ${length} tokens`, (pass) => {
    model.prefill(pass, chunk, state, 'last')
  })
  workspace.dispose()
  pool.dispose()
  model.dispose()
}
