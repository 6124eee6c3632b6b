// Whole models against the logits that the official implementations give, and against a naive
// forward pass in double precision, in every format and through every path.

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { loadModel } from '../../lib/load-model.js'
import type { LoadOptions } from '../../lib/options/loading.js'
import type { LogitsOptions } from '../../lib/index.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import {
  converted,
  copyOfFixture,
  fixture,
  KIND_CHECKPOINTS,
  REFERENCE_CHECKPOINTS,
  mapTensors,
  numbersOf,
  quantized,
  type RawTensor,
  rawTensor,
  readGolden,
  readRawTensors,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { logitsOneByOne } from '../support/logits.js'
import {
  makePytorchCheckpoint,
  pickle,
  type PickledTensor,
  pickledStateDict,
} from '../support/pytorch-writer.js'
import {
  attentionLayer,
  expectedLogits,
  mamba2Layer,
  mlpLayer,
  type QuantizationChoice,
  type RandomModel,
  randomTokens,
  randomWeights,
  writeEdge,
  writeHf,
  writeMlxLm,
  writePytorch,
  writeRene,
  writeStateSpaces,
} from '../support/random-checkpoint.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

async function logitsOf(
  path: string,
  tokens: readonly number[],
  options: { load?: LoadOptions; run?: LogitsOptions } = {},
): Promise<Float32Array> {
  using model = await loadModel(path, { device: 'cpu', ...options.load })
  return (await model.logits(tokens, options.run)).data
}

async function oneByOne(path: string, tokens: readonly number[], prefix: number) {
  using device = createDevice('cpu')
  return await logitsOneByOne(device, path, tokens, prefix)
}

const expectSameLogits = (actual: ArrayLike<number>, expected: ArrayLike<number>) =>
  expect(relativeL2(actual, expected)).toBeLessThan(GOLDEN_RELATIVE_L2)

// The lower levels of the CPU device, and its prebuilt binaries, differ in no format.
const { SSM_METAL_CPU_LEVEL, SSM_METAL_ADDON } = process.env
const isAgain = SSM_METAL_CPU_LEVEL !== undefined || SSM_METAL_ADDON !== undefined
const NAMES = isAgain ? KIND_CHECKPOINTS : REFERENCE_CHECKPOINTS

describe.each(NAMES)('%s gives its golden logits', (name) => {
  it('at once', async () => {
    const { tokens, logits } = await readGolden(name)
    expectSameLogits(await logitsOf(fixture(name), tokens), logits)
  })

  it('in chunks of 1, 3, 7 and 64', async () => {
    const { tokens, logits } = await readGolden(name)
    using model = await loadModel(fixture(name), { device: 'cpu' })
    for (const prefillChunkSize of [1, 3, 7, 64]) {
      expectSameLogits((await model.logits(tokens, { prefillChunkSize })).data, logits)
    }
  })

  it.each([1, 37])('one at a time after a prefill of %i', async (prefix) => {
    const { tokens, logits } = await readGolden(name)
    expectSameLogits(await oneByOne(fixture(name), tokens, prefix), logits)
  })

  it('with one thread and with three', async () => {
    const { tokens, logits } = await readGolden(name)
    for (const threads of [1, 3]) {
      expectSameLogits(await logitsOf(fixture(name), tokens, { load: { threads } }), logits)
    }
  })
})

// Of the best level kinds.test.ts holds all kinds to it.
describe.runIf(isAgain).each(['llamba-bin', 'mohawk-edge-4bit', 'lfm2'])(
  '%s, a prompt longer than a chunk',
  (name) => {
    it('gives the same logits in chunks of 2, 255, 256 and 257, and one at a time', async () => {
      const tokens = randomTokens(250, 300, 5)
      using model = await loadModel(fixture(name), { device: 'cpu' })
      const expected = (await model.logits(tokens, { prefillChunkSize: 300 })).data
      for (const prefillChunkSize of [2, 255, 256, 257]) {
        expectSameLogits((await model.logits(tokens, { prefillChunkSize })).data, expected)
      }
      expectSameLogits(await oneByOne(fixture(name), tokens, 1), expected)
    })

    it('lets no token know of later ones', async () => {
      const tokens = randomTokens(250, 300, 5)
      using model = await loadModel(fixture(name), { device: 'cpu' })
      const before = (await model.logits(tokens)).data
      const changed = tokens.with(280, (tokens[280]! + 1) % 250)
      const after = (await model.logits(changed)).data
      const cols = before.length / tokens.length
      expectSameLogits(after.subarray(0, 280 * cols), before.subarray(0, 280 * cols))
      expect(relativeL2(after.subarray(280 * cols), before.subarray(280 * cols))).toBeGreaterThan(
        0.01,
      )
    })
  },
)

