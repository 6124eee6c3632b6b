// What a decode step computes for a sequence does not depend on the sequences beside it: the bits of a row
// are those that it has alone, for any number of rows and at any place among them.

import { expect, test } from 'vitest'
import type { ActivationType, Device } from '../../lib/operations/device.js'
import type { LinearOptions } from '../../lib/operations/arguments.js'
import { Tensor } from '../../lib/operations/tensor.js'
import { affineMatrix, FORMATS_BY_MASK, OTHER_FORMATS } from '../support/quantized.js'
import { FLOAT_TYPES, seededNormals, unwritten, upload, uploadApart } from '../support/arrays.js'
import { type RecordRows, rowsThatDiffer, type TakeRows } from '../support/batch-invariance.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { LINEAR_CASES, type LinearCase } from '../support/linear.js'
import { describeEachDevice } from '../support/with-device.js'

async function expectRowsAlone(device: Device, record: RecordRows): Promise<void> {
  const { differing, compared } = await rowsThatDiffer(device, record)
  expect(differing).toEqual([])
  expect(compared).toBeGreaterThan(120)
}

const floats = (device: Device, shape: readonly number[], scale = 1) =>
  upload(
    device,
    'float32',
    shape,
    seededNormals(7)(
      shape.reduce((a, b) => a * b),
      scale,
    ),
  )

/** What a case asks for besides the product, of some rows. */
function optionsOf(
  take: TakeRows,
  { bias, normWeight }: { bias: Tensor; normWeight: Tensor },
  given: LinearCase,
  outputs: number,
  outType: ActivationType,
): LinearOptions {
  const { norm: groups, squares } = given
  return {
    scale: given.scale ? bias : undefined,
    bias: given.bias ? bias : undefined,
    norm: groups
      ? {
          ...{ weight: normWeight, eps: 1e-3, groups },
          ...(squares && { squares: take([groups * squares], { numberOf: (id) => 1 + id / 7 }) }),
        }
      : undefined,
    activation: given.activation,
    gate: given.gate ? take([outputs], { dtype: outType }) : undefined,
    residual: given.residual ? take([outputs], { dtype: outType }) : undefined,
    role: 'step',
  }
}

/** A step with a weight that `multiply` has. */
function step(
  device: Device,
  { inputs, outputs }: { inputs: number; outputs: number },
  given: LinearCase,
  [inType, outType]: readonly [ActivationType, ActivationType],
  multiply: (cl: Parameters<RecordRows>[0], ...rest: [Tensor, Tensor, LinearOptions]) => void,
): RecordRows {
  const weights = { bias: floats(device, [outputs]), normWeight: floats(device, [inputs]) }
  return (cl, take, rows) => {
    const scale = 1 / Math.sqrt(inputs)
    const x = take([inputs], {
      ...{ dtype: inType, scale },
      place: (on, _, shape, values) => uploadApart(on, inType, shape, values),
    })
    const options = optionsOf(take, weights, given, outputs, outType)
    const out = options.residual ?? unwritten(device, [rows, outputs], outType)
    multiply(cl, x, out, options)
    return [out]
  }
}

const PLAIN: LinearCase = { title: 'plain' }
const TYPES = ACTIVATION_TYPES.map((type) => [type, type] as const)

