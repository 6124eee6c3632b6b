// The number of threads must not show in results, to the last bit: every operation, large enough to
// be shared.

import { expect, test } from 'vitest'
import { createDevice, type Device } from '../../lib/operations/device.js'
import { OPERATIONS } from '../../lib/operations/table.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { affineMatrix } from '../support/affine.js'
import { LAYOUTS, seededNormals, upload } from '../support/arrays.js'
import { mamba2Tensors, randomMamba2 } from '../support/mamba2.js'
import { attentionTensors, randomAttention } from '../support/attention.js'
import { randomStateSpace, stateSpaceTensors } from '../support/state-space.js'

interface Recorded {
  record: (cl: Recorder) => void
  /** Everything that the operation writes. */
  outputs: Tensor[]
}

function everyOperation(device: Device): Record<keyof typeof OPERATIONS, Recorded> {
  const place = LAYOUTS[0]!.place
  const normals = seededNormals(1)
  const floats = (...shape: number[]) =>
    upload(device, 'float32', shape, normals(shape.reduce((a, b) => a * b)))
  const empty = (...shape: number[]) => device.tensor('float32', shape)
  const integers = (...values: number[]) => upload(device, 'uint32', [values.length], values)
  const one = (out: Tensor, record: (cl: Recorder) => void): Recorded => ({
    record,
    outputs: [out],
  })
  const { tensors: affine } = affineMatrix(device, {
    rows: 150,
    cols: 128,
    bits: 4,
    groupSize: 64,
    scaleType: 'float16',
    seed: 1,
  })
  const x = floats(300, 512)
  const out = () => empty(300, 512)
  const tokens = integers(...Array.from({ length: 900 }, (_, i) => i % 150))
  const convolution = (...shape: number[]) => ({
    x: floats(...shape),
    weight: floats(700, 4),
    bias: floats(700),
    state: floats(30, 4, 700),
    position: integers(...Array.from({ length: 30 }, (_, i) => i)),
    rows: integers(...Array.from({ length: 30 }, (_, i) => 29 - i)),
    out: empty(...shape),
  })
  const [update, prefill] = [convolution(30, 700), convolution(30, 5, 700)]
  const stateSpace = (length: number) => {
    const shape = { batch: 2, length, heads: 9, headDim: 32, dState: 64, groups: 3 }
    return stateSpaceTensors(device, randomStateSpace(shape), place, { single: length === 1 })
  }
  const [step, scan] = [stateSpace(1), stateSpace(33)]
  const attention = (length: number) =>
    attentionTensors(
      device,
      randomAttention({
        positions: [40, 3],
        length,
        heads: 40,
        kvHeads: 5,
        headDim: 64,
        window: 32,
      }),
      place,
      { single: length === 1 },
    )
  const [decode, chunk] = [attention(1), attention(5)]
  const written = attention(5)
  const sampled = {
    logits: floats(7, 20_000),
    rows: integers(6, 5, 4, 3, 2, 1, 0),
    settings: upload(
      device,
      'float32',
      [7, 6],
      Array(7).fill([0.8, 0.9, 0.01, 1.1, 0.5, 0.5]).flat(),
    ),
    selection: upload(device, 'uint32', [7, 8], Array(7).fill([50, 1, 2, 3, 1, 1, 1, 4]).flat()),
    stops: upload(device, 'uint32', [7, 1], [0, 1, 2, 3, 4, 5, 6]),
    biases: upload(device, 'uint32', [7, 2], Array(7).fill([9, 0x40000000]).flat()),
    mask: upload(device, 'uint32', [7, 625], Array(7 * 625).fill(0x77777777)),
    counts: device.tensor('uint32', [7, 20_000]),
    history: upload(device, 'uint32', [7, 3], Array(21).fill(5)),
    position: integers(0, 1, 2, 3, 4, 5, 6),
    remaining: integers(8, 8, 8, 8, 8, 8, 8),
    kept: empty(7, 20_000),
    out: device.tensor('uint32', [7]),
    report: device.tensor('uint32', [7, 2]),
  }
  const logprobs = {
    ...sampled,
    token: integers(0, 1, 2, 3, 4, 5, 6),
    reported: device.tensor('uint32', [7, 5]),
    logprobs: empty(7, 5),
  }
  const mamba2 = mamba2Tensors(
    device,
    randomMamba2({ positions: [3, 4], heads: 12, headDim: 32, dState: 32, groups: 3, width: 4 }),
  )
  const quantised = {
    words: device.tensor('uint32', [300, 64]),
    scales: device.tensor('bfloat16', [300, 8]),
    biases: device.tensor('bfloat16', [300, 8]),
    bits: 4 as const,
    groupSize: 64 as const,
  }
  const resolved = {
    slots: integers(2, 5, 0),
    remaining: integers(1, 0, 3),
    token: integers(7, 8, 9),
    position: integers(1, 2, 3),
    rows: integers(0, 0, 0),
    positions: integers(0, 0, 0),
    tokens: integers(0, 0, 0),
  }
  const results = {
    embedding: empty(900, 512),
    affine_embedding: empty(900, 128),
    rms_norm: out(),
    gated_rms_norm: out(),
    matmul: empty(300, 33),
    affine_matmul: empty(40, 150),
    mlp_activation: out(),
    add: out(),
    argmax: device.tensor('uint32', [300]),
    keep_logits: empty(7, 20_000),
    cross_entropy: empty(300),
    affine_dequantize: device.tensor('float16', [150, 128]),
    cast: device.tensor('bfloat16', [300, 512]),
    copy: device.tensor('float32', x.shape),
  }
  return {
    embedding: one(results.embedding, (cl) => cl.embedding(tokens, x, results.embedding)),
    affine_embedding: one(results.affine_embedding, (cl) =>
      cl.affineEmbedding(tokens, affine, results.affine_embedding),
    ),
    rms_norm: one(results.rms_norm, (cl) =>
      cl.rmsNorm(x, floats(512), results.rms_norm, { eps: 1e-5 }),
    ),
    gated_rms_norm: one(results.gated_rms_norm, (cl) =>
      cl.gatedRmsNorm(x, floats(300, 512), floats(512), results.gated_rms_norm, {
        eps: 1e-5,
        groups: 4,
      }),
    ),
    matmul: one(results.matmul, (cl) => cl.matmul(x, floats(33, 512), results.matmul)),
    affine_matmul: one(results.affine_matmul, (cl) =>
      cl.affineMatmul(floats(40, 128), affine, results.affine_matmul, { bias: floats(150) }),
    ),
    conv1d_update: { record: (cl) => cl.conv1dUpdate(update), outputs: [update.out, update.state] },
    conv1d_prefill: {
      record: (cl) => cl.conv1dPrefill(prefill),
      outputs: [prefill.out, prefill.state],
    },
    ssd_update: {
      record: (cl) => cl.ssdUpdate(step, { groups: 3 }),
      outputs: [step.out, step.state],
    },
    ssd_chunk_scan: {
      record: (cl) => cl.ssdChunkScan(scan, { groups: 3, chunkSize: 16 }),
      outputs: [scan.out, scan.state],
    },
    mamba2_update: {
      record: (cl) => cl.mamba2Update(mamba2, { groups: 3 }),
      outputs: [mamba2.out, mamba2.squares, mamba2.convState, mamba2.ssmState],
    },
    mlp_activation: one(results.mlp_activation, (cl) =>
      cl.mlpActivation(x, results.mlp_activation, { activation: 'gelu' }),
    ),
    attention_decode: {
      record: (cl) => cl.attentionDecode(decode, { headDim: 64 }),
      outputs: [decode.out, decode.keys, decode.values],
    },
    attention_prefill: one(chunk.out, (cl) => cl.attentionPrefill(chunk, { headDim: 64 })),
    kv_cache_write: {
      record: (cl) => cl.kvCacheWrite(written, { headDim: 64 }),
      outputs: [written.keys, written.values],
    },
    add: one(results.add, (cl) => cl.add(x, x, results.add)),
    argmax: one(results.argmax, (cl) => cl.argmax(x, results.argmax)),
    keep_logits: one(results.keep_logits, (cl) =>
      cl.keepLogits({ ...sampled, kept: results.keep_logits }),
    ),
    sample: {
      record: (cl) => cl.sample(sampled),
      outputs: [
        ...[sampled.out, sampled.counts, sampled.history],
        ...[sampled.remaining, sampled.kept, sampled.report],
      ],
    },
    token_logprobs: {
      record: (cl) => cl.tokenLogprobs(logprobs),
      outputs: [logprobs.reported, logprobs.logprobs],
    },
    cross_entropy: one(results.cross_entropy, (cl) =>
      cl.crossEntropy(
        x,
        integers(...Array.from({ length: 300 }, (_, i) => i)),
        results.cross_entropy,
      ),
    ),
    affine_quantize: {
      record: (cl) => cl.affineQuantize(x, quantised),
      outputs: [quantised.words, quantised.scales, quantised.biases],
    },
    affine_dequantize: one(results.affine_dequantize, (cl) =>
      cl.affineDequantize(affine, results.affine_dequantize),
    ),
    cast: one(results.cast, (cl) => cl.cast(x, results.cast)),
    resolve_rows: {
      record: (cl) => cl.resolveRows(resolved, { count: 2 }),
      outputs: [resolved.rows, resolved.positions, resolved.tokens, resolved.position],
    },
    copy: one(results.copy, (cl) => cl.copy(x, results.copy)),
  }
}

async function resultsWith(threads: number) {
  using device = createDevice('cpu', { threads })
  const recorded = everyOperation(device)
  const bits: Record<string, unknown[]> = {}
  for (const [name, { record, outputs }] of Object.entries(recorded)) {
    using list = device.record(record)
    await list.run()
    bits[name] = outputs.map((tensor) => {
      const data = tensor.read()
      return Buffer.from(data.buffer).toString('base64')
    })
  }
  return bits
}

test('results of 1, 2 and 3 threads are equal to the bit, operation by operation', async () => {
  const alone = await resultsWith(1)
  expect(Object.keys(alone).sort()).toEqual(Object.keys(OPERATIONS).sort())
  for (const threads of [2, 3]) {
    const shared = await resultsWith(threads)
    for (const [name, bits] of Object.entries(alone)) {
      // Not toEqual: a difference of megabytes makes no readable message.
      expect(JSON.stringify(shared[name]) === JSON.stringify(bits), name).toBe(true)
    }
  }
})