// A checkpoint says the same whatever file it lies in.
describe('the same tensors in another file', () => {
  it('in shards with an index', async () => {
    const { tokens, logits } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    const { tensors } = await readRawTensors(join(folder, 'model.safetensors'))
    await rm(join(folder, 'model.safetensors'))
    const shardOf = (i: number) => `model-0000${(i % 3) + 1}-of-00003.safetensors`
    const entries = [...tensors].map(([name, tensor], i) => ({ name, tensor, shard: shardOf(i) }))
    for (const shard of new Set(entries.map((entry) => entry.shard))) {
      const own = entries.filter((entry) => entry.shard === shard)
      await writeSafetensors(
        join(folder, shard),
        new Map(own.map(({ name, tensor }) => [name, tensor])),
      )
    }
    const index = join(folder, 'model.safetensors.index.json')
    await writeFile(
      index,
      JSON.stringify({
        metadata: { total_size: 1 },
        weight_map: Object.fromEntries(entries.map(({ name, shard }) => [name, shard])),
      }),
    )
    expectSameLogits(await logitsOf(folder, tokens), logits)
    expectSameLogits(await logitsOf(index, tokens), logits)
  })

  it.each(['mamba2-hf', 'rene'])('%s as pytorch_model.bin', async (name) => {
    const { tokens, logits } = await readGolden(name)
    const folder = await copyOfFixture(name)
    const { tensors } = await readRawTensors(join(folder, 'model.safetensors'))
    await rm(join(folder, 'model.safetensors'))
    await writePytorch(join(folder, 'pytorch_model.bin'), tensors)
    expectSameLogits(await logitsOf(folder, tokens), logits)
  })

  it('in a pickle with transposed and offset tensors', async () => {
    const { tokens, logits } = await readGolden('rene')
    const folder = await copyOfFixture('rene')
    const { tensors } = await readRawTensors(join(folder, 'model.safetensors'))
    await rm(join(folder, 'model.safetensors'))
    const storages: Record<string, Uint8Array> = {}
    const pickled = [...tensors].map(([name, { shape, data }]): [string, PickledTensor] => {
      // Three numbers that belong to nobody, then the tensor with its dimensions reversed.
      const source = new Float32Array(data.buffer)
      const storage = new Float32Array(3 + source.length).fill(Number.NaN)
      const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((p, d) => p * d, 1))
      for (let i = 0; i < source.length; i++) {
        let rest = i
        let at = 3
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          at += (rest % shape[axis]!) * strides[axis]!
          rest = Math.floor(rest / shape[axis]!)
        }
        storage[at] = source[i]!
      }
      storages[name] = new Uint8Array(storage.buffer)
      const numel = storage.length
      const tensor = { storageClass: 'FloatStorage', key: name, numel, offset: 3 }
      return [name, { ...tensor, shape: [...shape], strides }]
    })
    await writeFile(
      join(folder, 'pytorch_model.bin'),
      makePytorchCheckpoint(pickle(pickledStateDict(Object.fromEntries(pickled))), storages),
    )
    expectSameLogits(await logitsOf(folder, tokens), logits)
  })

  it.each(['rene', 'edge-mlx-4bit', 'mamba2-mlx-lm-4bit'])(
    '%s with data that is aligned to nothing',
    async (name) => {
      const { tokens, logits } = await readGolden(name)
      const folder = await copyOfFixture(name)
      const file = join(folder, 'model.safetensors')
      const bytes = await readFile(file)
      const length = Number(bytes.readBigUInt64LE())
      for (const spaces of [1, 2, 3]) {
        const head = Buffer.alloc(8)
        const padding = (4 - (length % 4)) % 4
        head.writeBigUInt64LE(BigInt(length + padding + spaces))
        const parts = [bytes.subarray(8, 8 + length), Buffer.alloc(padding + spaces, ' ')]
        await writeFile(file, Buffer.concat([head, ...parts, bytes.subarray(8 + length)]))
        expectSameLogits(await logitsOf(folder, tokens), logits)
      }
    },
  )

  it('in float64', async () => {
    const { tokens, logits } = await readGolden('rene-gate-first')
    const folder = await copyOfFixture('rene-gate-first')
    await rewriteTensors(folder, (all) => mapTensors(all, (tensor) => converted(tensor, 'float64')))
    expectSameLogits(await logitsOf(folder, tokens), logits)
  })

  it('an Edge file under its published name, in a folder and by its path', async () => {
    const { tokens, logits } = await readGolden('edge-mlx-4bit')
    const folder = await copyOfFixture('edge-mlx-4bit')
    await rm(join(folder, 'golden.safetensors'))
    const file = join(folder, 'Rene-v0.1-1.3b-4bit-mlx.safetensors')
    await rename(join(folder, 'model.safetensors'), file)
    expectSameLogits(await logitsOf(folder, tokens), logits)
    expectSameLogits(await logitsOf(file, tokens), logits)
  })

  it('with a head in the file although it is tied', async () => {
    const { tokens, logits } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteTensors(folder, (tensors) =>
      tensors.set('lm_head.weight', tensors.get('backbone.embeddings.weight')!),
    )
    expectSameLogits(await logitsOf(folder, tokens), logits)
  })
})

