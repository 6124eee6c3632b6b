// Operations on rows: embedding, norms, activations, choosing a token, conversions.

import type { ActivationType } from '../../operations/device.js'
import { ACTIVATIONS, NO_SLOT } from '../../operations/arguments.js'
import { NO_TOKEN } from '../../operations/drawn-token.js'
import type { Tensor } from '../../operations/tensor.js'
import { FLOAT_TYPES } from '../../weights/float-types.js'
import type { Inputs } from '../inputs.js'
import { groupingCases, routingCases } from './experts.js'
import { quantizedCases } from './quantized.js'
import { type Case, EPS, type Recordable, writing } from './case.js'

const ROWS = [
  [1, 1],
  [3, 17],
  [2, 18],
  [3, 19],
  [2, 2048],
  [64, 2048], // threads share it
] as const
const VOCABULARIES = [1, 33, 50288]

interface Sampling {
  /** temperature, top-p, min-p, repetition, presence and frequency penalty. */
  settings: readonly number[]
  /** Whether slots have biases and masks. */
  restricts: boolean
  /** Whether logits are given; else slots have kept them. */
  hasLogits: boolean
}

function perSlot(inputs: Inputs, slots: number, values: (slot: number) => number[]): Tensor {
  const all = Array.from({ length: slots }, (_, slot) => values(slot))
  return inputs.integers(all.flat(), [slots, all[0]!.length])
}

// The bits of a float32.
const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!

function sample(
  inputs: Inputs,
  vocabulary: number,
  { settings, restricts, hasLogits }: Sampling,
): Recordable {
  const batch = 3
  const { slots, rows } = inputs.places(batch)
  const topK = Math.ceil(vocabulary / 2)
  const maskWords = Math.ceil(vocabulary / 32)
  const uses = restricts ? 1 : 0
  const last = vocabulary - 1
  const tensors = {
    logits: hasLogits ? inputs.floats([batch, vocabulary], 8) : undefined,
    rows,
    settings: inputs.device.tensor(
      'float32',
      [slots, 6],
      Float32Array.from({ length: 6 * slots }, (_, i) => settings[i % 6]!),
    ),
    // Of four places for recent tokens one to four are in use, and every other slot keeps its logits.
    selection: perSlot(inputs, slots, (slot) => [
      ...[topK, slot + 7, 1, slot + 1, slot % 2],
      ...[2 * uses, uses, 0],
    ]),
    stops: perSlot(inputs, slots, (slot) => [NO_TOKEN, slot]),
    biases: perSlot(inputs, slots, (slot) => [last, bitsOf(slot - 1.5), NO_TOKEN, 0]),
    // The first word allows half of its tokens, token 0 among them.
    mask: perSlot(inputs, slots, (slot) =>
      Array.from({ length: maskWords }, (_, word) => (word === 0 ? 0x55555555 : slot * 0x1234567)),
    ),
    counts: inputs.randomIntegers([slots, vocabulary], 3),
    history: perSlot(inputs, slots, () => [0, 0, 0, 0]),
    position: inputs.integers([0, 5, 1000, 77]),
    remaining: inputs.integers([9, 1, 9, 100]),
    kept: inputs.floats([slots, vocabulary], 8),
    out: inputs.result([slots], 'uint32'),
    report: inputs.result([batch, 2], 'uint32'),
  }
  const { out, counts, history, remaining, kept, report } = tensors
  return {
    record: (cl) => cl.sample(tensors),
    outputs: [out, counts, history, remaining, kept, report],
  }
}

const SAMPLINGS: readonly Sampling[] = [
  { settings: [0, 1, 0, 1, 0, 0], restricts: false, hasLogits: true },
  { settings: [0.8, 0.9, 0.05, 1.1, 0, 0], restricts: false, hasLogits: true },
  { settings: [0.8, 0.9, 0.05, 1.1, 0.7, -0.3], restricts: true, hasLogits: false },
]

