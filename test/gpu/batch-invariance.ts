// What it costs that the bits of a sequence do not depend on those beside it: the products of a decode step with
// batch_invariant 0 and 1, in turns; and whether a row has the bits that it has alone.
//   SSM_GPU_TIMES=TIMES node batch-invariance.js
//   node batch-invariance.js --record
// Prints a line for each model, format and number of sequences: microseconds with 0, with 1, and the ratio, which
// for one sequence should be at most 1.03. --record: each list once and no comparison, to note the pipelines on a
// machine without a GPU. Exit status: 1 when bits differ.

import { readFileSync } from 'node:fs'
import { median } from '../../lib/bench/statistics.js'
import type { CommandList, Device } from '../../lib/operations/device.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { recordLinear } from '../../lib/models/blocks/block.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { EPS, MODELS } from '../../lib/verify/cases/case.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { numbersOf } from '../../lib/weights/convert.js'
import type { Weight } from '../../lib/weights/formats/format.js'
import type { WeightFormat } from '../../lib/weights/formats/formats.js'

const SEQUENCES = [1, 8, 16, 32]
const ROUNDS = 7
const VOCABULARY = 50_288
const FORMATS: readonly (readonly [string, WeightFormat])[] = [
  ['4 bits', { kind: 'affine', bits: 4, groupSize: 64, scaleType: 'float16' }],
  ['8 bits', { kind: 'affine', bits: 8, groupSize: 64, scaleType: 'float16' }],
  ['float16', { kind: 'plain', type: 'float16' }],
]

const records = process.argv[2] === '--record'
const timesFile = process.env.SSM_GPU_TIMES
if (!records && !timesFile) {
  console.error('usage: SSM_GPU_TIMES=TIMES node batch-invariance.js, or --record without times')
  process.exit(2)
}

/** The products of a layer and of the head, on some of the rows of the same numbers. */
interface Products {
  weights: { inProj: Weight; outProj: Weight; head: Weight }
  norms: { hidden: Tensor; gated: Tensor }
  sizes: { dModel: number; inner: number; inProj: number; heads: number }
}

interface Step {
  record: (cl: Recorder) => void
  results: readonly Tensor[]
}

/** One decode step of so many sequences; the first rows are the same whatever their number. */
function stepOf(inputs: Inputs, { weights, norms, sizes }: Products, rows: number): Step {
  const { dModel, inner, inProj, heads } = sizes
  const numbers = (cols: number, offset = 0) => {
    const values = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(i + 1) + offset)
    return inputs.device.tensor('float32', [rows, cols], values)
  }
  const zeros = (cols: number) => inputs.device.tensor('float32', [rows, cols])
  const [hidden, y, squares] = [numbers(dModel), numbers(inner), numbers(heads, inner / heads)]
  const results = [zeros(inProj), zeros(dModel), zeros(VOCABULARY)] as const
  const norm = { weight: norms.hidden, eps: EPS }
  const gated = { weight: norms.gated, eps: EPS, squares }
  const linear = (weight: Weight) => ({ weight, bias: undefined })
  return {
    record: (cl) => {
      recordLinear(cl, hidden, linear(weights.inProj), results[0], { norm })
      recordLinear(cl, y, linear(weights.outProj), results[1], { norm: gated, residual: hidden })
      recordLinear(cl, hidden, linear(weights.head), results[2], { norm })
    },
    results,
  }
}

/** Runs the list once more and returns what the GPU took, in microseconds. */
async function timeOf(list: CommandList, label: string): Promise<number> {
  process.env.SSM_GPU_LABEL = label
  await list.run()
  process.env.SSM_GPU_LABEL = ''
  const last = readFileSync(timesFile!, 'utf8').trim().split('\n').at(-1)!
  const time = JSON.parse(last) as { label: string; microseconds: number }
  if (time.label !== label) throw new Error(`the last time is of ${time.label}, not of ${label}`)
  return time.microseconds
}

async function compare(devices: readonly [Device, Device], step: Step, label: string) {
  const lists = devices.map((device) => device.record(step.record)) as [CommandList, CommandList]
  const times: [number[], number[]] = [[], []]
  const rounds = records ? 0 : ROUNDS
  for (const list of lists) await list.run()
  for (let round = 0; round < rounds; round++) {
    for (const i of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      times[i].push(await timeOf(lists[i], `${label}, batch_invariant ${i}`))
    }
  }
  // What is compared below is what the invariant kernels wrote.
  await lists[1].run()
  for (const list of lists) list.dispose()
  if (records) return
  const ratio = median(times[1].map((time, i) => time / times[0][i]!))
  const [before, after] = times.map((each) => median(each).toFixed(2))
  console.log(`${label}: ${before} and ${after} us, ratio ${ratio.toFixed(3)}`)
}

const firstRows = ({ results }: Step) =>
  results.map((tensor) => Array.from(numbersOf(tensor).slice(0, tensor.cols)))

let differing = 0
using plain = createDevice('metal', { batchInvariant: false })
using invariant = createDevice('metal', { batchInvariant: true })
for (const { name, dModel, heads, headDim, dState, groups } of MODELS) {
  const inner = heads * headDim
  const sizes = { dModel, inner, inProj: 2 * inner + 2 * groups * dState + heads, heads }
  for (const [format, weightFormat] of FORMATS) {
    const inputs = new Inputs(invariant, new SharedNumbers(), 'float32', 'float32')
    const weights = {
      inProj: inputs.weight(weightFormat, sizes.inProj, dModel),
      outProj: inputs.weight(weightFormat, dModel, inner),
      head: inputs.weight(weightFormat, VOCABULARY, dModel),
    }
    const norms = { hidden: inputs.normWeight(dModel), gated: inputs.normWeight(inner) }
    let alone: number[][] | undefined
    for (const rows of SEQUENCES) {
      const step = stepOf(inputs, { weights, norms, sizes }, rows)
      const label = `${name}, ${format}, ${rows} ${rows === 1 ? 'sequence' : 'sequences'}`
      await compare([plain, invariant], step, label)
      const first = firstRows(step)
      alone ??= first
      if (records || JSON.stringify(first) === JSON.stringify(alone)) continue
      console.log(`${label}: other bits than alone  FAILED`)
      differing += 1
    }
    inputs.dispose()
  }
}
process.exit(differing === 0 ? 0 : 1)