describe.each(['float16', 'bfloat16'] as const)('weights in %s', (dtype) => {
  it.each(['mamba2-hf', 'rene'])('%s: the logits of the rounded weights', async (name) => {
    const { tokens } = await readGolden(name)
    const narrow = await copyOfFixture(name)
    const wide = await copyOfFixture(name)
    await rewriteTensors(narrow, (all) => mapTensors(all, (tensor) => converted(tensor, dtype)))
    await rewriteTensors(wide, (all) =>
      mapTensors(all, (tensor) => converted(converted(tensor, dtype), 'float32')),
    )
    expectSameLogits(await logitsOf(narrow, tokens), await logitsOf(wide, tokens))
    using model = await loadModel(narrow, { device: 'cpu' })
    using larger = await loadModel(wide, { device: 'cpu' })
    // Vectors are few and become float32; the matrices stay as they are.
    expect(model.weightBytes / larger.weightBytes).toBeLessThan(0.55)
  })

  it('the option dtype rounds the matrices and nothing else', async () => {
    const { tokens, logits } = await readGolden('rene')
    const folder = await copyOfFixture('rene')
    await rewriteTensors(folder, (all) =>
      mapTensors(all, (tensor) =>
        tensor.shape.length === 2 ? converted(converted(tensor, dtype), 'float32') : tensor,
      ),
    )
    const actual = await logitsOf(fixture('rene'), tokens, { load: { dtype } })
    expectSameLogits(actual, await logitsOf(folder, tokens))
    expect(relativeL2(actual, logits)).toBeGreaterThan(GOLDEN_RELATIVE_L2)
  })

  it('the option dtype widens them again', async () => {
    const { tokens } = await readGolden('rene')
    const folder = await copyOfFixture('rene')
    await rewriteTensors(folder, (all) => mapTensors(all, (tensor) => converted(tensor, dtype)))
    const expected = await logitsOf(folder, tokens)
    expectSameLogits(await logitsOf(folder, tokens, { load: { dtype: 'float32' } }), expected)
  })
})

