// Every method of the recorder refuses what does not fit, with a message that leads with the method
// and says what was expected and what came. Kernels trust what passes, so each case here stands for
// memory that a kernel would otherwise read or write wrongly.

import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { operationTable } from '../../lib/operations/table.js'
import type { QuantizedMatrix } from '../../lib/operations/arguments.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { DType, Tensor } from '../../lib/operations/tensor.js'

const device = createDevice('cpu', { threads: 1 })
afterAll(() => device.dispose())

const floats = (...shape: number[]) => device.tensor('float32', shape)
const integers = (...shape: number[]) => device.tensor('uint32', shape)
const halves = (...shape: number[]) => device.tensor('float16', shape)

/** A tensor of this shape whose rows lie apart. */
const apart = (...shape: number[]) =>
  floats(...shape.slice(0, -1), shape.at(-1)! + 1).columns(0, shape.at(-1)!)

function matrix(rows = 5, cols = 64): QuantizedMatrix {
  return {
    words: integers(rows, cols / 8),
    scales: halves(rows, cols / 32),
    biases: halves(rows, cols / 32),
    bits: 4,
    groupSize: 32,
  }
}

const convolution = (...leading: number[]) => ({
  x: floats(...leading, 6),
  weight: floats(6, 4),
  bias: floats(6),
  state: floats(3, 4, 6),
  position: integers(2),
  rows: integers(2),
  out: floats(...leading, 6),
})

const stateSpace = (...leading: number[]) => ({
  x: floats(...leading, 12), // 4 heads of 3
  dt: floats(...leading, 4),
  A: floats(4),
  B: floats(...leading, 10), // 2 groups, state 5
  C: floats(...leading, 10),
  D: floats(4),
  dtBias: floats(4),
  state: floats(3, 4, 3, 5),
  rows: integers(2),
  out: floats(...leading, 12),
})

const attention = (...leading: number[]) => ({
  q: floats(...leading, 12), // 4 heads of 3 over 2
  k: floats(...leading, 6),
  v: floats(...leading, 6),
  keys: floats(3, 7, 6),
  values: floats(3, 7, 6),
  position: integers(2),
  rows: integers(2),
  out: floats(...leading, 12),
})

const pages = () => ({
  keys: floats(5, 256, 8),
  values: floats(5, 256, 8),
  pages: integers(3, 2),
  position: integers(2),
  rows: integers(2),
})

const pagedDecode = () => ({
  ...pages(),
  q: floats(2, 16), // 4 heads of 4 over 2
  k: floats(2, 8),
  v: floats(2, 8),
  qNorm: floats(4),
  kNorm: floats(4),
  frequencies: floats(2),
  out: floats(2, 16),
  headDim: 4,
  eps: 1,
})

const sampler = () => ({
  logits: floats(2, 9),
  rows: integers(2),
  settings: floats(3, 6),
  selection: integers(3, 8),
  stops: integers(3, 2),
  biases: integers(3, 4),
  mask: integers(3, 1),
  counts: integers(3, 9),
  history: integers(3, 6),
  position: integers(3),
  remaining: integers(3),
  kept: floats(3, 9),
  out: integers(3),
  report: integers(2, 2),
})

const reporter = () => ({
  logits: floats(2, 9),
  rows: integers(2),
  selection: integers(3, 8),
  token: integers(3),
  kept: floats(3, 9),
  reported: integers(3, 5),
  logprobs: floats(3, 5),
})

// Tests give wrong types on purpose; what JavaScript callers can do, these can.
type Loose = Record<string, unknown>
// biome-ignore lint/suspicious/noExplicitAny: see above
type Arguments = any

interface Method {
  /** Arguments that are accepted, by name, and how to call the method with them. */
  valid: () => Loose
  call: (cl: Recorder, given: Arguments) => void
  /** What is changed, and the message that it must give. */
  wrong: [change: Loose | ((valid: Loose) => Loose), message: string][]
}

const bytes = (...shape: number[]) => device.tensor('uint8', shape)

const inLeading = (affine: Partial<QuantizedMatrix>) => () => ({
  matrix: { ...matrix(), ...affine },
})

const AFFINE_WRONG: Method['wrong'] = [
  [inLeading({ bits: 3 as 4 }), 'bits must be 4, 5, 6 or 8 but is 3'],
  [inLeading({ groupSize: 16 as 32 }), 'groupSize must be 32, 64 or 128 but is 16'],
  [inLeading({ groupSize: 128 }), 'groupSize 128 does not divide 64 columns'],
  [inLeading({ words: floats(5, 8) }), 'words must be uint32 but is float32'],
  [inLeading({ words: integers(40) }), 'words must have 2 dimensions but has shape (40)'],
  [
    inLeading({ scales: integers(5, 2) }),
    'scales must be float32 or float16 or bfloat16 but is uint32',
  ],
  [inLeading({ scales: halves(5, 1) }), 'scales must have shape (5, 2) but has shape (5, 1)'],
  [inLeading({ biases: floats(5, 2) }), 'biases must be float16 but is float32'],
  [inLeading({ biases: halves(2, 5) }), 'biases must have shape (5, 2) but has shape (2, 5)'],
]

const ROWS_WRONG: Method['wrong'] = [
  [{ rows: integers(3) }, 'rows must have shape (2) but has shape (3)'],
  [{ rows: floats(2) }, 'rows must be uint32 but is float32'],
  [{ rows: integers(2, 2).columns(0, 1) }, 'rows must have shape (2) but has shape (2, 1)'],
]

const CONVOLUTION_WRONG: Method['wrong'] = [
  [{ weight: floats(5, 4) }, 'weight must have shape (6, 4) but has shape (5, 4)'],
  [{ weight: halves(6, 4) }, 'weight must be float32 but is float16'],
  [{ weight: apart(6, 4) }, 'weight must be contiguous'],
  [{ bias: floats(4) }, 'bias must have shape (6) but has shape (4)'],
  [{ state: floats(3, 3, 6) }, 'state must have shape (3, 4, 6) but has shape (3, 3, 6)'],
  [{ state: floats(12, 6) }, 'state must have 3 dimensions but has shape (12, 6)'],
  [{ state: apart(3, 4, 6) }, 'state must be contiguous but is a view with rows apart'],
  ...ROWS_WRONG,
  [{ position: integers(1) }, 'position must have shape (2) but has shape (1)'],
  [{ position: floats(2) }, 'position must be uint32 but is float32'],
  [{ inputGate: floats(2, 5) }, 'inputGate must have shape'],
  [{ outputGate: halves(2, 6) }, 'outputGate must be float32 but is float16'],
  [
    ({ x }) => ({ outputGate: x }),
    'inputGate and outputGate must both be given or both be left out',
  ],
  [{ activation: 'gelu' }, 'activation must be "silu" or "none" but is "gelu"'],
]

