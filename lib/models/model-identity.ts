// Which model a state belongs to: its configuration, the names and shapes of its tensors and some of their
// bytes. Whoever moves, splits or maps the files has the same model.

import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { formatCount } from '../support/format.js'
import type { Checkpoint } from './checkpoint.js'
import { bitsPerElement, type TensorEntry } from '../weights/checkpoint.js'
import { FileReader } from '../weights/file-reader.js'
import { parameterCount } from '../weights/parameters.js'
import { quantizedKind } from '../weights/formats/formats.js'
import type { WeightWishes } from '../weights/planned-format.js'

export interface ModelIdentity {
  /** SHA-256 in hexadecimal digits. */
  hash: string
  /** For people: 'rene, 1.33 B parameters, 4-bit'. */
  description: string
}

// Training changes every tensor all over, and whoever changes a few numbers by hand is warned in the docs.
const PLACES = 4
/** Bytes at each place. */
const SAMPLE = 64
// A multiple of every element's size, so that a place holds the same elements however they lie in the file.
const ALIGNMENT = 16
/** Tensors that are sampled before others have their turn. */
const BATCH = 16

/**
 * Which model `checkpoint` is when it is loaded with these wishes. Equal for the same weights in another
 * folder, in shards or in another order; different for another configuration, other weights (as far as the
 * sampled bytes show it) or another quantisation. Reads a few bytes of each tensor.
 *
 * @throws CorruptFileError if a file has shrunk; the errors of `fs` if one cannot be read.
 *
 * @example
 * const { hash, description } = await modelIdentity(await openCheckpoint('rene'), {})
 */
export async function modelIdentity(
  checkpoint: Checkpoint,
  wishes: WeightWishes,
): Promise<ModelIdentity> {
  const { config, tensors } = checkpoint
  const samples = await sampleTensors([...tensors.values()])
  const hash = createHash('sha256')
  hash.update(canonicalJson({ config, quantize: wishes.quantize ?? null }))
  for (const name of [...tensors.keys()].sort()) {
    const { dtype, shape } = tensors.get(name)!
    hash.update(canonicalJson([name, dtype, shape]))
    for (const sample of samples.get(name)!) hash.update(sample)
  }
  return { hash: hash.digest('hex'), description: describeModel(checkpoint, wishes) }
}

function describeModel(checkpoint: Checkpoint, { quantize }: WeightWishes): string {
  const { config, names, tensors } = checkpoint
  const quantization = quantize ?? config.quantization
  const weights = quantization
    ? quantizedKind(quantization).bitsNameOf(quantization)
    : tensors.get(`${names.embedding}.weight`)?.dtype
  const parameters = `${formatCount(parameterCount(checkpoint))} parameters`
  return [config.architecture, parameters, ...(weights ? [weights] : [])].join(', ')
}

/** JSON with the keys of every object in order, and numbers that JSON does not have as texts. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'number' && !Number.isFinite(part)) return String(part)
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

async function sampleTensors(entries: readonly TensorEntry[]): Promise<Map<string, Buffer[]>> {
  const samples = new Map<string, Buffer[]>()
  for (const path of new Set(entries.map(({ file }) => file))) {
    await FileReader.use(path, async (file) => {
      for (const entry of entries) {
        if (entry.file !== path) continue
        const places = placesOf(entry).map(([offset, length]) =>
          file.readNow(entry.byteOffset + offset, length, `tensor ${entry.name}`),
        )
        samples.set(entry.name, places)
        // A disk may be slow, and others have something to do meanwhile.
        if (samples.size % BATCH === 0) await nextTurn()
      }
    })
  }
  return samples
}

/** Pieces of a tensor, in bytes from its first element; together the same elements whatever its strides. */
function placesOf(entry: TensorEntry): [offset: number, length: number][] {
  const { shape, strides, byteLength } = entry
  if (!strides) return placesIn(byteLength)
  const size = bitsPerElement(entry.dtype) / 8
  const count = shape.reduce((product, dimension) => product * dimension, 1)
  return placesIn(count * size).flatMap(([offset, length]) =>
    Array.from({ length: length / size }, (_, i): [number, number] => {
      return [elementAt(offset / size + i, shape, strides) * size, size]
    }),
  )
}

function placesIn(bytes: number): [offset: number, length: number][] {
  if (bytes <= PLACES * SAMPLE) return [[0, bytes]]
  return Array.from({ length: PLACES }, (_, place) => {
    const offset = (place / (PLACES - 1)) * (bytes - SAMPLE)
    return [Math.floor(offset / ALIGNMENT) * ALIGNMENT, SAMPLE]
  })
}

/** Where the element of this number in row-major order lies, in elements. */
function elementAt(number: number, shape: readonly number[], strides: readonly number[]): number {
  let rest = number
  let position = 0
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position += (rest % shape[axis]!) * strides[axis]!
    rest = Math.floor(rest / shape[axis]!)
  }
  return position
}