describe('quantize on load', () => {
  // Wide enough for groups of 128.
  const wide: RandomModel = {
    dModel: 128,
    vocabSize: 96,
    normEpsilon: 1e-5,
    tied: true,
    layers: [
      mamba2Layer({ numHeads: 8, headDim: 32 }),
      mlpLayer({ dInner: 256 }),
      attentionLayer({ numHeads: 4, headDim: 32 }),
    ],
  }
  const tokens = randomTokens(96, 24, 7)

  it.each(
    ([4, 8] as const).flatMap((bits) =>
      ([32, 64, 128] as const).map((groupSize) => ({ bits, groupSize })),
    ),
  )('$bits bits in groups of $groupSize', async (quantize) => {
    const folder = await temporaryFolder()
    const weights = randomWeights(wide, 11)
    await writeRene(folder, wide, weights)
    using float = await loadModel(folder, { device: 'cpu' })
    using model = await loadModel(folder, { device: 'cpu', quantize })
    const actual = (await model.logits(tokens)).data
    const error = relativeL2(actual, (await float.logits(tokens)).data)
    expect(error).toBeGreaterThan(1e-4)
    expect(error).toBeLessThan(quantize.bits === 4 ? 0.3 : 0.02)
    expect(model.weightBytes).toBeLessThan((float.weightBytes * (quantize.bits + 3)) / 32)

    // The logits of the values that the quantised matrices stand for.
    using device = createDevice('cpu')
    const dequantized = await Promise.all(
      [...weights].map(async ([name, tensor]) => {
        const { shape } = tensor
        if (shape.length !== 2) return [name, tensor] as const
        const [rows, cols] = shape as [number, number]
        const matrix = device.tensor('float32', shape, Float32Array.from(numbersOf(tensor)))
        const affine = {
          words: device.tensor('uint32', [rows, (cols * quantize.bits) / 32]),
          scales: device.tensor('float32', [rows, cols / quantize.groupSize]),
          biases: device.tensor('float32', [rows, cols / quantize.groupSize]),
          ...quantize,
        }
        using list = device.record((cl) => {
          cl.affineQuantize(matrix, affine)
          cl.dequantize(affine, matrix)
        })
        await list.run()
        return [name, rawTensor('float32', shape, matrix.read())] as const
      }),
    )
    const other = await temporaryFolder()
    await writeRene(other, wide, new Map<string, RawTensor>(dequantized))
    expectSameLogits(actual, await logitsOf(other, tokens))
  })

  it('leaves alone what the group size does not divide', async () => {
    const { tokens: ids } = await readGolden('rene')
    using model = await loadModel(fixture('rene'), {
      device: 'cpu',
      quantize: { bits: 8, groupSize: 128 },
    })
    expect((await model.logits(ids)).data.every(Number.isFinite)).toBe(true)
  })

  it('goes together with dtype, which then types the scales', async () => {
    const { tokens: ids, logits } = await readGolden('rene')
    const quantize = { bits: 8, groupSize: 64 } as const
    const actual = await logitsOf(fixture('rene'), ids, { load: { quantize, dtype: 'float16' } })
    expect(relativeL2(actual, logits)).toBeLessThan(0.02)
  })
})

/** Loads what `write` wrote; compares with the naive reference, at once and one by one. */
async function expectReferenceLogits(
  model: RandomModel,
  write: (folder: string) => Promise<RawTensors | string>,
  meaning?: RawTensors,
): Promise<void> {
  const folder = await temporaryFolder()
  const written = await write(folder)
  const tokens = randomTokens(model.vocabSize, 21, model.dModel)
  const weights = meaning ?? (written as RawTensors)
  const expected = expectedLogits(model, weights, tokens)
  expectSameLogits(await logitsOf(folder, tokens), expected)
  expectSameLogits(await logitsOf(folder, tokens, { run: { prefillChunkSize: 4 } }), expected)
  expectSameLogits(await oneByOne(folder, tokens, 2), expected)
}
type RawTensors = Map<string, RawTensor>

const model = (changes: Partial<RandomModel> & Pick<RandomModel, 'layers'>): RandomModel => ({
  dModel: 64,
  vocabSize: 96,
  normEpsilon: 1e-5,
  tied: true,
  ...changes,
})

const repeat = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item)