const STATE_SPACE_WRONG: Method['wrong'] = [
  [{ state: floats(2, 4, 15) }, 'state must have 4 dimensions but has shape (2, 4, 15)'],
  [{ state: apart(3, 4, 3, 5) }, 'state must be contiguous'],
  [{ state: halves(3, 4, 3, 5) }, 'state must be float32 but is float16'],
  ...ROWS_WRONG,
  [{ A: floats(3) }, 'A must have shape (4) but has shape (3)'],
  [{ D: floats(12) }, 'D must have shape (4) but has shape (12)'],
  [{ dtBias: floats(1) }, 'dtBias must have shape (4) but has shape (1)'],
  [{ groups: 3 }, 'groups 3 does not divide the heads, 4'],
  [{ groups: 0 }, 'groups must be a positive whole number but is 0'],
  [{ groups: 1.5 }, 'groups must be a positive whole number but is 1.5'],
  [{ dtLimit: [1, 0.5] }, 'dtLimit must be 0 <= min <= max but is 1, 0.5'],
  [{ dtLimit: [NaN, 1] }, 'dtLimit must be 0 <= min <= max but is NaN, 1'],
  [{ dtLimit: [-1, 1] }, 'dtLimit must be 0 <= min <= max but is -1, 1'],
  [{ chunk: 3 }, 'unknown option "chunk"'],
]

const RING_WRONG: Method['wrong'] = [
  [{ keys: floats(3, 7, 5) }, 'keys must have shape (3, 7, 6) but has shape (3, 7, 5)'],
  [{ keys: floats(14, 6) }, 'keys must have 3 dimensions but has shape (14, 6)'],
  [{ values: floats(2, 7, 6) }, 'values must have shape (3, 7, 6) but has shape (2, 7, 6)'],
  ...ROWS_WRONG,
  [{ values: apart(3, 7, 6) }, 'values must be contiguous'],
  [{ position: integers(3) }, 'position must have shape (2) but has shape (3)'],
  [{ position: floats(2) }, 'position must be uint32 but is float32'],
  [{ headDim: 4 }, 'headDim 4 does not divide the columns of '],
  [{ headDim: undefined }, 'headDim must be a positive whole number but is undefined'],
  [{ window: 7 }, 'unknown option "window"'],
]

const ATTENTION_WRONG: Method['wrong'] = [
  ...RING_WRONG,
  [{ q: halves(2, 12) }, 'q must be float32 but is float16'],
  [{ scale: NaN }, 'scale must be a finite number, at least 0, but is NaN'],
  [{ scale: '1' }, 'scale must be a finite number, at least 0, but is "1"'],
]

const ssdOptions = ({ groups, dtLimit, chunkSize, chunk }: Loose) =>
  Object.fromEntries(
    Object.entries({ groups, dtLimit, chunkSize, chunk }).filter(
      ([, value]) => value !== undefined,
    ),
  ) as { groups?: number }

const PAGES_WRONG: Method['wrong'] = [
  [{ keys: device.tensor('bfloat16', [5, 256, 8]) }, 'keys must be float32 or float16 but is bfl'],
  [{ keys: halves(5, 256, 8) }, 'values must be float16 but is float32'],
  [{ keys: floats(5, 255, 8) }, 'keys must have shape (5, 256, 8) but has shape (5, 255, 8)'],
  [{ keys: apart(5, 256, 8) }, 'keys must be contiguous'],
  [{ values: floats(4, 256, 8) }, 'values must have shape (5, 256, 8) but has shape (4, 256, 8)'],
  [{ values: apart(5, 256, 8) }, 'values must be contiguous'],
  [{ pages: floats(3, 2) }, 'pages must be uint32 but is float32'],
  [{ pages: integers(6) }, 'pages must have 2 dimensions but has shape (6)'],
  [{ position: integers(3) }, 'position must have shape (2) but has shape (3)'],
  [{ rows: floats(2) }, 'rows must be uint32 but is float32'],
]

const TURN_WRONG: Method['wrong'] = [
  [{ frequencies: halves(2) }, 'frequencies must be float32 but is float16'],
  [{ frequencies: floats(1, 2) }, 'frequencies must have 1 dimensions but has shape (1, 2)'],
  [{ frequencies: floats(3) }, 'frequencies are 3, more than half of headDim 4'],
  [{ eps: undefined }, 'eps must be a finite number, at least 0, but is undefined'],
  [{ eps: -1 }, 'eps must be a finite number, at least 0, but is -1'],
  [{ attentionFactor: Infinity }, 'attentionFactor must be a finite number'],
]

/** Options among the arguments, one that does not exist too. */
const optionsAmong = (given: Loose) =>
  Object.fromEntries(
    Object.entries(given).filter(
      ([, value]) => !(value instanceof Object && 'memory' in value) && value !== undefined,
    ),
  ) as unknown as { headDim: number }

const attentionOptions = ({ headDim, scale, window }: Loose) =>
  ({
    headDim,
    ...(scale === undefined ? {} : { scale }),
    ...(window === undefined ? {} : { window }),
  }) as { headDim: number }

// Of 3 rows and 5 outputs.
const LINEAR_WRONG: Method['wrong'] = [
  [{ activation: 'relu' }, 'activation must be "gelu" or "silu" or "relu2" but is "relu"'],
  [{ role: 'decode' }, 'role must be "step" or "chunk" but is "decode"'],
  [{ gate: floats(3, 4) }, 'gate must have shape (3, 5) but has shape (3, 4)'],
  [{ gate: halves(3, 5) }, 'gate must be float32 but is float16'],
  [{ residual: floats(5) }, 'residual must have shape (3, 5) but has shape (5)'],
  [{ residual: apart(3, 5) }, 'residual must be contiguous'],
  [{ norm: { weight: floats(3), eps: 1 } }, 'norm.weight must have shape ('],
  [(given) => ({ norm: { ...normOf(given), eps: -1 } }), 'norm.eps must be a finite number'],
  [(given) => ({ norm: { ...normOf(given), groups: 3 } }), 'norm.groups 3 does not divide the inp'],
  [
    (given) => ({ norm: { ...normOf(given), groups: 2, squares: floats(3, 1) } }),
    'norm.groups 2 does not divide the parts of norm.squares, 1',
  ],
  [
    (given) => ({ norm: { ...normOf(given), squares: floats(3, 3) } }),
    'the parts of norm.squares 3 does not divide the inputs',
  ],
  [
    (given) => ({ norm: { ...normOf(given), squares: floats(2, 4) } }),
    'norm.squares must have shape (3, 4) but has shape (2, 4)',
  ],
  [(given) => ({ norm: { ...normOf(given), ep: 1 } }), 'unknown option "ep"'],
]