describeEachDevice('a step', (device) => {
  for (const dtype of FLOAT_TYPES) {
    for (const types of TYPES) {
      test.each([
        { inputs: 1, outputs: 1 },
        { inputs: 37, outputs: 21 }, // neither whole vectors nor whole blocks of weight rows
        { inputs: 1032, outputs: 5 }, // more than a simdgroup reads at once
        { inputs: 8, outputs: 400 },
      ])(`matmul, weight ${dtype}, ${types[0]}, $inputs to $outputs`, async (shape) => {
        const { inputs, outputs } = shape
        const values = seededNormals(3)(outputs * inputs)
        const weight = upload(device(), dtype, [outputs, inputs], values)
        await expectRowsAlone(
          device(),
          step(device(), shape, PLAIN, types, (cl, x, out, options) =>
            cl.matmul(x, weight, out, options),
          ),
        )
      })
    }
  }

  for (const types of TYPES) {
    test.each(LINEAR_CASES)(`matmul, $title, ${types[0]}`, async (given) => {
      for (const shape of [
        { inputs: 72, outputs: 7 },
        { inputs: 152, outputs: 18 },
      ]) {
        const { inputs, outputs } = shape
        const values = seededNormals(3)(outputs * inputs)
        const weight = upload(device(), 'float16', [outputs, inputs], values)
        await expectRowsAlone(
          device(),
          step(device(), shape, given, types, (cl, x, out, options) =>
            cl.matmul(x, weight, out, options),
          ),
        )
      }
    })
  }

  for (const { name, groupSize, make } of [...FORMATS_BY_MASK, ...OTHER_FORMATS]) {
    const cases = FORMATS_BY_MASK.some((each) => each.name === name)
      ? [PLAIN, ...LINEAR_CASES]
      : [PLAIN, LINEAR_CASES.at(-1)!]
    for (const types of TYPES) {
      test.each(cases)(`quantizedMatmul, ${name}, $title, ${types[0]}`, async (given) => {
        for (const [groups, outputs] of [
          [1, 21],
          // More than a GPU keeps of eight rows at a time, with columns left over.
          [1408 / groupSize, 5],
        ] as const) {
          const inputs = groups * groupSize
          const { tensors } = make(device(), outputs, inputs)
          await expectRowsAlone(
            device(),
            step(device(), { inputs, outputs }, given, types, (cl, x, out, options) =>
              cl.quantizedMatmul(x, tensors, out, options),
            ),
          )
        }
      })
    }
  }
})

const NUMBERS = { heads: 3, headDim: 16, dState: 24, width: 4 }

/** The slots of rows whose states stand in their order. */
const inOrder = (device: Device, rows: number) =>
  upload(
    device,
    'uint32',
    [rows],
    Array.from({ length: rows }, (_, row) => row),
  )