describe('Rene of many shapes against the naive reference', () => {
  const cases: [string, RandomModel][] = [
    [
      'one of each layer',
      model({ layers: [mamba2Layer({}), mlpLayer({ dInner: 192 }), attentionLayer({})] }),
    ],
    [
      'norm before gate, four groups, biases everywhere, its own head',
      model({
        tied: false,
        layers: [
          mamba2Layer({ nGroups: 4, normGroups: 4, normBeforeGate: true, projectionBias: true }),
          mlpLayer({ dInner: 96, bias: true }),
          attentionLayer({ numKvHeads: 2, qkvBias: true, outBias: true }),
          mamba2Layer({ nGroups: 4, normGroups: 4, normBeforeGate: true, projectionBias: true }),
        ],
      }),
    ],
    [
      'as many key heads as query heads, heads wider than the model, another scale',
      model({
        layers: [attentionLayer({ numHeads: 3, numKvHeads: 3, headDim: 32, scale: 0.3 })],
      }),
    ],
    [
      'a window of 1',
      model({ layers: [attentionLayer({ window: 1 }), attentionLayer({ window: 1 })] }),
    ],
    [
      'a window longer than the text',
      model({ layers: [attentionLayer({ window: 100 }), mamba2Layer({})] }),
    ],
    [
      'no bias in the convolution, of 2 taps, one wide head',
      model({
        layers: repeat(2, mamba2Layer({ numHeads: 1, headDim: 64, dConv: 2, convBias: false })),
      }),
    ],
    [
      'heads of 1, states of 1, odd sizes',
      model({
        dModel: 15,
        vocabSize: 31,
        layers: [
          mamba2Layer({ numHeads: 45, headDim: 1, dState: 1, nGroups: 3, normGroups: 3, dConv: 3 }),
          mlpLayer({ dInner: 20 }),
          attentionLayer({ numHeads: 3, numKvHeads: 1, headDim: 5, window: 3 }),
        ],
      }),
    ],
    [
      'bounds of the step size',
      model({ layers: repeat(3, mamba2Layer({ dtLimit: [0.05, 0.2], dState: 32 })) }),
    ],
    ['nothing but an MLP', model({ layers: [mlpLayer({ dInner: 64 })] })],
  ]
  it.each(cases)('%s', async (_, shape) => {
    const weights = randomWeights(shape, 3)
    await expectReferenceLogits(shape, (folder) =>
      writeRene(folder, shape, weights).then(() => weights),
    )
  })
})

describe('pure Mamba-2 of many shapes against the naive reference', () => {
  const cases: [string, RandomModel][] = [
    ['two layers', model({ layers: repeat(2, mamba2Layer({})) })],
    [
      'its own head, biases, four times as wide inside',
      model({
        tied: false,
        layers: repeat(2, mamba2Layer({ numHeads: 16, projectionBias: true })),
      }),
    ],
    [
      'finite bounds of the step size, no bias in the convolution',
      model({
        layers: repeat(2, mamba2Layer({ dtLimit: [0.01, 0.1], convBias: false, dConv: 3 })),
      }),
    ],
    [
      'two groups',
      model({ layers: repeat(2, mamba2Layer({ nGroups: 2, normGroups: 2, dState: 24 })) }),
    ],
    [
      'eight groups, one a head, as in Codestral but smaller',
      model({ tied: false, layers: repeat(2, mamba2Layer({ nGroups: 8, normGroups: 8 })) }),
    ],
  ]
  it.each(cases)('state-spaces: %s', async (_, shape) => {
    const weights = randomWeights(shape, 4)
    await expectReferenceLogits(shape, (folder) =>
      writeStateSpaces(folder, shape, weights).then(() => weights),
    )
  })

  // transformers has one epsilon for all norms, and lets the configuration choose it.
  const withEpsilon = (shape: RandomModel, normEpsilon: number): RandomModel => ({
    ...shape,
    normEpsilon,
    layers: shape.layers.map((layer) => ({ ...layer, normEpsilon })),
  })
  it.each(cases)('transformers: %s', async (_, original) => {
    const shape = withEpsilon(original, 1e-3)
    const weights = randomWeights(shape, 5)
    await expectReferenceLogits(shape, (folder) =>
      writeHf(folder, shape, weights).then(() => weights),
    )
  })

  const choices: QuantizationChoice[] = (['float32', 'float16', 'bfloat16'] as const).flatMap(
    (scaleType) => ([4, 8] as const).map((bits) => ({ bits, groupSize: 32, scaleType })),
  )
  it.each(choices)('mlx-lm: $bits bits, scales in $scaleType', async (choice) => {
    const shape = model({ tied: false, layers: repeat(2, mamba2Layer({ nGroups: 4 })) })
    const weights = randomWeights(shape, 6)
    await expectReferenceLogits(shape, (folder) => writeMlxLm(folder, shape, weights, choice))
  })

  it('mlx-lm: some modules left alone, some with other bits and groups', async () => {
    const shape = model({ tied: false, layers: repeat(3, mamba2Layer({})) })
    const choice = { bits: 4, groupSize: 64, scaleType: 'float16' } as const
    await expectReferenceLogits(shape, (folder) =>
      writeMlxLm(folder, shape, randomWeights(shape, 8), choice, {
        'backbone.embeddings': false,
        lm_head: { bits: 8, groupSize: 32, scaleType: 'bfloat16' },
        'backbone.layers.0.mixer.in_proj': { bits: 8, groupSize: 64, scaleType: 'float32' },
        'backbone.layers.1.mixer.out_proj': { bits: 4, groupSize: 128, scaleType: 'float16' },
        'backbone.layers.2.mixer.out_proj': false,
      }),
    )
  })
})