const normOf = ({ x }: Arguments) => ({ weight: floats((x as Tensor).cols), eps: 1e-5 })

const METHODS: Record<string, Method> = {
  embedding: {
    valid: () => ({ tokens: integers(2, 3), table: halves(5, 4), out: floats(2, 3, 4) }),
    call: (cl, { tokens, table, out, ...options }) => cl.embedding(tokens, table, out, options),
    wrong: [
      [{ tokens: floats(2, 3) }, 'tokens must be uint32 but is float32'],
      [{ table: integers(5, 4) }, 'table must be float32 or float16 or bfloat16 but is uint32'],
      [{ table: floats(20) }, 'table must have 2 dimensions but has shape (20)'],
      [{ table: apart(5, 4) }, 'table must be contiguous but is a view with rows apart'],
      [{ out: floats(6, 4) }, 'out must have shape (2, 3, 4) but has shape (6, 4)'],
      [{ out: halves(2, 3, 4) }, 'out must be float32 but is float16'],
      [{ scale: Infinity }, 'scale must be a finite number but is Infinity'],
      [{ scales: 2 }, 'unknown option "scales": did you mean "scale"?'],
    ],
  },
  quantizedEmbedding: {
    valid: () => ({ tokens: integers(3), matrix: matrix(), out: floats(3, 64) }),
    call: (cl, { tokens, matrix, out, ...options }) =>
      cl.quantizedEmbedding(tokens, matrix, out, options),
    wrong: [
      ...AFFINE_WRONG,
      [{ tokens: floats(3) }, 'tokens must be uint32 but is float32'],
      [{ out: floats(3, 32) }, 'out must have shape (3, 64) but has shape (3, 32)'],
      [{ scale: NaN }, 'scale must be a finite number but is NaN'],
    ],
  },
  rmsNorm: {
    valid: () => ({ x: floats(3, 4), weight: floats(4), out: floats(3, 4), eps: 1e-5 }),
    call: (cl, { x, weight, out, ...options }) => cl.rmsNorm(x, weight, out, options),
    wrong: [
      [{ weight: floats(3) }, 'weight must have shape (4) but has shape (3)'],
      [{ x: halves(3, 4) }, 'x must be float32 but is float16'],
      [{ out: floats(4, 3) }, 'out must have shape (3, 4) but has shape (4, 3)'],
      [{ out: apart(3, 4) }, 'out must be contiguous but is a view with rows apart'],
      [{ eps: NaN }, 'eps must be a finite number, at least 0, but is NaN'],
      [{ eps: undefined }, 'eps must be a finite number, at least 0, but is undefined'],
      [{ eps: -1 }, 'eps must be a finite number, at least 0, but is -1'],
      [{ ep: 1 }, 'unknown option "ep": did you mean "eps"?'],
    ],
  },
  layerNorm: {
    valid: () => ({
      x: apart(3, 4),
      weight: floats(4),
      out: floats(3, 4),
      eps: 1e-5,
      bias: floats(4),
    }),
    call: (cl, { x, weight, out, ...options }) => cl.layerNorm(x, weight, out, options),
    wrong: [
      [{ weight: floats(3) }, 'weight must have shape (4) but has shape (3)'],
      [{ bias: floats(1, 4) }, 'bias must have shape (4) but has shape (1, 4)'],
      [{ bias: halves(4) }, 'bias must be float32 but is float16'],
      [{ out: apart(3, 4) }, 'out must be contiguous but is a view with rows apart'],
      [{ eps: -1 }, 'eps must be a finite number, at least 0, but is -1'],
      [{ biases: floats(4) }, 'unknown option "biases": did you mean "bias"?'],
    ],
  },
  gatedRmsNorm: {
    valid: () => ({
      x: floats(3, 4),
      z: floats(3, 4),
      weight: floats(4),
      out: floats(3, 4),
      eps: 1e-5,
    }),
    call: (cl, { x, z, weight, out, ...options }) => cl.gatedRmsNorm(x, z, weight, out, options),
    wrong: [
      [{ z: floats(3, 5) }, 'z must have shape (3, 4) but has shape (3, 5)'],
      [{ z: halves(3, 4) }, 'z must be float32 but is float16'],
      [{ weight: floats(8) }, 'weight must have shape (4) but has shape (8)'],
      [{ out: apart(3, 4) }, 'out must be contiguous but is a view with rows apart'],
      [{ groups: 3 }, 'groups 3 does not divide the columns, 4'],
      [{ groups: NaN }, 'groups must be a positive whole number but is NaN'],
      [{ eps: 'small' }, 'eps must be a finite number, at least 0, but is "small"'],
      [{ normBeforeGates: true }, 'did you mean "normBeforeGate"?'],
    ],
  },
  matmul: {
    valid: () => ({ x: floats(3, 4), weight: halves(5, 4), out: floats(3, 5), bias: floats(5) }),
    call: (cl, { x, weight, out, ...options }) => cl.matmul(x, weight, out, options),
    wrong: [
      [
        { x: floats(3, 5) },
        'x must have 4 columns, as the weight has inputs, but has shape (3, 5)',
      ],
      [{ x: halves(3, 4) }, 'x must be float32 but is float16'],
      [{ weight: integers(5, 4) }, 'weight must be float32 or float16 or bfloat16 but is uint32'],
      [{ weight: floats(5, 4, 1) }, 'weight must have 2 dimensions but has shape (5, 4, 1)'],
      [{ weight: apart(5, 4) }, 'weight must be contiguous but is a view with rows apart'],
      [{ out: floats(5, 3) }, 'out must have shape (3, 5) but has shape (5, 3)'],
      [{ bias: floats(4) }, 'bias must have shape (5) but has shape (4)'],
      [{ bias: halves(5) }, 'bias must be float32 but is float16'],
      [{ scale: floats(4) }, 'scale must have shape (5) but has shape (4)'],
      [{ scale: halves(5) }, 'scale must be float32 but is float16'],
      [{ bais: floats(5) }, 'unknown option "bais": did you mean "bias"?'],
      ...LINEAR_WRONG,
    ],
  },
  quantizedMatmul: {
    valid: () => ({ x: floats(3, 64), matrix: matrix(), out: floats(3, 5) }),
    call: (cl, { x, matrix, out, ...options }) => cl.quantizedMatmul(x, matrix, out, options),
    wrong: [
      ...AFFINE_WRONG,
      [{ x: floats(3, 32) }, 'x must have 64 columns'],
      [{ out: floats(3, 6) }, 'out must have shape (3, 5) but has shape (3, 6)'],
      [{ bias: floats(6) }, 'bias must have shape (5) but has shape (6)'],
      [{ activate: 'gelu' }, 'unknown option "activate": did you mean "activation"?'],
      ...LINEAR_WRONG,
    ],
  },
  mamba2Update: {
    valid: () => ({
      zxBCdt: floats(2, 48), // 4 heads of 3, 2 groups, state 5: 12 + 32 + 4
      convWeight: floats(32, 4),
      convBias: floats(32),
      convState: floats(3, 4, 32),
      A: floats(4),
      D: floats(4),
      dtBias: floats(4),
      ssmState: floats(3, 4, 3, 5),
      position: integers(2),
      rows: integers(2),
      out: floats(2, 12),
      squares: floats(2, 4),
      groups: 2,
    }),
    call: (cl, { groups, dtLimit, normBeforeGates, columns, activation, ...tensors }) =>
      cl.mamba2Update(tensors, {
        groups,
        columns,
        activation,
        ...(dtLimit && { dtLimit }),
        ...(normBeforeGates && { normBeforeGates }),
      }),
    wrong: [
      [{ columns: 'xBCdtz' }, 'columns must be "zxBCdt" or "xBCzdt" but is "xBCdtz"'],
      [{ activation: 'relu' }, 'activation must be "silu" or "none" but is "relu"'],
      [{ zxBCdt: floats(2, 47) }, 'zxBCdt must have shape (2, 48) but has shape (2, 47)'],
      [{ zxBCdt: apart(2, 48) }, 'zxBCdt must be contiguous'],
      [{ zxBCdt: halves(2, 48) }, 'zxBCdt must be float32 but is float16'],
      [{ convWeight: floats(31, 4) }, 'convWeight must have shape (32, 4)'],
      [{ convWeight: halves(32, 4) }, 'convWeight must be float32 but is float16'],
      [{ convBias: floats(12) }, 'convBias must have shape (32) but has shape (12)'],
      [{ convState: floats(2, 4, 32) }, 'convState must have shape (3, 4, 32)'],
      [{ zxBCdt: floats(48) }, 'zxBCdt must have 2 dimensions but has shape (48)'],
      ...ROWS_WRONG,
      [{ convState: apart(3, 4, 32) }, 'convState must be contiguous'],
      [{ A: floats(3) }, 'A must have shape (4) but has shape (3)'],
      [{ D: floats(12) }, 'D must have shape (4) but has shape (12)'],
      [{ dtBias: floats(1) }, 'dtBias must have shape (4) but has shape (1)'],
      [{ ssmState: halves(3, 4, 3, 5) }, 'ssmState must be float32 but is float16'],
      [{ ssmState: floats(2, 4, 15) }, 'ssmState must have 4 dimensions'],
      [{ ssmState: apart(3, 4, 3, 5) }, 'ssmState must be contiguous'],
      [{ position: integers(1) }, 'position must have shape (2) but has shape (1)'],
      [{ position: floats(2) }, 'position must be uint32 but is float32'],
      [{ out: floats(2, 13) }, 'out must have shape (2, 12) but has shape (2, 13)'],
      [{ squares: floats(2, 12) }, 'squares must have shape (2, 4) but has shape (2, 12)'],
      [{ groups: 3 }, 'groups 3 does not divide the heads, 4'],
      [{ dtLimit: [1, 0.5] }, 'dtLimit must be 0 <= min <= max but is 1, 0.5'],
      [{ normBeforeGates: true }, 'did you mean "normBeforeGate"?'],
    ],
  },
  conv1dUpdate: {
    valid: () => convolution(2),
    call: (cl, { activation, ...given }) => cl.conv1dUpdate(given, { activation }),
    wrong: [
      ...CONVOLUTION_WRONG,
      [{ x: floats(2, 1, 6) }, 'x must have 2 dimensions but has shape (2, 1, 6)'],
      [{ out: floats(2, 7) }, 'out must have shape (2, 6) but has shape (2, 7)'],
    ],
  },
  conv1dPrefill: {
    valid: () => convolution(2, 3),
    call: (cl, { activation, ...given }) => cl.conv1dPrefill(given, { activation }),
    wrong: [
      ...CONVOLUTION_WRONG,
      [{ x: floats(6, 6) }, 'x must have 3 dimensions but has shape (6, 6)'],
      [{ out: floats(2, 2, 6) }, 'out must have shape (2, 3, 6) but has shape (2, 2, 6)'],
    ],
  },
  ssdUpdate: {
    valid: () => ({ ...stateSpace(2), groups: 2 }),
    call: (cl, given) => cl.ssdUpdate(given, ssdOptions(given)),
    wrong: [
      ...STATE_SPACE_WRONG,
      [{ x: floats(2, 11) }, 'x must have shape (2, 12) but has shape (2, 11)'],
      [{ dt: floats(2, 3) }, 'dt must have shape (2, 4) but has shape (2, 3)'],
      [{ B: floats(2, 5) }, 'B must have shape (2, 10) but has shape (2, 5)'],
      [{ C: floats(1, 10) }, 'C must have shape (2, 10) but has shape (1, 10)'],
      [{ out: apart(2, 12) }, 'out must be contiguous'],
      [{ chunkSize: 4 }, 'unknown option "chunkSize"'],
    ],
  },
  ssdChunkScan: {
    valid: () => ({ ...stateSpace(2, 3), groups: 2 }),
    call: (cl, given) => cl.ssdChunkScan(given, ssdOptions(given)),
    wrong: [
      ...STATE_SPACE_WRONG,
      [{ x: floats(6, 12) }, 'x must have 3 dimensions but has shape (6, 12)'],
      [{ x: floats(1, 3, 12) }, 'dt must have shape (1, 3, 4) but has shape (2, 3, 4)'],
      [{ dt: floats(2, 4, 4) }, 'dt must have shape (2, 3, 4) but has shape (2, 4, 4)'],
      [{ B: floats(2, 3, 5) }, 'B must have shape (2, 3, 10) but has shape (2, 3, 5)'],
      [{ C: floats(2, 2, 10) }, 'C must have shape (2, 3, 10) but has shape (2, 2, 10)'],
      [{ chunkSize: 0 }, 'chunkSize must be a positive whole number but is 0'],
      [{ chunkSize: 2 ** 32 }, 'chunkSize must be a positive whole number but is 4294967296'],
    ],
  },
  mlpActivation: {
    valid: () => ({ x: floats(3, 4), out: floats(3, 4), activation: 'gelu' }),
    call: (cl, { x, out, ...options }) => cl.mlpActivation(x, out, options),
    wrong: [
      [{ x: halves(3, 4) }, 'x must be float32 but is float16'],
      [{ out: floats(12) }, 'out must have shape (3, 4) but has shape (12)'],
      [{ gate: floats(3, 5) }, 'gate must have shape (3, 4) but has shape (3, 5)'],
      [{ gate: apart(3, 4) }, 'gate must be contiguous but is a view with rows apart'],
      [{ activation: 'relu' }, 'activation must be "gelu" or "silu" or "relu2" but is "relu"'],
      [
        { activation: undefined },
        'activation must be "gelu" or "silu" or "relu2" but is undefined',
      ],
      [{ gates: floats(3, 4) }, 'unknown option "gates": did you mean "gate"?'],
    ],
  },
  attentionDecode: {
    valid: () => ({ ...attention(2), headDim: 3 }),
    call: (cl, given) => cl.attentionDecode(given, attentionOptions(given)),
    wrong: [
      ...ATTENTION_WRONG,
      [{ q: floats(2, 1, 12) }, 'q must have 2 dimensions but has shape (2, 1, 12)'],
      [
        { q: floats(2, 9), out: floats(2, 9) },
        'the number of key/value heads 2 does not divide the query heads, 3',
      ],
      [{ k: floats(1, 6) }, 'k must have shape (2, 6) but has shape (1, 6)'],
      [{ v: floats(2, 3) }, 'v must have shape (2, 6) but has shape (2, 3)'],
      [{ out: apart(2, 12) }, 'out must be contiguous'],
    ],
  },
  attentionPrefill: {
    valid: () => ({ ...attention(2, 3), headDim: 3 }),
    call: (cl, given) => cl.attentionPrefill(given, attentionOptions(given)),
    wrong: [
      ...ATTENTION_WRONG,
      [{ q: floats(6, 12) }, 'q must have 3 dimensions but has shape (6, 12)'],
      [{ k: floats(2, 4, 6) }, 'k must have shape (2, 3, 6) but has shape (2, 4, 6)'],
      [{ v: floats(2, 4, 6) }, 'v must have shape (2, 3, 6) but has shape (2, 4, 6)'],
      [{ out: floats(2, 3, 11) }, 'out must have shape (2, 3, 12) but has shape (2, 3, 11)'],
    ],
  },
  kvCacheWrite: {
    valid: () => ({ ...attention(2, 3), headDim: 3 }),
    call: (cl, { q: _, out: __, ...given }) => cl.kvCacheWrite(given, attentionOptions(given)),
    wrong: [
      ...RING_WRONG,
      [{ k: floats(6, 6) }, 'k must have 3 dimensions but has shape (6, 6)'],
      [{ v: floats(2, 2, 6) }, 'v must have shape (2, 3, 6) but has shape (2, 2, 6)'],
      [{ k: halves(2, 3, 6) }, 'k must be float32 but is float16'],
    ],
  },
  rotary: {
    valid: () => ({
      x: floats(2, 3, 12),
      normWeight: floats(4),
      frequencies: floats(2),
      position: integers(2),
      out: floats(2, 3, 12),
      headDim: 4,
      eps: 1,
    }),
    call: (cl, given) => cl.rotary(given, optionsAmong(given)),
    wrong: [
      ...TURN_WRONG,
      [{ normWeight: undefined, frequencies: undefined }, 'needs normWeight or frequencies'],
      [{ x: floats(2, 3, 1, 12) }, 'x must have 3 dimensions but has shape (2, 3, 1, 12)'],
      [{ x: halves(2, 3, 12) }, 'x must be float32 but is float16'],
      [{ headDim: 5 }, 'headStride 5 does not divide the columns of x, 12'],
      [{ headStride: 3 }, 'headStride 3 is less than headDim 4'],
      [{ headStride: 6 }, 'out must have shape (2, 3, 8) but has shape (2, 3, 12)'],
      [{ normWeight: floats(3) }, 'normWeight must have shape (4) but has shape (3)'],
      [{ normWeight: undefined }, 'eps has no effect without normWeight'],
      [{ position: undefined }, 'frequencies need position'],
      [{ position: integers(3) }, 'position must have shape (2) but has shape (3)'],
      [{ frequencies: undefined }, 'position has no effect without frequencies'],
      [
        { frequencies: undefined, position: undefined, interleaved: true },
        'interleaved has no effect without frequencies',
      ],
      [{ out: apart(2, 3, 12) }, 'out must be contiguous'],
      [{ scale: 1 }, 'unknown option "scale"'],
    ],
  },
  kvPagesWrite: {
    valid: () => ({ ...pages(), k: floats(2, 3, 8), v: floats(2, 3, 8) }),
    call: (cl, given) => cl.kvPagesWrite(given),
    wrong: [
      ...PAGES_WRONG,
      [{ k: floats(2, 3, 1, 8) }, 'k must have 3 dimensions but has shape (2, 3, 1, 8)'],
      [{ k: halves(2, 3, 8) }, 'k must be float32 but is float16'],
      [{ v: floats(2, 2, 8) }, 'v must have shape (2, 3, 8) but has shape (2, 2, 8)'],
      [{ k: floats(2, 7), v: floats(2, 7) }, 'keys must have shape (5, 256, 7) but has shape'],
    ],
  },
  pagedAttentionDecode: {
    valid: pagedDecode,
    call: (cl, given) => cl.pagedAttentionDecode(given, optionsAmong(given)),
    wrong: [
      ...PAGES_WRONG,
      ...TURN_WRONG,
      [{ q: floats(2, 1, 16) }, 'q must have 2 dimensions but has shape (2, 1, 16)'],
      [{ q: halves(2, 16) }, 'q must be float32 but is float16'],
      [{ q: floats(2, 12) }, 'the number of key/value heads 2 does not divide the query heads, 3'],
      [{ k: floats(1, 8) }, 'k must have shape (2, 8) but has shape (1, 8)'],
      [{ v: floats(2, 4) }, 'v must have shape (2, 8) but has shape (2, 4)'],
      [{ headDim: 3 }, 'headDim 3 does not divide the columns of q, 16'],
      [{ gated: true }, 'out must have shape (2, 8) but has shape (2, 16)'],
      [{ scale: NaN }, 'scale must be a finite number, at least 0, but is NaN'],
      [{ qNorm: undefined }, 'qNorm and kNorm go together'],
      [{ kNorm: floats(8) }, 'kNorm must have shape (4) but has shape (8)'],
      [{ qNorm: undefined, kNorm: undefined }, 'eps has no effect without qNorm'],
      [
        { frequencies: undefined, attentionFactor: 2 },
        'attentionFactor has no effect without frequencies',
      ],
      [{ out: apart(2, 16) }, 'out must be contiguous'],
      [{ window: 5 }, 'unknown option "window"'],
    ],
  },
  pagedAttentionPrefill: {
    valid: () => ({ ...pages(), q: floats(2, 3, 16), out: floats(2, 3, 16), headDim: 4 }),
    call: (cl, given) => cl.pagedAttentionPrefill(given, optionsAmong(given)),
    wrong: [
      ...PAGES_WRONG.slice(1),
      [{ q: floats(6, 16) }, 'q must have 3 dimensions but has shape (6, 16)'],
      [{ out: floats(2, 3, 8) }, 'out must have shape (2, 3, 16) but has shape (2, 3, 8)'],
      [{ headDim: 16 }, 'headDim 16 does not divide the columns of keys, 8'],
      [{ eps: 1 }, 'unknown option "eps"'],
    ],
  },
  add: {
    valid: () => ({ a: floats(3, 4), b: floats(3, 4), out: floats(3, 4) }),
    call: (cl, { a, b, out }) => cl.add(a, b, out),
    wrong: [
      [{ b: floats(4) }, 'b must have shape (3, 4) but has shape (4)'],
      [{ b: halves(3, 4) }, 'b must be float32 but is float16'],
      [{ a: apart(3, 4) }, 'a must be contiguous but is a view with rows apart'],
      [{ out: floats(4, 3) }, 'out must have shape (3, 4) but has shape (4, 3)'],
    ],
  },
  argmax: {
    valid: () => ({ x: floats(2, 3, 4), out: integers(2, 3) }),
    call: (cl, { x, out }) => cl.argmax(x, out),
    wrong: [
      [{ x: halves(2, 3, 4) }, 'x must be float32 but is float16'],
      [{ x: apart(2, 3, 4) }, 'x must be contiguous but is a view with rows apart'],
      [{ out: integers(6) }, 'out must have shape (2, 3) but has shape (6)'],
      [{ out: floats(2, 3) }, 'out must be uint32 but is float32'],
    ],
  },
  sample: {
    valid: sampler,
    call: (cl, given) => cl.sample(given),
    wrong: [
      [{ logits: floats(9) }, 'logits must have 2 dimensions but has shape (9)'],
      [{ logits: apart(2, 9) }, 'logits must be contiguous but is a view with rows apart'],
      ...ROWS_WRONG,
      [{ settings: floats(3, 3) }, 'settings must have shape (3, 6) but has shape (3, 3)'],
      [{ settings: floats(18) }, 'settings must have 2 dimensions but has shape (18)'],
      [{ settings: integers(3, 6) }, 'settings must be float32 but is uint32'],
      [{ selection: integers(3, 7) }, 'selection must have shape (3, 8) but has shape (3, 7)'],
      [{ selection: floats(3, 8) }, 'selection must be uint32 but is float32'],
      [{ biases: integers(12) }, 'biases must have 2 dimensions but has shape (12)'],
      [{ biases: integers(2, 4) }, 'biases must have shape (3, 4) but has shape (2, 4)'],
      [{ biases: floats(3, 4) }, 'biases must be uint32 but is float32'],
      [{ biases: integers(3, 3) }, 'biases must have an even number of columns but has shape'],
      [{ mask: integers(3, 2) }, 'mask must have shape (3, 1) but has shape (3, 2)'],
      [{ mask: floats(3, 1) }, 'mask must be uint32 but is float32'],
      [{ counts: integers(3, 8) }, 'counts must have shape (3, 9) but has shape (3, 8)'],
      [{ counts: floats(3, 9) }, 'counts must be uint32 but is float32'],
      [{ logits: undefined, kept: floats(27) }, 'kept must have 2 dimensions but has shape (27)'],
      [{ logits: undefined, kept: floats(2, 9) }, 'kept must have shape (3, 9) but has shape'],
      [{ stops: integers(6) }, 'stops must have 2 dimensions but has shape (6)'],
      [{ stops: integers(2, 2) }, 'stops must have shape (3, 2) but has shape (2, 2)'],
      [{ stops: floats(3, 2) }, 'stops must be uint32 but is float32'],
      [{ history: integers(6) }, 'history must have 2 dimensions but has shape (6)'],
      [{ history: integers(1, 6) }, 'history must have shape (3, 6) but has shape (1, 6)'],
      [{ position: integers(2) }, 'position must have shape (3) but has shape (2)'],
      [{ remaining: integers(2) }, 'remaining must have shape (3) but has shape (2)'],
      [{ remaining: floats(3) }, 'remaining must be uint32 but is float32'],
      [{ kept: floats(2, 9) }, 'kept must have shape (3, 9) but has shape (2, 9)'],
      [{ kept: halves(3, 9) }, 'kept must be float32 but is float16'],
      [{ out: integers(1) }, 'out must have shape (3) but has shape (1)'],
      [{ report: integers(2) }, 'report must have shape (2, 2) but has shape (2)'],
      [{ report: floats(2, 2) }, 'report must be uint32 but is float32'],
    ],
  },
  keepLogits: {
    valid: () => ({ logits: floats(2, 9), rows: integers(2), kept: floats(3, 9) }),
    call: (cl, given) => cl.keepLogits(given),
    wrong: [
      [{ logits: floats(9) }, 'logits must have 2 dimensions but has shape (9)'],
      [{ logits: apart(2, 9) }, 'logits must be contiguous but is a view with rows apart'],
      ...ROWS_WRONG,
      [{ kept: floats(27) }, 'kept must have 2 dimensions but has shape (27)'],
      [{ kept: floats(3, 8) }, 'kept must have shape (3, 9) but has shape (3, 8)'],
      [{ kept: halves(3, 9) }, 'kept must be float32 but is float16'],
    ],
  },
  tokenLogprobs: {
    valid: reporter,
    call: (cl, given) => cl.tokenLogprobs(given),
    wrong: [
      [{ logits: floats(9) }, 'logits must have 2 dimensions but has shape (9)'],
      [{ logits: apart(2, 9) }, 'logits must be contiguous but is a view with rows apart'],
      ...ROWS_WRONG,
      [{ selection: integers(3, 7) }, 'selection must have shape (3, 8) but has shape (3, 7)'],
      [{ token: integers(2) }, 'token must have shape (3) but has shape (2)'],
      [{ token: floats(3) }, 'token must be uint32 but is float32'],
      [{ kept: floats(2, 9) }, 'kept must have shape (3, 9) but has shape (2, 9)'],
      [{ logits: undefined, kept: floats(27) }, 'kept must have 2 dimensions but has shape (27)'],
      [{ reported: integers(15) }, 'reported must have 2 dimensions but has shape (15)'],
      [{ reported: floats(3, 5) }, 'reported must be uint32 but is float32'],
      [{ logprobs: floats(3, 4) }, 'logprobs must have shape (3, 5) but has shape (3, 4)'],
      [{ logprobs: integers(3, 5) }, 'logprobs must be float32 but is uint32'],
    ],
  },
  crossEntropy: {
    valid: () => ({ logits: floats(2, 3, 9), targets: integers(2, 3), out: floats(2, 3) }),
    call: (cl, { logits, targets, out }) => cl.crossEntropy(logits, targets, out),
    wrong: [
      [{ logits: halves(2, 3, 9) }, 'logits must be float32 but is float16'],
      [{ logits: apart(2, 3, 9) }, 'logits must be contiguous but is a view with rows apart'],
      [{ targets: floats(2, 3) }, 'targets must be uint32 but is float32'],
      [{ targets: integers(6) }, 'targets must have shape (2, 3) but has shape (6)'],
      [{ out: floats(6) }, 'out must have shape (2, 3) but has shape (6)'],
      [{ out: integers(2, 3) }, 'out must be float32 but is uint32'],
    ],
  },
  affineQuantize: {
    valid: () => ({ weight: halves(5, 64), matrix: matrix() }),
    call: (cl, { weight, matrix }) => cl.affineQuantize(weight, matrix),
    wrong: [
      ...AFFINE_WRONG,
      [{ weight: integers(5, 64) }, 'weight must be float32 or float16 or bfloat16 but is uint32'],
      [{ weight: floats(64, 5) }, 'weight must have shape (5, 64) but has shape (64, 5)'],
      [{ weight: apart(5, 64) }, 'weight must be contiguous but is a view with rows apart'],
    ],
  },
  routeExperts: {
    valid: () => ({
      logits: floats(3, 8),
      bias: floats(8),
      experts: integers(3, 2),
      weights: floats(3, 2),
      options: { scores: 'softmax' },
    }),
    call: (cl, { options, ...tensors }) => cl.routeExperts(tensors, options),
    wrong: [
      [{ logits: halves(3, 8) }, 'logits must be float32 but is float16'],
      [{ bias: floats(7) }, 'bias must have shape (8) but has shape (7)'],
      [{ experts: floats(3, 2) }, 'experts must be uint32 but is float32'],
      [{ weights: floats(3, 3) }, 'weights must have shape (3, 2) but has shape (3, 3)'],
      [{ options: {} }, 'scores must be "softmax" or "sigmoid" but is undefined'],
      [{ options: { scores: 'softmax', topK: 2 } }, 'unknown option "topK"'],
      [{ options: { scores: 'softmax', groups: 3 } }, 'groups 3 does not divide the experts, 8'],
      [
        { options: { scores: 'softmax', groups: 8, keptGroups: 1 } },
        'experts has 2 columns, but only 1 experts may be chosen',
      ],
      [
        { options: { scores: 'softmax', groups: 2, keptGroups: 3 } },
        'keptGroups must be at most groups, 2, but is 3',
      ],
    ],
  },
  groupExperts: {
    valid: () => ({ chosen: integers(9, 4), tiles: integers(3, 32), experts: 2 }),
    call: (cl, { chosen, tiles, ...options }) => cl.groupExperts(chosen, tiles, options),
    wrong: [
      [{ chosen: floats(9, 4) }, 'chosen must be uint32 but is float32'],
      [{ tiles: integers(1, 32) }, 'tiles must have shape (3, 32) but has shape (1, 32)'],
      [{ experts: 0 }, 'experts must be a positive whole number but is 0'],
      [{ tile: 32 }, 'unknown option "tile"'],
    ],
  },
  expertsMatmul: {
    valid: () => ({
      x: floats(3, 4),
      weight: halves(10, 4),
      chosen: integers(3, 2),
      out: floats(3, 2, 5),
      experts: 2,
    }),
    call: (cl, { x, weight, chosen, out, ...options }) =>
      cl.expertsMatmul(x, weight, chosen, out, options),
    wrong: [
      [
        { x: floats(3, 5) },
        'x must have 4 columns, as the weight has inputs, but has shape (3, 5)',
      ],
      [{ x: floats(4, 4) }, 'x must have a row for each of 3 tokens or of 6 chosen experts'],
      [{ weight: integers(10, 4) }, 'weight must be float32 or float16 or bfloat16 but is uint32'],
      [{ chosen: floats(3, 2) }, 'chosen must be uint32 but is float32'],
      [{ out: floats(3, 5) }, 'out must have shape (3, 2, 5) but has shape (3, 5)'],
      [{ gate: floats(3, 2, 4) }, 'gate must have shape (3, 2, 5) but has shape (3, 2, 4)'],
      [{ activation: 'relu' }, 'activation must be "gelu" or "silu" or "relu2" but is "relu"'],
      [{ experts: undefined }, 'experts must be a positive whole number but is undefined'],
      [{ experts: 3 }, '3 experts, 5 rows apart, need 15 rows, but the weight has 10'],
      [{ tiles: floats(2, 32) }, 'tiles must be uint32 but is float32'],
      [{ tiles: integers(1, 32) }, 'tiles must have shape (2, 32) but has shape (1, 32)'],
    ],
  },
  quantizedExpertsMatmul: {
    valid: () => ({
      x: floats(3, 64),
      matrix: matrix(),
      chosen: integers(3, 2),
      out: floats(3, 2, 1),
      experts: 5,
    }),
    call: (cl, { x, matrix, chosen, out, ...options }) =>
      cl.quantizedExpertsMatmul(x, matrix, chosen, out, options),
    wrong: [
      ...AFFINE_WRONG,
      [{ experts: 6 }, '6 experts, 1 rows apart, need 6 rows, but the weight has 5'],
    ],
  },
  mixExperts: {
    valid: () => ({ x: floats(3, 2, 4), weights: floats(3, 2), out: floats(3, 4) }),
    call: (cl, { x, weights, out, ...options }) => cl.mixExperts(x, weights, out, options),
    wrong: [
      [{ x: floats(3, 3, 4) }, 'x must have shape (3, 2, 4) but has shape (3, 3, 4)'],
      [{ weights: halves(3, 2) }, 'weights must be float32 but is float16'],
      [{ out: floats(3, 5) }, 'out must have shape (3, 4) but has shape (3, 5)'],
      [{ residual: floats(4, 3) }, 'residual must have shape (3, 4) but has shape (4, 3)'],
      [{ scale: NaN }, 'scale must be a finite number but is NaN'],
      [{ factor: 2 }, 'unknown option "factor"'],
    ],
  },
  dequantize: {
    valid: () => ({ matrix: matrix(), out: halves(5, 64) }),
    call: (cl, { matrix, out }) => cl.dequantize(matrix, out),
    wrong: [
      ...AFFINE_WRONG,
      [
        inLeading({ mode: 'mxfp8' as 'mxfp4' }),
        'mode must be "affine" or "mxfp4" or "nvfp4" but is "mxfp8"',
      ],
      [inLeading({ mode: 'mxfp4' }), 'scales must be uint8 but is float16'],
      [inLeading({ mode: 'mxfp4', bits: 8 }), 'bits of mxfp4 must be 4 but is 8'],
      [inLeading({ mode: 'nvfp4' }), 'groupSize of nvfp4 must be 16 but is 32'],
      [inLeading({ biases: undefined }), 'biases must be given in affine format'],
      [
        inLeading({ mode: 'mxfp4', scales: bytes(5, 2) }),
        'biases must be left out: mxfp4 has none',
      ],
      [{ out: integers(5, 64) }, 'out must be float32 or float16 or bfloat16 but is uint32'],
      [{ out: floats(5, 32) }, 'out must have shape (5, 64) but has shape (5, 32)'],
    ],
  },
  cast: {
    valid: () => ({ x: floats(3, 4), out: halves(3, 4) }),
    call: (cl, { x, out }) => cl.cast(x, out),
    wrong: [
      [{ x: integers(3, 4) }, 'x must be float32 or float16 or bfloat16 but is uint32'],
      [{ out: integers(3, 4) }, 'out must be float32 or float16 or bfloat16 but is uint32'],
      [{ out: halves(12) }, 'out must have shape (3, 4) but has shape (12)'],
      [{ x: apart(3, 4) }, 'x must be contiguous but is a view with rows apart'],
    ],
  },
  copy: {
    valid: () => ({ x: integers(3, 4), out: integers(3, 4) }),
    call: (cl, { x, out }) => cl.copy(x, out),
    wrong: [
      [{ out: floats(3, 4) }, 'out must be uint32 but is float32'],
      [{ out: integers(12) }, 'out must have shape (3, 4) but has shape (12)'],
      [{ x: apart(3, 4), out: floats(3, 4) }, 'x must be contiguous but is a view with rows apart'],
    ],
  },
  resolveRows: {
    valid: () => ({
      slots: integers(2),
      remaining: integers(3),
      token: integers(3),
      position: integers(3),
      rows: integers(2),
      positions: integers(2),
      tokens: integers(2),
      count: 2,
    }),
    call: (cl, { count, counts, ...tensors }) =>
      cl.resolveRows(tensors, { count, ...(counts && { counts }) }),
    wrong: [
      ...ROWS_WRONG,
      [{ slots: floats(2) }, 'slots must be uint32 but is float32'],
      [{ slots: integers(2, 1) }, 'slots must have shape (2) but has shape (2, 1)'],
      [{ remaining: integers(3, 1) }, 'remaining must have shape (3) but has shape (3, 1)'],
      [{ token: integers(2) }, 'token must have shape (3) but has shape (2)'],
      [{ position: integers(4) }, 'position must have shape (3) but has shape (4)'],
      [{ position: floats(3) }, 'position must be uint32 but is float32'],
      [{ positions: integers(3) }, 'positions must have shape (2) but has shape (3)'],
      [{ tokens: integers(3) }, 'tokens must have shape (2) but has shape (3)'],
      [{ tokens: floats(2) }, 'tokens must be uint32 but is float32'],
      [{ count: -1 }, 'count must be a positive whole number but is -1'],
      [{ count: 1.5 }, 'count must be a positive whole number but is 1.5'],
      [{ count: 2 ** 32 }, 'count must be a positive whole number but is 4294967296'],
      [{ counts: 1 }, 'unknown option "counts": did you mean "count"?'],
    ],
  },
}