/** Greedy, and with everything that a caller can ask for. */
export function sampleCases(vocabulary: number): Case[] {
  return SAMPLINGS.map((sampling) => ({
    operation: 'sample',
    dtype: 'float32',
    activationType: 'float32',
    shape:
      `3 x ${vocabulary}, temperature ${sampling.settings[0]}` +
      (sampling.restricts ? ', biases and masks, kept logits' : ''),
    build: (inputs) => sample(inputs, vocabulary, sampling),
  }))
}

function tokenLogprobs(inputs: Inputs, vocabulary: number, hasLogits: boolean): Recordable {
  const batch = 3
  const places = 6
  const { slots, rows } = inputs.places(batch)
  const tensors = {
    logits: hasLogits ? inputs.floats([batch, vocabulary], 8) : undefined,
    rows,
    // One slot asks for no report, the others for none to more alternatives than there is room for.
    selection: perSlot(inputs, slots, (slot) => [0, 0, 0, 0, 0, 0, 0, 3 * slot]),
    token: inputs.randomIntegers([slots], vocabulary),
    kept: inputs.floats([slots, vocabulary], 8),
    // What no slot asks for stays as it is.
    reported: inputs.randomIntegers([slots, places], vocabulary),
    logprobs: inputs.floats([slots, places]),
  }
  const { reported, logprobs } = tensors
  return { record: (cl) => cl.tokenLogprobs(tensors), outputs: [reported, logprobs] }
}

/** The rows of logits as they are: kept, and reported on. */
export function logitCases(vocabulary: number): Case[] {
  const given = { dtype: 'float32', activationType: 'float32' } as const
  return [
    {
      ...given,
      operation: 'keep_logits',
      shape: `3 x ${vocabulary}`,
      build(inputs) {
        const { slots, rows } = inputs.places(3)
        const logits = inputs.floats([3, vocabulary], 8)
        const kept = inputs.floats([slots, vocabulary])
        return writing(kept, (cl) => cl.keepLogits({ logits, rows, kept }))
      },
    },
    ...[true, false].map(
      (hasLogits): Case => ({
        ...given,
        operation: 'token_logprobs',
        shape: `3 x ${vocabulary}${hasLogits ? '' : ', kept logits'}`,
        build: (inputs) => tokenLogprobs(inputs, vocabulary, hasLogits),
      }),
    ),
  ]
}

/** Operations on activations. */
export function* rowCases(activationType: ActivationType): Generator<Case> {
  const given = { activationType, dtype: activationType }
  for (const [rows, cols] of ROWS) {
    const shape = `${rows} x ${cols}`
    yield {
      ...given,
      operation: 'rms_norm',
      shape,
      build(inputs) {
        const x = inputs.activations([rows, cols])
        const weight = inputs.floats([cols], 0.5, 1)
        const out = inputs.activationResult([rows, cols])
        return writing(out, (cl) => cl.rmsNorm(x, weight, out, { eps: EPS }))
      },
    }
    for (const withBias of [false, true]) {
      yield {
        ...given,
        operation: 'layer_norm',
        shape: `${shape}${withBias ? ', bias' : ''}`,
        build(inputs) {
          const x = inputs.activations([rows, cols])
          const weight = inputs.floats([cols], 0.5, 1)
          const bias = withBias ? inputs.floats([cols]) : undefined
          const out = inputs.activationResult([rows, cols])
          return writing(out, (cl) => cl.layerNorm(x, weight, out, { eps: EPS, bias }))
        },
      }
    }
    yield {
      ...given,
      operation: 'add',
      shape,
      build(inputs) {
        const [a, b] = [inputs.activations([rows, cols]), inputs.activations([rows, cols])]
        const out = inputs.activationResult([rows, cols])
        return writing(out, (cl) => cl.add(a, b, out))
      },
    }
    yield {
      ...given,
      operation: 'concatenate',
      shape,
      build(inputs) {
        const [a, b] = [inputs.activations([rows, cols]), inputs.activations([rows, cols + 3])]
        const out = inputs.activationResult([rows, 2 * cols])
        return writing(out, (cl) => cl.concatenate(a, b.columns(3, cols + 3), out))
      },
    }
    for (const activation of ACTIVATIONS) {
      yield {
        ...given,
        operation: 'mlp_activation',
        shape: `${shape}, ${activation}`,
        build(inputs) {
          const x = inputs.activations([rows, cols], 6)
          const gate = activation === 'silu' ? inputs.activations([rows, cols]) : undefined
          const out = inputs.activationResult([rows, cols])
          return writing(out, (cl) => cl.mlpActivation(x, out, { activation, gate }))
        },
      }
    }
  }
}

