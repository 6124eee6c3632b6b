// The weight formats that there are.

import { affine } from './affine.js'
import type { FormatKind, QuantizedKind, StatedQuantization } from './format.js'
import { plain } from './plain.js'
import { mxfp4, nvfp4 } from './small-floats.js'

// The table.
const QUANTIZED_KINDS = [affine, mxfp4, nvfp4] as const
export const FORMAT_KINDS = [plain, ...QUANTIZED_KINDS] as const

/** How a matrix of weights lies in memory. */
export type WeightFormat = (typeof FORMAT_KINDS)[number]['all'][number]

/** Quantised weights, as a configuration states them. */
export type Quantization = ReturnType<(typeof QUANTIZED_KINDS)[number]['read']>

export const ALL_FORMATS: readonly WeightFormat[] = FORMAT_KINDS.flatMap<WeightFormat>(
  ({ all }) => all,
)

/** The kind of a format, which knows all about it. */
export function kindOf({ kind }: WeightFormat): FormatKind<WeightFormat> {
  return FORMAT_KINDS.find((candidate) => candidate.kind === kind)!
}

/** For example `float16`, or `4-bit g64 float16`. */
export function formatName(format: WeightFormat): string {
  return kindOf(format).nameOf(format)
}

/** How configurations and people name the kinds of quantised formats. */
export const QUANTIZATION_MODES = QUANTIZED_KINDS.map(({ mode }) => mode)

/** What MLX gives to an object of this mode that leaves something out. */
export function quantizationDefaults(mode: string) {
  return QUANTIZED_KINDS.find((kind) => kind.mode === mode)!.defaults
}

/** Reads what an object of a configuration states in this mode. Throws for what is not implemented. */
export function readQuantization(mode: string, object: StatedQuantization): Quantization {
  return QUANTIZED_KINDS.find((kind) => kind.mode === mode)!.read(object)
}

/** The kind of formats that a configuration states. Without a mode it is affine. */
export function quantizedKind(
  quantization: Quantization & { mode?: string },
): QuantizedKind<WeightFormat, Quantization> {
  const mode = quantization.mode ?? affine.mode
  return QUANTIZED_KINDS.find((kind) => kind.mode === mode)!
}

/** Last parts of the names of all tensors that matrices consist of, in any format. */
export const MATRIX_PARTS = [...new Set(FORMAT_KINDS.flatMap(({ parts }) => parts))]

/** Whether a file holds the matrix of this module quantised: whatever the format, it has scales then. */
export function isQuantized(tensors: ReadonlyMap<string, unknown>, path: string): boolean {
  return tensors.has(`${path}.scales`)
}
