// Matrix products, in the forms in which models use them.

import type { ActivationType } from '../../device.js'
import { recordLinear } from '../../models/blocks/block.js'
import type { OperationName } from '../../operations.js'
import type { LinearOptions } from '../../recorder.js'
import {
  AFFINE_FORMATS,
  formatName,
  PLAIN_FORMATS,
  type WeightFormat,
} from '../../weights/weight-format.js'
import type { Inputs } from '../inputs.js'
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
  const norm = () => ({ weight: inputs.normWeight(shape.inputs), eps: EPS })
  const asOut = [shape.rows, shape.outputs]
  switch (form) {
    case 'plain':
      return {}
    case 'norm':
      return { norm: norm() }
    case 'norm by squares, residual': {
      const squares = inputs.squares(shape.rows, shape.inputs)
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

/** The operation that multiplies with weights of a format. */
export const productOf = ({ kind }: WeightFormat): OperationName =>
  kind === 'plain' ? 'matmul' : 'affine_matmul'

/** A product with a weight in one of the formats. */
function linearCase(
  format: WeightFormat,
  activationType: ActivationType,
  shape: Shape,
  form: Form,
): Case {
  const { rows, inputs: cols, outputs } = shape
  const size = `${rows} x ${cols} to ${outputs}`
  return {
    operation: productOf(format),
    dtype: `${activationType} x ${formatName(format)}`,
    activationType,
    large: LARGE.includes(shape),
    shape: form === 'plain' ? size : `${size}, ${form}`,
    build(inputs) {
      const weight = inputs.weight(format, outputs, cols)
      const x = form.startsWith('norm')
        ? inputs.rowsToNorm(inputs.activationType, [rows, cols])
        : inputs.activations([rows, cols])
      const out = inputs.activationResult([rows, outputs])
      const options = optionsOf(form, inputs, shape)
      return writing(out, (cl) => recordLinear(cl, x, { weight, bias: options.bias }, out, options))
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
  for (const format of PLAIN_FORMATS) {
    const usual = format.type === 'float16'
    for (const { shape, form } of choices(SMALL, usual, usual)) {
      yield linearCase(format, activationType, shape, form)
    }
  }
  for (const format of AFFINE_FORMATS) {
    const usual = format.groupSize === 64 && format.scaleType === 'float16'
    for (const { shape, form } of choices(SMALL_AFFINE, usual, usual)) {
      yield linearCase(format, activationType, shape, form)
    }
  }
}