test('wrong arguments of every operation are tested, here or in its own test', () => {
  const known = [...operationTable().values()]
  expect(known.map(({ apiName }) => apiName)).toEqual(expect.arrayContaining(Object.keys(METHODS)))
  for (const { name, apiName } of known) {
    if (Object.hasOwn(METHODS, apiName)) continue
    const own = new URL(`${name.replaceAll('_', '-')}.test.ts`, import.meta.url)
    expect(readFileSync(own, 'utf8')).toContain(`toThrow('[${apiName}] `)
  }
})

describe.each(Object.entries(METHODS))('%s', (name, { valid, call, wrong }) => {
  test('accepts what fits', () => {
    using list = device.record((cl) => call(cl, valid()))
    expect(list.length).toBe(1)
  })

  const cases = wrong.map(([change, message]) => ({ change, message }))
  test.each(cases)('refuses: $message', ({ change, message }) => {
    const accepted = valid()
    const given = { ...accepted, ...(typeof change === 'function' ? change(accepted) : change) }
    let error: unknown
    try {
      device.record((cl) => call(cl, given))
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(Error)
    expect((error as Error).message).toContain(message)
    expect((error as Error).message.startsWith(`[${name}] `)).toBe(true)
  })

  test('refuses disposed tensors', () => {
    for (const [key, value] of Object.entries(valid())) {
      if (!(value instanceof Object && 'memory' in value)) continue
      const given = valid()
      const unused = name === 'kvCacheWrite' && (key === 'q' || key === 'out')
      if (unused) continue
      ;(given[key] as Tensor).dispose()
      expect(() => device.record((cl) => call(cl, given)), key).toThrow('disposed')
    }
  })
})

test('wrong element types are TypeErrors, wrong shapes RangeErrors', () => {
  const types: DType[] = ['float32', 'float16']
  const [x, half] = types.map((type) => device.tensor(type, [2])) as [Tensor, Tensor]
  expect(() => device.record((cl) => cl.add(x, half, x))).toThrow(TypeError)
  expect(() => device.record((cl) => cl.add(x, floats(3), x))).toThrow(RangeError)
})
