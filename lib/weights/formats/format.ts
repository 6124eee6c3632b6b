// What a weight format is. Each has a file of its own in this folder, with all that lib knows about it, and a line in
// the table of formats.ts. Formats are plain data, so that another process can be told of them; `kind` names the file.

import type { EmbeddingOptions, ExpertsOptions, LinearOptions } from '../../operations/arguments.js'
import type { Recorder } from '../../operations/recorder.js'
import type { OperationName } from '../../operations/recorder.js'
import type { DType, Tensor, TensorData } from '../../operations/tensor.js'
import type { FileDtype, TensorEntry } from '../checkpoint.js'
import type { WeightStore } from '../store.js'

/** Puts row `row` into `target`, which has as many elements as the weight has columns. */
export type ReadRow = (row: number, target: Float64Array) => void

/** A matrix (outputs, inputs) on a device, which multiplies activations or is looked up row by row. */
export interface Weight {
  /** Bytes on the device. */
  readonly byteSpan: number
  /** out = x · weightᵀ, and what else the options say. */
  multiply(cl: Recorder, x: Tensor, out: Tensor, options: LinearOptions): void
  /** out = x · weightᵀ of the experts that each token has chosen, whose rows follow one another. */
  multiplyExperts(
    cl: Recorder,
    x: Tensor,
    chosen: Tensor,
    out: Tensor,
    options: ExpertsOptions,
  ): void
  /** The rows from `first` on, of the same memory. */
  rowsFrom(first: number): Weight
  /** out = the rows at the token ids, times what the options say. */
  lookUp(cl: Recorder, tokens: Tensor, out: Tensor, options?: EmbeddingOptions): void
  /** out = all of it, float32. Only quantised weights have it. */
  dequantize?(cl: Recorder, out: Tensor): void
  /**
   * Reads all of it on the host, and then hands out its rows: a second reading of the format, which shares nothing
   * with the code of any device.
   */
  readRows(): ReadRow
}

/** All formats of one kind, such as affine ones of any number of bits. */
export interface FormatKind<Format extends { kind: string }> {
  readonly kind: Format['kind']
  /** Every format of the kind. */
  readonly all: readonly Format[]
  /** Those that models are published in, the largest first: they are measured, and verified in more shapes. */
  readonly usual: readonly Format[]
  /** Last parts of the names of the tensors that a matrix consists of in a file. */
  readonly parts: readonly string[]
  /** The operation that `multiply` records. */
  readonly product: OperationName
  /** For people: `float16`, `4-bit g64 float16`. */
  nameOf(format: Format): string
  /** Shorter, for usual formats: `float16`, `4-bit g64`. */
  labelOf(format: Format): string
  /** What the number of inputs must be a multiple of. */
  inputMultiple(format: Format): number
  /** Bytes of a matrix. */
  bytesOf(format: Format, rows: number, cols: number): number
  /** Brings a float matrix of a file to a device, converted where need be. Absent where floats are not converted. */
  fromFloats?(entry: TensorEntry, format: Format, store: WeightStore): Promise<Weight>
  /** A weight of made-up numbers whose products with x are about as large as x. */
  sample(format: Format, source: SampleSource, rows: number, cols: number): Weight
}

/** Quantised formats, which files hold matrices in and configurations state. */
export interface QuantizedKind<Format extends { kind: string }, Stated> extends FormatKind<Format> {
  /** The `mode` that MLX calls it. */
  readonly mode: string
  /** What MLX gives to an object of a configuration that leaves something out. */
  readonly defaults: { readonly bits: number; readonly group_size: number }
  /** Reads what an object of a configuration states. Throws for what is not implemented. */
  read(object: StatedQuantization): Stated
  /** Undefined when the scales are of another type than the format has. */
  formatOf(stated: Stated, scales: FileDtype): Format | undefined
  /** Checks the tensors of a matrix and brings them to a device. */
  load(files: MatrixFiles, stated: Stated): Promise<Weight>
  /** For people, in a word: `4-bit`. */
  bitsNameOf(stated: Stated): string
  /** For people: `4 bits`. */
  bitsInWords(stated: Stated): string
  /** The inputs that it can quantise, in terms of the option `quantize`: `inputs that groupSize 64 divides`. */
  inputsInWords(stated: Stated): string
  /** For a column of a table: `q4 g64`. */
  shortNameOf(stated: Stated): string
  /** For people: `4 bits, groups of 64`. */
  describe(stated: Stated): string
}

/** An object of a configuration, which throws for values that are none of those implemented. */
export interface StatedQuantization {
  only<T extends string | number>(key: string, implemented: readonly T[]): T
}

/** The tensors that a matrix (rows, cols) consists of in a file. */
export interface MatrixFiles {
  readonly rows: number
  readonly cols: number
  readonly store: WeightStore
  /** Throws for a matrix that the format cannot hold: `has 100 inputs, which …`. */
  fail(problem: string): never
  /** The tensor whose name has this last part. Throws when it is missing. */
  part(name: string): TensorEntry
  /** Throws unless the tensor is of one of these types. */
  expectType(entry: TensorEntry, types: readonly string[]): void
  expectShape(entry: TensorEntry, shape: readonly number[]): void
}

/** A stream of random numbers. */
export interface Random {
  /** From -1 to 1. */
  number(): number
  /** 32 bits. */
  bits(): number
}

/** Where the made-up numbers of a weight come from that is verified or measured. */
export interface SampleSource {
  /** Whether a device may round the weight's values to float16, so that they must be values that float16 holds. */
  readonly roundsToHalf: boolean
  /** Up to `count` numbers; `tensor` repeats them where they are fewer. */
  draw<T extends TensorData>(
    array: new (length: number) => T,
    count: number,
    next: (random: Random) => number,
  ): T
  /** A tensor with these values, floats rounded to its type. */
  tensor(dtype: DType, shape: readonly number[], values: TensorData): Tensor
}
