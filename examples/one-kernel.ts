// Runs single operations on your own data:  npx tsx examples/one-kernel.ts
// Here the Mamba-2 scan, once in chunks (prefill) and once token by token (decode): the same numbers.
// In your own project, import from 'ssm-metal'.

import { createDevice } from '../lib/index.js'

const [batch, length, heads, headDim, dState] = [1, 100, 4, 8, 16] as const
using device = createDevice('auto')

const random = (count: number, scale = 1) =>
  Float32Array.from({ length: count }, () => scale * (Math.random() - 0.5))
const tensor = (shape: number[], data?: Float32Array) => device.tensor('float32', shape, data)

const x = tensor([batch, length, heads * headDim], random(length * heads * headDim))
const dt = tensor([batch, length, heads], random(length * heads))
const B = tensor([batch, length, dState], random(length * dState))
const C = tensor([batch, length, dState], random(length * dState))
const A = tensor([heads], Float32Array.of(-1, -2, -4, -8))
const D = tensor([heads], random(heads))
const dtBias = tensor([heads], random(heads))

// State lies in slots, which sequences come to and leave; `rows` has the slot of each row of a batch.
const slots = batch
const rows = device.tensor('uint32', [batch], Uint32Array.of(0))

const scanned = tensor([batch, length, heads * headDim])
const scan = device.record((cl) => {
  const state = tensor([slots, heads, headDim, dState])
  cl.ssdChunkScan({ x, dt, A, B, C, D, dtBias, state, rows, out: scanned }, { chunkSize: 32 })
})
await scan.run()

const state = tensor([slots, heads, headDim, dState])
const stepped = tensor([batch, heads * headDim])
let largest = 0
for (let t = 0; t < length; t++) {
  using step = device.record((cl) =>
    cl.ssdUpdate({
      x: x.select(t),
      dt: dt.select(t),
      A,
      B: B.select(t),
      C: C.select(t),
      D,
      dtBias,
      state,
      rows,
      out: stepped,
    }),
  )
  await step.run()
  const fromScan = scanned.read().subarray(t * heads * headDim)
  for (const [i, y] of stepped.read().entries())
    largest = Math.max(largest, Math.abs(y - fromScan[i]!))
}
console.log(
  `chunked scan against recurrence, ${length} tokens: largest difference ${largest.toExponential(1)}`,
)
if (largest > 1e-4) process.exitCode = 1