/** Operations that are float32 around whatever layers compute in. */
export function* tokenCases(): Generator<Case> {
  const activationType = 'float32'
  for (const dtype of FLOAT_TYPES) {
    for (const [rows, cols] of ROWS) {
      yield {
        operation: 'embedding',
        dtype,
        activationType,
        shape: `${rows} x ${cols}`,
        build(inputs) {
          const table = inputs.matrix(dtype, 300, cols)
          const tokens = inputs.randomIntegers([rows], 300)
          const out = inputs.result([rows, cols])
          return writing(out, (cl) => cl.embedding(tokens, table, out))
        },
      }
      for (const outType of FLOAT_TYPES.filter((other) => other !== dtype)) {
        yield {
          operation: 'cast',
          dtype: `${dtype} to ${outType}`,
          activationType,
          shape: `${rows} x ${cols}`,
          build(inputs) {
            const x = inputs.matrix(dtype, rows, cols)
            const out = inputs.result([rows, cols], outType)
            return writing(out, (cl) => cl.cast(x, out))
          },
        }
      }
    }
  }
  yield* quantizedCases()
  yield* routingCases()
  yield* groupingCases()
  for (const vocabulary of VOCABULARIES) {
    const given = { dtype: 'float32', activationType, shape: `3 x ${vocabulary}` } as const
    yield {
      ...given,
      operation: 'argmax',
      build(inputs) {
        const x = inputs.floats([3, vocabulary])
        const out = inputs.result([3], 'uint32')
        return writing(out, (cl) => cl.argmax(x, out))
      },
    }
    yield {
      ...given,
      operation: 'cross_entropy',
      build(inputs) {
        const logits = inputs.floats([3, vocabulary], 8)
        const targets = inputs.randomIntegers([3], vocabulary)
        const out = inputs.result([3])
        return writing(out, (cl) => cl.crossEntropy(logits, targets, out))
      },
    }
    yield* sampleCases(vocabulary)
    yield* logitCases(vocabulary)
  }
  for (const [dtype, rows, cols] of [
    ['float16', 3, 17],
    ['uint32', 3, 17],
    ['uint32', 64, 2048],
  ] as const) {
    yield {
      operation: 'copy',
      dtype,
      activationType,
      shape: `${rows} x ${cols}`,
      build(inputs) {
        const x =
          dtype === 'float16'
            ? inputs.matrix(dtype, rows, cols)
            : inputs.randomIntegers([rows, cols], 2 ** 31)
        const out = inputs.result([rows, cols], dtype)
        return writing(out, (cl) => cl.copy(x, out))
      },
    }
  }
  yield {
    operation: 'resolve_rows',
    dtype: 'uint32',
    activationType,
    shape: '5 of 4',
    build(inputs) {
      const tensors = {
        slots: inputs.integers([3, 0, NO_SLOT, 1, 4]),
        remaining: inputs.integers([2, 0, 5, 1]),
        token: inputs.integers([10, 11, 12, 13]),
        position: inputs.integers([0, 1, 2, 70_000]),
        rows: inputs.result([5], 'uint32'),
        positions: inputs.result([5], 'uint32'),
        tokens: inputs.result([5], 'uint32'),
      }
      const { rows, positions, tokens, position } = tensors
      return {
        record: (cl) => cl.resolveRows(tensors, { count: 5 }),
        outputs: [rows, positions, tokens, position],
      }
    },
  }
}
