// Runs single operations at the shapes of published models, one list each, with what the GPU's
// checkers, profiler and timers need: a name for each list, and the bytes that it cannot do without.
//   node measure.js ROWS [--decode | --float32 | --float16]
// ROWS gets one line of JSON a list. --decode: only what a decode step runs, for the profiler.
// --float32, --float16: only what has such activations, so that two processes share the work.

import { appendFileSync } from 'node:fs'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Case } from '../../lib/verify/cases/case.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { allCases } from '../../lib/verify/verify.js'
import { longCases } from './cases.js'

const [rows, flag] = process.argv.slice(2)
if (!rows || (flag && !['--decode', '--float32', '--float16'].includes(flag))) {
  console.error('usage: node measure.js ROWS [--decode | --float32 | --float16]')
  process.exit(2)
}

// float16 is what a GPU would compute in; float32 what every machine can.
const DECODE = ['matmul', 'quantized_matmul', 'mamba2_update', 'ssd_update', 'conv1d_update']
const isDecode = ({ operation, shape }: Case) =>
  operation === 'attention_decode' || (DECODE.includes(operation) && /^(1|16) x /.test(shape))

using device = createDevice('metal')
const cases = [...allCases(device.activationTypes)].filter(({ large }) => large)
for (const each of [...cases, ...longCases()]) {
  if (flag === '--decode' ? !isDecode(each) : flag && flag !== `--${each.activationType}`) continue
  await measure(each)
}

async function measure(each: Case) {
  const inputs = new Inputs(device, new SharedNumbers(), each.activationType, each.activationType)
  try {
    const { record, outputs } = each.build(inputs)
    const written = outputs.reduce((sum, tensor) => sum + inputs.bytesOf(tensor), 0)
    const label = `${each.operation}, ${each.dtype}, ${each.shape}`
    // Results are among the inputs' bytes once, and what is updated in place twice.
    appendFileSync(rows!, `${JSON.stringify({ label, read: inputs.bytes - written, written })}\n`)
    process.env.SSM_GPU_LABEL = label
    using list = device.record(record)
    await list.run()
  } finally {
    inputs.dispose()
  }
}
