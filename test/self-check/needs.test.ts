// What a model is said to need before it is loaded is what it uses once it runs.

import { describe, expect, it, vi } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { loadModel } from '../../lib/load-model.js'
import type { LoadOptions } from '../../lib/options/loading.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import type { AffineMatrix, QuantizedMatrix } from '../../lib/operations/arguments.js'
import { Recorder } from '../../lib/operations/recorder.js'
import { checksOf } from '../../lib/self-check/checks.js'
import { type Needs, needsOf } from '../../lib/self-check/needs.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import type { FloatType } from '../../lib/weights/float-types.js'
import { formatName } from '../../lib/weights/formats/formats.js'
import { fixture, REFERENCE_CHECKPOINTS } from '../support/checkpoints.js'

type SmallFloatMatrix = QuantizedMatrix & { mode: 'mxfp4' | 'nvfp4' }

function nameOf(weight: Tensor | AffineMatrix | SmallFloatMatrix): string {
  if (!('words' in weight)) return formatName({ kind: 'plain', type: weight.dtype as FloatType })
  if (weight.mode === 'mxfp4' || weight.mode === 'nvfp4') return formatName({ kind: weight.mode })
  const { bits, groupSize, scales } = weight as AffineMatrix
  return formatName({ kind: 'affine', bits, groupSize, scaleType: scales.dtype as FloatType })
}

/** The formats that operations were recorded with while a model computes. */
async function formatsInUse(path: string, options: LoadOptions): Promise<string[]> {
  const seen = new Set<string>()
  const operations = ['matmul', 'expertsMatmul', 'embedding'] as const
  const quantized = ['quantizedMatmul', 'quantizedExpertsMatmul', 'quantizedEmbedding'] as const
  const spies = [...operations, ...quantized].map((name) => vi.spyOn(Recorder.prototype, name))
  try {
    await using model = await loadModel(path, { device: 'cpu', ...options })
    for (const spy of spies) spy.mockClear()
    await model.logits([1, 2, 3])
    for (const spy of spies) {
      for (const [, weight] of spy.mock.calls)
        seen.add(nameOf(weight as Parameters<typeof nameOf>[0]))
    }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return [...seen].sort()
}

describe.each(REFERENCE_CHECKPOINTS)('%s', (name) => {
  it.each([
    {},
    { dtype: 'float16' as const },
    { quantize: { bits: 4 as const, groupSize: 32 as const } },
  ])('loaded with %j', async (options) => {
    const checkpoint = await openCheckpoint(fixture(name))
    if ('quantize' in options && checkpoint.config.quantization) return
    using device = createDevice('cpu')
    const needs = needsOf(checkpoint, options, device)
    const used = await formatsInUse(fixture(name), options)
    expect(needs.formats.map(formatName).sort()).toEqual(used)
    const kinds = new Set(checkpoint.config.layers.map(({ kind }) => kind))
    expect(needs.mamba2.length > 0).toBe(kinds.has('mamba2'))
    expect(needs.attention.length > 0).toBe(kinds.has('attention'))
    expect(needs.experts.length > 0).toBe(kinds.has('experts'))
  })
})

const needs: Needs = {
  activationType: 'float16',
  formats: [{ kind: 'affine', bits: 4, groupSize: 64, scaleType: 'float16' }],
  mamba2: [{ numHeads: 64, headDim: 64, dState: 128, nGroups: 1, normBeforeGate: true }],
  attention: [{ numHeads: 16, numKvHeads: 1, headDim: 128, window: 2048 }],
  full_attention: [],
  shared_transformer: [],
  short_conv: [],
  experts: [],
}

describe('the checks', () => {
  it('of a model like Rene', () => {
    expect(checksOf(needs, 'full').map(({ id }) => id)).toEqual([
      'quantized_matmul float16 x 4-bit g64 float16 1024 x 2048 to 2048',
      'ssd_chunk_scan float16 130 tokens, 1 x 8 x 64 x 128',
      'mamba2_update float16 1 x 8 x 64 x 128, norm before gate',
      'attention_prefill float16 70 tokens, 1 x 8/1 x 128, window 512',
      'attention_decode float16 1 x 8/1 x 128, window 512',
      'sample float32 3 x 50288, temperature 0',
      'sample float32 3 x 50288, temperature 0.8',
      'sample float32 3 x 50288, temperature 0.8, biases and masks, kept logits',
      'keep_logits float32 3 x 50288',
      'token_logprobs float32 3 x 50288',
      'token_logprobs float32 3 x 50288, kept logits',
    ])
  })

  it('only of what the model has', () => {
    const ids = checksOf({ ...needs, attention: [] }, 'full').map(({ id }) => id)
    expect(ids.filter((id) => id.startsWith('attention'))).toEqual([])
  })

  it('have bounded sizes, whatever a configuration says', () => {
    const hostile: Needs = {
      ...needs,
      mamba2: [
        {
          numHeads: 2 ** 30,
          headDim: 2 ** 30,
          dState: 2 ** 30,
          nGroups: 2 ** 20,
          normBeforeGate: false,
        },
      ],
      attention: [{ numHeads: 2 ** 30, numKvHeads: 2 ** 20, headDim: 2 ** 30, window: 2 ** 30 }],
      full_attention: [
        {
          ...{ numHeads: 2 ** 30, numKvHeads: 2 ** 20, headDim: 2 ** 30 },
          ...{ rotaryDim: 2 ** 30, normed: true, gated: true },
        },
      ],
    }
    const ids = checksOf(hostile, 'full').map(({ id }) => id)
    expect(ids).toContain('mamba2_update float16 1 x 16 x 256 x 256, 2 groups')
    expect(ids).toContain('attention_decode float16 1 x 16/2 x 256, window 512')
    expect(ids).toContain(
      'paged_attention_decode float16 1 x 16/2 x 256 at 265, float16 pages, rotary 256, norm, gate',
    )
  })
})