describeEachDevice('a row', (device) => {
  test.each(ACTIVATION_TYPES)('of embedding and quantizedEmbedding, beside %s', async (dtype) => {
    const table = upload(device(), dtype, [40, 37], seededNormals(1)(40 * 37))
    const { tensors: affine } = affineMatrix(device(), {
      ...{ rows: 40, cols: 64, bits: 4, groupSize: 32, scaleType: dtype, seed: 1 },
    })
    await expectRowsAlone(device(), (cl, take, rows) => {
      const tokens = take([], { dtype: 'uint32', numberOf: (id) => id })
      const results = [unwritten(device(), [rows, 37]), unwritten(device(), [rows, 64])] as const
      cl.embedding(tokens, table, results[0])
      cl.quantizedEmbedding(tokens, affine, results[1])
      return results
    })
  })

  test.each(ACTIVATION_TYPES)('of expertsMatmul and quantizedExpertsMatmul, %s', async (dtype) => {
    const [experts, k, inputs, outputs] = [3, 2, 64, 21]
    const shape = [experts * outputs, inputs] as const
    const weight = upload(device(), 'float16', shape, seededNormals(3)(shape[0] * inputs))
    const { tensors: affine } = affineMatrix(device(), {
      ...{ rows: shape[0], cols: inputs, bits: 4, groupSize: 32, scaleType: 'float16', seed: 1 },
    })
    await expectRowsAlone(device(), (cl, take, rows) => {
      const x = take([inputs], { dtype })
      const chosen = take([k], { dtype: 'uint32', numberOf: (id) => id % experts })
      const out = () => unwritten(device(), [rows, k, outputs], dtype)
      const results = [out(), out()] as const
      cl.expertsMatmul(x, weight, chosen, results[0], { experts, activation: 'silu' })
      cl.quantizedExpertsMatmul(x, affine, chosen, results[1], { experts, gate: results[0] })
      return results
    })
  })

  test.each(ACTIVATION_TYPES)('of rmsNorm and gatedRmsNorm, %s', async (dtype) => {
    const cols = 198
    const weight = floats(device(), [cols])
    await expectRowsAlone(device(), (cl, take, rows) => {
      const [x, z] = [take([cols], { dtype }), take([cols], { dtype })]
      const results = Array.from({ length: 3 }, () => unwritten(device(), [rows, cols], dtype))
      cl.rmsNorm(x, weight, results[0]!, { eps: 1e-5 })
      cl.gatedRmsNorm(x, z, weight, results[1]!, { eps: 1e-5, groups: 2 })
      cl.gatedRmsNorm(x, z, weight, results[2]!, { eps: 1e-5, normBeforeGate: true })
      return results
    })
  })

  test.each(ACTIVATION_TYPES)('of mamba2Update, %s', async (dtype) => {
    const { heads, headDim, dState, width } = NUMBERS
    const inner = heads * headDim
    const channels = inner + 2 * dState
    const parameters = {
      convWeight: floats(device(), [channels, width]),
      convBias: floats(device(), [channels]),
      A: upload(device(), 'float32', [heads], [-0.5, -1, -2]),
      D: floats(device(), [heads]),
      dtBias: floats(device(), [heads]),
    }
    await expectRowsAlone(device(), (cl, take, rows) => {
      const tensors = {
        ...parameters,
        zxBCdt: take([inner + channels + heads], { dtype }),
        rows: inOrder(device(), rows),
        convState: take([width, channels], { dtype }),
        ssmState: take([heads, headDim, dState]),
        position: take([], { dtype: 'uint32', numberOf: (id) => id }),
        out: unwritten(device(), [rows, inner], dtype),
        squares: unwritten(device(), [rows, heads]),
      }
      cl.mamba2Update(tensors)
      const { out, squares, ssmState, convState } = tensors
      return [out, squares, ssmState, convState]
    })
  })

  test.each(ACTIVATION_TYPES)('of deltaUpdate, %s', async (dtype) => {
    const { heads, headDim: keyDim, dState: valueDim, width } = NUMBERS
    const values = heads * valueDim
    const channels = 2 * keyDim + values
    const parameters = {
      convWeight: floats(device(), [channels, width]),
      A: upload(device(), 'float32', [heads], [-0.5, -1, -2]),
      dtBias: floats(device(), [heads]),
    }
    await expectRowsAlone(device(), (cl, take, rows) => {
      const tensors = {
        ...parameters,
        qkv: take([channels], { dtype }),
        z: take([values], { dtype }),
        b: take([heads], { dtype }),
        a: take([heads], { dtype }),
        rows: inOrder(device(), rows),
        convState: take([width, channels], { dtype }),
        state: take([heads, valueDim, keyDim]),
        position: take([], { dtype: 'uint32', numberOf: (id) => id }),
        out: unwritten(device(), [rows, values], dtype),
        squares: unwritten(device(), [rows, heads]),
      }
      cl.deltaUpdate(tensors)
      const { out, squares, state, convState } = tensors
      return [out, squares, state, convState]
    })
  })

  test.each(ACTIVATION_TYPES)('of conv1dUpdate and ssdUpdate, %s', async (dtype) => {
    const { heads, headDim, dState, width } = NUMBERS
    const inner = heads * headDim
    const parameters = {
      A: upload(device(), 'float32', [heads], [-0.5, -1, -2]),
      D: floats(device(), [heads]),
      dtBias: floats(device(), [heads]),
    }
    const weight = floats(device(), [inner, width])
    await expectRowsAlone(device(), (cl, take, rows) => {
      const state = take([width, inner], { dtype })
      const position = take([], { dtype: 'uint32', numberOf: (id) => id })
      const x = unwritten(device(), [rows, inner], dtype)
      const slots = inOrder(device(), rows)
      const input = () => take([inner], { dtype })
      const gates = { inputGate: input(), outputGate: input() }
      cl.conv1dUpdate({ x: input(), ...gates, weight, state, position, rows: slots, out: x })
      const ssm = {
        ...parameters,
        x,
        rows: slots,
        dt: take([heads], { dtype }),
        B: take([dState], { dtype }),
        C: take([dState], { dtype }),
        state: take([heads, headDim, dState]),
        out: unwritten(device(), [rows, inner], dtype),
      }
      cl.ssdUpdate(ssm)
      return [state, x, ssm.state, ssm.out]
    })
  })

  test.each(ACTIVATION_TYPES)('of attentionDecode, %s', async (dtype) => {
    const [heads, kvHeads, headDim, window] = [4, 2, 16, 24]
    await expectRowsAlone(device(), (cl, take, rows) => {
      const tensors = {
        q: take([heads * headDim], { dtype }),
        k: take([kvHeads * headDim], { dtype }),
        v: take([kvHeads * headDim], { dtype }),
        rows: inOrder(device(), rows),
        keys: take([window, kvHeads * headDim], { dtype }),
        values: take([window, kvHeads * headDim], { dtype }),
        position: take([], { dtype: 'uint32', numberOf: (id) => id }),
        out: unwritten(device(), [rows, heads * headDim], dtype),
      }
      cl.attentionDecode(tensors, { headDim })
      return [tensors.out, tensors.keys, tensors.values]
    })
  })

  test.each(ACTIVATION_TYPES)('of pagedAttentionDecode, %s', async (dtype) => {
    const [heads, kvHeads, headDim] = [3, 1, 4]
    await expectRowsAlone(device(), (cl, take, rows) => {
      const cols = kvHeads * headDim
      // Two pages a row.
      const stored = () => {
        const { memory } = take([2, 256, cols])
        return new Tensor(memory, 'float32', [2 * rows, 256, cols])
      }
      const tensors = {
        q: take([heads * headDim], { dtype }),
        k: take([cols], { dtype }),
        v: take([cols], { dtype }),
        frequencies: floats(device(), [2]),
        rows: inOrder(device(), rows),
        keys: stored(),
        values: stored(),
        pages: upload(
          device(),
          'uint32',
          [rows, 2],
          Array.from({ length: 2 * rows }, (_, i) => i),
        ),
        position: take([], { dtype: 'uint32', numberOf: (id) => (15 * id) % 512 }),
        out: unwritten(device(), [rows, heads * headDim], dtype),
      }
      cl.pagedAttentionDecode(tensors, { headDim })
      return [tensors.out]
    })
  })

  test.each(ACTIVATION_TYPES)('of mlpActivation, add and layerNorm, %s', async (dtype) => {
    const cols = 37
    await expectRowsAlone(device(), (cl, take, rows) => {
      const [x, gate] = [take([cols], { dtype }), take([cols], { dtype })]
      const results = Array.from({ length: 2 }, () => unwritten(device(), [rows, cols], dtype))
      cl.mlpActivation(x, results[0]!, { activation: 'silu', gate })
      cl.mlpActivation(x, results[1]!, { activation: 'gelu' })
      const sum = unwritten(device(), [rows, cols])
      cl.add(take([cols]), take([cols]), sum)
      const normed = unwritten(device(), [rows, cols], dtype)
      cl.layerNorm(take([cols]), floats(device(), [cols]), normed, { eps: 0.1 })
      return [...results, sum, normed]
    })
  })
})

describeEachDevice('the comparison', (device) => {
  test('finds a row that depends on how many there are', async () => {
    const { differing } = await rowsThatDiffer(device(), (cl, take, rows) => {
      const out = unwritten(device(), [rows, 4])
      const count = upload(device(), 'float32', [rows, 4], new Float32Array(4 * rows).fill(rows))
      cl.add(take([4]), count, out)
      return [out]
    })
    expect(new Set(differing.map(({ rows }) => rows)).size).toBe(8)
  })
})
