// How each tensor of the new file is stored: in which type, or quantised.

import type { FileDtype } from '../weights/checkpoint.js'
import type { TensorData } from '../weights/safetensors.js'
import { floatTypeOf, type FloatType } from '../weights/float-types.js'
import { type Quantization, quantizedKind } from '../weights/formats/formats.js'
import { quantizedShapes } from '../weights/formats/quantized-weight.js'
import type { MlxForm } from '../models/families/mlx-form.js'
import type { PlannedTensor } from './plan.js'

/** A tensor and how it is stored. */
export interface Output {
  tensor: PlannedTensor
  /** Of its numbers; undefined for what is no float, and stays as it is. */
  type: FloatType | undefined
  quantization: Quantization | undefined
  /** What becomes of it in the file, by name. */
  parts: ReadonlyMap<string, Pick<TensorData, 'dtype' | 'shape'>>
}

/** What the caller asks for. */
export interface Wishes {
  dtype: FloatType | undefined
  quantize: Quantization | undefined
}

// A decay or the choice of experts is worth its float32: mlx-lm casts them in no family that has them so.
const KEPT = ['.A_log', '.expert_bias', '.e_score_correction_bias']

const EIGHT_BITS = { bits: 8, groupSize: 64 } as const satisfies Quantization

export function outputOf(
  tensor: PlannedTensor,
  wishes: Wishes,
  form: Pick<MlxForm, 'inEightBits' | 'inFloats'>,
): Output {
  const { name, module, shape, cols, pieces } = tensor
  const found = pieces[0]!.entry.dtype
  const own = floatTypeOf(found)
  const isKept = KEPT.some((end) => name.endsWith(end))
  const type = own && ((isKept ? undefined : wishes.dtype) ?? own)
  const quantization =
    type && module !== undefined ? quantizationOf(module, cols, wishes.quantize, form) : undefined
  if (!quantization) {
    const dtype: FileDtype = type ?? found
    return { tensor, type, quantization, parts: new Map([[name, { dtype, shape }]]) }
  }
  const outer = shape.slice(0, -1)
  const shapes = quantizedShapes(quantization, 1, cols)
  const scaleType: FileDtype = 'mode' in quantization ? 'uint8' : type!
  const groups = { dtype: scaleType, shape: [...outer, shapes.groups[1]] }
  const parts = new Map<string, Pick<TensorData, 'dtype' | 'shape'>>([
    [`${module}.weight`, { dtype: 'uint32', shape: [...outer, shapes.words[1]] }],
    [`${module}.scales`, groups],
  ])
  if (!('mode' in quantization)) parts.set(`${module}.biases`, groups)
  return { tensor, type, quantization, parts }
}

// As mlx-lm: what the group size asked for does not divide stays, whatever group size it would have.
function quantizationOf(
  module: string,
  cols: number,
  quantize: Quantization | undefined,
  { inEightBits = [], inFloats = [] }: Pick<MlxForm, 'inEightBits' | 'inFloats'>,
): Quantization | undefined {
  const isOneOf = (ends: readonly string[]) => ends.some((end) => module.endsWith(end))
  if (!quantize || isOneOf(inFloats)) return undefined
  const chosen = isOneOf(inEightBits) ? EIGHT_BITS : quantize
  return cols % quantize.groupSize === 0 && cols % chosen.groupSize === 0 ? chosen : undefined
}

/** What config.json says of it: the rule, and the modules that have something else. */
export function statedQuantization(quantize: Quantization, outputs: readonly Output[]) {
  const others = outputs.flatMap(({ tensor, quantization }) =>
    quantization === EIGHT_BITS ? [[tensor.module!, { group_size: 64, bits: 8 }] as const] : [],
  )
  const { bits, groupSize } = quantize
  const { mode } = quantizedKind(quantize)
  return { group_size: groupSize, bits, mode, ...Object.fromEntries(others) }
}
