// Weights files of random tensors. They are written one after the other, in memory of a few megabytes.

import { replaceFile } from '../lib/weights/replace-file.js'

export const RANDOM_MODEL_DTYPES = ['float32', 'float16', 'bfloat16'] as const
export type RandomModelDtype = (typeof RANDOM_MODEL_DTYPES)[number]

export interface TensorPlan {
  name: string
  shape: number[]
  /** Normal numbers with this standard deviation, or one value for each element. */
  init: { deviation: number } | { value: (random: () => number) => number }
}

/** Norms and such. */
export const ONES = { value: () => 1 }

/** A_log: decays of -1 to -16 a unit of time. */
export const DECAY = { value: (random: () => number) => Math.log(1 + 15 * random()) }

/** dt_bias: the inverse of softplus at a step from 0.001 to 0.1, evenly in its logarithm. */
export const STEP_BIAS = {
  value: (random: () => number) => Math.log(Math.expm1(0.001 * 100 ** random())),
}

/** Of a depthwise convolution. */
export const taps = (width: number) => ({ deviation: 1 / Math.sqrt(3 * width) })

/** One whose outputs are as large as its inputs, times `scale`. */
export function matrix(name: string, rows: number, cols: number, scale = 1): TensorPlan {
  return { name, shape: [rows, cols], init: { deviation: scale / Math.sqrt(cols) } }
}

// Mulberry32: 32 bits a call, the same on every machine.
function randomWords(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

// Drawing from a table of 2^16 normal numbers is many times faster than computing each, and as good
// for weights that only have to be of the right size.
const TABLE_SIZE = 2 ** 16

function normalTable(words: () => number): Float64Array {
  const uniform = () => (words() + 0.5) / 2 ** 32
  return Float64Array.from(
    { length: TABLE_SIZE },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
}

type Elements = Float32Array | Uint16Array

/** The values as the file stores them. */
function encode(values: Float64Array, dtype: RandomModelDtype): Elements {
  if (dtype === 'float32') return Float32Array.from(values)
  return Uint16Array.from(values, dtype === 'float16' ? toFloat16 : toBfloat16)
}

const scratch = new DataView(new ArrayBuffer(4))

function toBfloat16(value: number): number {
  scratch.setFloat32(0, value)
  const bits = scratch.getUint32(0)
  // To nearest, ties to even; finite values only.
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Bits of IEEE 754 binary16; finite values only. */
export function toFloat16(value: number): number {
  const sign = value < 0 ? 0x8000 : 0
  const magnitude = Math.min(Math.abs(value), 65504)
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude)))
  const units = Math.round(magnitude / 2 ** (exponent - 10))
  return magnitude < 2 ** -25 ? sign : sign + (exponent + 14) * 1024 + units
}

const DTYPE_NAMES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }
const PIECE_ELEMENTS = 2 ** 19

export interface RandomModelOptions {
  /** Defaults to float32. */
  dtype?: RandomModelDtype
  /** Defaults to 0. */
  seed?: number
  /** Writes no numbers: all are 0 then, and the file takes next to no space. For what only asks for shapes. */
  zeros?: boolean
  onProgress?: (written: number, total: number) => void
}

/** Writes safetensors; returns the bytes of the file. The same plans, dtype and seed give the same bytes. */
export async function writeRandomTensors(
  path: string,
  plans: readonly TensorPlan[],
  { dtype = 'float32', seed = 0, zeros = false, onProgress }: RandomModelOptions = {},
): Promise<number> {
  const words = randomWords(seed)
  const table = normalTable(words)
  // Many tensors have the same deviation.
  const encoded = new Map<number, Elements>()
  const tableOf = (deviation: number) => {
    const known = encoded.get(deviation)
    if (known) return known
    const scaled = encode(
      table.map((x) => x * deviation),
      dtype,
    )
    encoded.set(deviation, scaled)
    return scaled
  }
  const elementBytes = dtype === 'float32' ? 4 : 2

  let end = 0
  const header: Record<string, object> = {}
  for (const { name, shape: dims } of plans) {
    const begin = end
    end += dims.reduce((product, d) => product * d, elementBytes)
    header[name] = { dtype: DTYPE_NAMES[dtype], shape: dims, data_offsets: [begin, end] }
  }
  const json = JSON.stringify(header)
  // The data begins at a multiple of 64.
  const text = Buffer.from(json + ' '.repeat((64 - ((8 + json.length) % 64)) % 64))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))

  await replaceFile(path, async (file) => {
    await file.writeFile(Buffer.concat([length, text]))
    let written = 0
    if (zeros) return file.truncate(8 + text.length + end)
    for (const { shape: dims, init } of plans) {
      const count = dims.reduce((product, d) => product * d, 1)
      const draw = drawer(init, tableOf, words, dtype)
      for (let first = 0; first < count; first += PIECE_ELEMENTS) {
        const piece = draw(Math.min(PIECE_ELEMENTS, count - first))
        await file.writeFile(new Uint8Array(piece.buffer))
        written += piece.byteLength
        onProgress?.(written, end)
      }
    }
  })
  return 8 + text.length + end
}

/** A function that gives the next elements of a tensor. */
function drawer(
  init: TensorPlan['init'],
  tableOf: (deviation: number) => Elements,
  words: () => number,
  dtype: RandomModelDtype,
): (count: number) => Elements {
  if ('value' in init) {
    const random = () => (words() + 0.5) / 2 ** 32
    return (count) =>
      encode(
        Float64Array.from({ length: count }, () => init.value(random)),
        dtype,
      )
  }
  const encoded = tableOf(init.deviation)
  return (count) => {
    const elements = dtype === 'float32' ? new Float32Array(count) : new Uint16Array(count)
    for (let i = 0; i < count; i += 2) {
      const word = words()
      elements[i] = encoded[word & 0xffff]!
      // Past the end for the last of an odd count, which a typed array ignores.
      elements[i + 1] = encoded[word >>> 16]!
    }
    return elements
  }
}
