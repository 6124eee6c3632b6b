// Matrix products, in the forms in which models use them.

import type { ActivationType } from '../../device.js'
import type { LinearOptions, Recorder } from '../../recorder.js'
import type { Tensor } from '../../tensor.js'
import { type Inputs, MATRIX_TYPES } from '../inputs.js'
import { type Case, EPS, MODELS, writing } from './case.js'

interface Shape {
  rows: number
  inputs: number
  outputs: number
}

type Form = 'plain' | 'norm' | 'norm by squares, residual' | 'bias, silu, gate' | 'gelu'
const FORMS: readonly Form[] = [
  'plain',
  'norm',
  'norm by squares, residual',
  'bias, silu, gate',
  'gelu',
]

// A GPU's mat-vec kernel takes up to 8 rows, its mat-mat kernel works on tiles of 32.
const SMALL: readonly Shape[] = [
  { rows: 1, inputs: 1, outputs: 1 },
  { rows: 1, inputs: 1032, outputs: 33 },
  { rows: 8, inputs: 40, outputs: 6 },
  { rows: 9, inputs: 72, outputs: 34 },
  { rows: 33, inputs: 65, outputs: 32 },
]
const SMALL_AFFINE: readonly Shape[] = [
  { rows: 1, inputs: 128, outputs: 1 },
  { rows: 1, inputs: 1152, outputs: 33 },
  { rows: 8, inputs: 128, outputs: 6 },
  { rows: 9, inputs: 384, outputs: 34 },
  { rows: 33, inputs: 256, outputs: 32 },
]
const LARGE: readonly Shape[] = [
  ...MODELS.flatMap(({ dModel, heads, headDim, dState, groups }) => {
    const inner = heads * headDim
    return [
      { rows: 1, inputs: dModel, outputs: 2 * inner + 2 * groups * dState + heads },
      { rows: 1, inputs: inner, outputs: dModel },
    ]
  }),
  { rows: 1, inputs: 2048, outputs: 50288 }, // the head
  { rows: 64, inputs: 2048, outputs: 2048 },
]

function optionsOf(form: Form, inputs: Inputs, shape: Shape): LinearOptions {
  const norm = () => ({ weight: inputs.floats([shape.inputs], 0.5, 1), eps: EPS })
  const asOut = [shape.rows, shape.outputs]
  switch (form) {
    case 'plain':
      return {}
    case 'norm':
      return { norm: norm() }
    case 'norm by squares, residual': {
      const squares = inputs.floats([shape.rows, 1], shape.inputs / 8, shape.inputs / 3)
      return { norm: { ...norm(), squares }, residual: inputs.activations(asOut) }
    }
    case 'bias, silu, gate':
      return {
        bias: inputs.floats([shape.outputs]),
        activation: 'silu',
        gate: inputs.activations(asOut),
      }
    case 'gelu':
      return { activation: 'gelu' }
  }
}

type Product = (cl: Recorder, x: Tensor, out: Tensor, options: LinearOptions) => void

function linearCase(
  given: Pick<Case, 'operation' | 'dtype' | 'activationType'>,
  shape: Shape,
  form: Form,
  weight: (inputs: Inputs) => Product,
): Case {
  const size = `${shape.rows} x ${shape.inputs} to ${shape.outputs}`
  return {
    ...given,
    large: LARGE.includes(shape),
    shape: form === 'plain' ? size : `${size}, ${form}`,
    build(inputs) {
      const product = weight(inputs)
      const x = inputs.activations([shape.rows, shape.inputs])
      const out = inputs.activationResult([shape.rows, shape.outputs])
      const options = optionsOf(form, inputs, shape)
      return writing(out, (cl) => product(cl, x, out, options))
    },
  }
}

/** All forms on small shapes where `thorough`, else the plain one; and the large shapes where `large`. */
function choices(small: readonly Shape[], thorough: boolean, large: boolean) {
  const forms = thorough ? FORMS : FORMS.slice(0, 1)
  return [
    ...small.flatMap((shape) => forms.map((form) => ({ shape, form }))),
    ...(large ? LARGE.map((shape) => ({ shape, form: 'norm' as const })) : []),
  ]
}

export function* linearCases(activationType: ActivationType): Generator<Case> {
  for (const type of MATRIX_TYPES) {
    const given = { operation: 'matmul', dtype: `${activationType} x ${type}` } as const
    for (const { shape, form } of choices(SMALL, type === 'float16', type === 'float16')) {
      yield linearCase({ ...given, activationType }, shape, form, (inputs) => {
        const weight = inputs.matrix(type, shape.outputs, shape.inputs)
        return (cl, x, out, options) => cl.matmul(x, weight, out, options)
      })
    }
  }
  for (const bits of [4, 8] as const) {
    for (const groupSize of [32, 64, 128] as const) {
      for (const scaleType of MATRIX_TYPES) {
        const usual = groupSize === 64 && scaleType === 'float16'
        const dtype = `${activationType} x ${bits}-bit g${groupSize} ${scaleType}`
        const given = { operation: 'affine_matmul', dtype, activationType } as const
        for (const { shape, form } of choices(SMALL_AFFINE, usual, usual)) {
          yield linearCase(given, shape, form, (inputs) => {
            const { outputs, inputs: cols } = shape
            const weight = inputs.affine(bits, groupSize, scaleType, outputs, cols)
            return (cl, x, out, options) => cl.affineMatmul(x, weight, out, options)
          })
        }
      }
    }
  }
}
