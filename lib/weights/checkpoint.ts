// What every reader of a checkpoint format returns: where each tensor lies in which file. No reader
// loads tensor data; whoever loads a model maps the files and uses these positions.

/** Element types whose size is known. Only some can be computed with; the rest is described. */
export type KnownDtype = keyof typeof DTYPE_BITS

/** Element types that a file may declare; one that is not known here is the file's word for it, in quotes. */
export type FileDtype = KnownDtype | `"${string}"`

// Bits per element. Below 8 because safetensors packs its 4- and 6-bit floats without gaps.
const DTYPE_BITS = {
  bool: 8,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  uint32: 32,
  int32: 32,
  uint64: 64,
  int64: 64,
  float16: 16,
  bfloat16: 16,
  float32: 32,
  float64: 64,
  complex64: 64,
  float8_e4m3: 8,
  float8_e5m2: 8,
  float8_e8m0: 8,
  float6_e2m3: 6,
  float6_e3m2: 6,
  float4: 4,
} as const

/** Bits per element; NaN for a type that is not known here. */
export function bitsPerElement(dtype: FileDtype): number {
  return DTYPE_BITS[dtype as KnownDtype] ?? Number.NaN
}

/** One tensor and where its elements are. Every reader has checked that they lie inside the file. */
export interface TensorEntry {
  name: string
  dtype: FileDtype
  /** Elements per dimension, outermost first. Empty for a scalar. */
  shape: readonly number[]
  /** In elements, outermost first; absent when the tensor is contiguous and row-major. */
  strides?: readonly number[]
  /** Absolute path. */
  file: string
  /** Bytes from the start of the file. Formats promise no alignment, not even the element's own. */
  byteOffset: number
  /** Bytes from the first element to the end of the last one, gaps between strides included. */
  byteLength: number
  /** Tensors whose rows follow one another in this one, which lies in no one place: its offset means nothing then. */
  pieces?: readonly TensorEntry[]
}

/** Rows of a tensor from `first` on, where they lie. They must be there. */
export function rowsOf(
  entry: TensorEntry,
  { first, count }: { first: number; count: number },
): TensorEntry {
  const { strides, dtype } = entry
  const shape = [count, ...entry.shape.slice(1)]
  const size = bitsPerElement(dtype) / 8
  const elementsOf = (dimensions: readonly number[]) => dimensions.reduce((a, b) => a * b, 1)
  const rowStride = strides?.[0] ?? elementsOf(shape.slice(1))
  const elements = strides
    ? shape.reduce((last, dimension, axis) => last + (dimension - 1) * strides[axis]!, 1)
    : elementsOf(shape)
  return {
    ...entry,
    shape,
    byteOffset: entry.byteOffset + first * rowStride * size,
    byteLength: elements * size,
  }
}

/** The tensors of one checkpoint, which may span several files. */
export interface CheckpointFile {
  tensors: Map<string, TensorEntry>
  /** The format's own string table (safetensors `__metadata__`); has no prototype. */
  metadata: Record<string, string>
}

/**
 * The number of elements of a shape, or undefined where it exceeds what a double holds exactly.
 * Every partial product must fit too, so a zero dimension cannot hide an absurd one.
 */
export function safeElementCount(shape: readonly number[]): number | undefined {
  let count = 1
  let extent = 1
  for (const dim of shape) {
    count *= dim
    extent *= Math.max(dim, 1)
    if (!Number.isSafeInteger(extent)) return undefined
  }
  return count
}

/** Whether `value` can be a dimension, offset or length: an integer from 0 to 2^53 - 1. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
