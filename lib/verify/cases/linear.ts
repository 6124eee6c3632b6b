// Matrix products, in the forms in which models use them.

import type { ActivationType } from '../../operations/device.js'
import { recordLinear } from '../../models/blocks/block.js'
import type { LinearOptions, LinearRole } from '../../operations/arguments.js'
import {
  ALL_FORMATS,
  formatName,
  kindOf,
  type WeightFormat,
} from '../../weights/formats/formats.js'
import type { Inputs } from '../inputs.js'
import { type Case, EPS, MODELS, writing } from './case.js'

interface Shape {
  role: LinearRole
  rows: number
  inputs: number
  outputs: number
}

type Form =
  | 'plain'
  | 'norm'
  | 'norm by squares, residual'
  | 'bias, silu, gate'
  | 'gelu'
  | 'scale, relu2'
const FORMS: readonly Form[] = [
  'plain',
  'norm',
  'norm by squares, residual',
  'bias, silu, gate',
  'gelu',
  'scale, relu2',
]

const step = (rows: number, inputs: number, outputs: number): Shape => ({
  ...{ role: 'step', rows, inputs, outputs },
})
const chunk = (rows: number, inputs: number, outputs: number): Shape => ({
  ...step(rows, inputs, outputs),
  role: 'chunk',
})

// A GPU's mat-mat kernel works on tiles of 32.
const SMALL: readonly Shape[] = [
  step(1, 1, 1),
  step(1, 1032, 33),
  step(8, 40, 6),
  chunk(9, 72, 34),
  chunk(33, 65, 32),
]
// With inputs that every group size divides.
const SMALL_GROUPED: readonly Shape[] = [
  step(1, 128, 1),
  step(1, 1152, 33),
  step(8, 128, 6),
  chunk(9, 384, 34),
  chunk(33, 256, 32),
]
// Around the rows of a block of a step, and of a tile.
const ROWS: readonly Shape[] = [step, chunk].flatMap((role) =>
  [1, 2, 7, 8, 9, 32, 33].map((rows) => role(rows, 128, 10)),
)
const LARGE: readonly Shape[] = [
  ...MODELS.flatMap(({ dModel, heads, headDim, dState, groups }) => {
    const inner = heads * headDim
    return [step(1, dModel, 2 * inner + 2 * groups * dState + heads), step(1, inner, dModel)]
  }),
  step(1, 2048, 50288), // the head
  step(16, 2048, 2048),
  chunk(64, 2048, 2048),
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
    case 'scale, relu2':
      return { scale: inputs.floats([shape.outputs]), activation: 'relu2' }
  }
}

/** A product with a weight in one of the formats. */
function linearCase(
  format: WeightFormat,
  activationType: ActivationType,
  shape: Shape,
  form: Form,
): Case {
  const { role, rows, inputs: cols, outputs } = shape
  const size = `${rows} x ${cols} to ${outputs}${role === 'chunk' ? ', chunk' : ''}`
  return {
    operation: kindOf(format).product,
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
      const options = { ...optionsOf(form, inputs, shape), role }
      return writing(out, (cl) => recordLinear(cl, x, { weight, bias: options.bias }, out, options))
    },
  }
}

/**
 * Small shapes in the plain form; where the format is a `usual` one in all forms, and others, with a norm: all
 * numbers of rows in both roles, and the large ones.
 */
function choices(small: readonly Shape[], usual: boolean) {
  const forms = usual ? FORMS : FORMS.slice(0, 1)
  return [
    ...small.flatMap((shape) => forms.map((form) => ({ shape, form }))),
    ...(usual ? [...ROWS, ...LARGE].map((shape) => ({ shape, form: 'norm' as const })) : []),
  ]
}

export function* linearCases(activationType: ActivationType): Generator<Case> {
  for (const format of ALL_FORMATS) {
    const kind = kindOf(format)
    const small = kind.inputMultiple(format) === 1 ? SMALL : SMALL_GROUPED
    const isUsual = kind.usual.some((usual) => formatName(usual) === formatName(format))
    for (const { shape, form } of choices(small, isUsual)) {
      yield linearCase(format, activationType, shape, form)
    }
  }
}