describe('Edge of many shapes against the naive reference', () => {
  const layers = [
    mamba2Layer({ normGroups: 1, nGroups: 2, dState: 8, normBeforeGate: true }),
    mlpLayer({ dInner: 128, gated: true, activation: 'silu', norm: true }),
    attentionLayer({ numKvHeads: 4, window: 5 }),
    mamba2Layer({ headDim: 64, numHeads: 2, dConv: 3, projectionBias: true }),
    mlpLayer({ dInner: 256, gated: true, activation: 'gelu', bias: true }),
    attentionLayer({ numHeads: 8, numKvHeads: 2, qkvBias: true, outBias: true }),
    mlpLayer({ dInner: 64, activation: 'silu' }),
    mamba2Layer({ dtLimit: [0.02, 0.5] }),
  ]
  const shape = model({ tied: false, layers })
  it.each<[string, QuantizationChoice | undefined, boolean]>([
    ['not quantised, bias in the head', undefined, true],
    ['8 bits, scales in float32', { bits: 8, groupSize: 32, scaleType: 'float32' }, false],
    ['4 bits, scales in bfloat16', { bits: 4, groupSize: 64, scaleType: 'bfloat16' }, true],
  ])('%s', async (_, choice, headBias) => {
    const full = { ...shape, headBias }
    await expectReferenceLogits(full, (folder) =>
      writeEdge(join(folder, 'some-model-mlx.safetensors'), full, randomWeights(full, 9), choice),
    )
  })
})

describe('where the files lie', () => {
  it('takes a relative path', async () => {
    const { tokens, logits } = await readGolden('rene')
    const relative = join('.', fixture('rene').slice(process.cwd().length + 1))
    expectSameLogits(await logitsOf(relative, tokens), logits)
  })

  it('takes a folder with characters that shells and URLs do not like', async () => {
    const { tokens, logits } = await readGolden('rene')
    const folder = await copyOfFixture('rene')
    const odd = join(folder, "a b%20c'#?ü")
    await mkdir(odd)
    for (const name of ['config.json', 'model.safetensors']) {
      await rename(join(folder, name), join(odd, name))
    }
    expectSameLogits(await logitsOf(odd, tokens), logits)
  })
})

// The writer of the tests itself: what it says the words stand for is what it meant.
it('the affine writer is close to what it was given', () => {
  const matrix = rawTensor('float32', [2, 64], randomTokens(1000, 128, 1))
  const { values } = quantized(matrix, { bits: 8, groupSize: 32, scaleType: 'float32' })
  expect(relativeL2(values, numbersOf(matrix))).toBeLessThan(0.01)
})
