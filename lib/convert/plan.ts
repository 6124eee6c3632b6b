// What a conversion writes: for each tensor of the new file its name and shape, which rows of which tensors of the
// checkpoint it consists of, and what is done to their numbers on the way.

import { CorruptFileError } from '../support/errors.js'
import type { Checkpoint } from '../models/checkpoint.js'
import type { MlxForm } from '../models/families/mlx-form.js'
import { matrixPaths } from '../models/matrix-paths.js'
import type { TensorEntry } from '../weights/checkpoint.js'
import type { Factor } from '../weights/loader.js'

/** Rows of a tensor, all of whose dimensions but the last are rows; each element of a vector is one. */
export interface Piece {
  entry: TensorEntry
  first: number
  count: number
}

/** A tensor of the new file, before it is quantised. */
export interface PlannedTensor {
  name: string
  /** The name without `.weight`, of a matrix that may be quantised. */
  module?: string
  shape: readonly number[]
  cols: number
  /** Their rows follow one another. */
  pieces: readonly Piece[]
  /** What rows are multiplied by, and what is added to every number. */
  factor: Factor
  added: number
}

/** A tensor on its way: of the matrices of experts each is one, `index` says which. */
interface Moved {
  name: string
  shape: readonly number[]
  pieces: Piece[]
  index?: number
}

/** The tensors of the new file, in the order of the old one. Without `mlx` their names and layout stay. Throws for a layout that is not converted. */
export function planTensors(checkpoint: Checkpoint, mlx: MlxForm | undefined): PlannedTensor[] {
  const { tensors, names, config } = checkpoint
  const matrices = new Set(matrixPaths(checkpoint))
  const planned = new Map<string, PlannedTensor & { indices: number[] }>()
  for (const entry of tensors.values()) {
    const isMatrix = matrices.has(moduleOf(entry.name))
    for (const moved of mlx ? movedBy(mlx, checkpoint, entry) : [asItIs(entry)]) {
      const { name, shape, pieces, index } = moved
      const there = planned.get(name)
      if (there) {
        addExpert(there, moved)
        continue
      }
      planned.set(name, {
        name,
        ...(isMatrix && shape.length >= 2 && { module: moduleOf(name) }),
        shape: index === undefined ? shape : [1, ...shape],
        cols: colsOf(shape),
        pieces,
        factor: mlx?.factors?.get(entry.name) ?? 1,
        added: mlx?.added?.to.some((end) => name.endsWith(end)) ? mlx.added.value : 0,
        indices: index === undefined ? [] : [index],
      })
    }
  }
  if (mlx?.hasOwnHead && config.tieEmbeddings) {
    const embedding = planned.get(`${mlx.names.embedding}.weight`)
    const module = mlx.names.head
    if (embedding) planned.set(names.head, { ...embedding, name: `${module}.weight`, module })
  }
  return [...planned.values()].map(({ indices, ...tensor }) => stacked(tensor, indices))
}

const moduleOf = (name: string): string => name.replace(/\.(?:weight|bias)$/, '')

const colsOf = (shape: readonly number[]): number => (shape.length < 2 ? 1 : shape.at(-1)!)

/** Elements of all dimensions but the last; of a vector all. */
function rowsIn(shape: readonly number[]): number {
  const dimensions = shape.length < 2 ? shape : shape.slice(0, -1)
  return dimensions.reduce((product, dimension) => product * dimension, 1)
}

function asItIs(entry: TensorEntry): Moved {
  const { name, shape } = entry
  return { name, shape, pieces: [{ entry, first: 0, count: rowsIn(shape) }] }
}

/** The tensors that one of the checkpoint becomes, or is a part of. */
function movedBy(mlx: MlxForm, checkpoint: Checkpoint, entry: TensorEntry): Moved[] {
  const whole = asItIs(entry)
  const name = placed(mlx, checkpoint, entry.name)
  const { shape } = entry
  if (name.endsWith(mlx.taps)) {
    const taps = turned(shape)
    return [{ name, shape: taps, pieces: [{ entry, first: 0, count: rowsIn(taps) }] }]
  }
  const [module, part] = [moduleOf(name), name.slice(moduleOf(name).length)]
  for (const [from, to] of mlx.parted ?? []) {
    if (!module.endsWith(`.${from}`)) continue
    const start = module.slice(0, -from.length)
    return to.map((each, i) => partOf(whole, `${start}${each}${part || '.weight'}`, i, to.length))
  }
  for (const [from, to] of mlx.renamed ?? []) {
    const [before, after = ''] = from.split('*')
    const match = from.includes('*')
      ? new RegExp(`^(.*\\.)${escaped(before!)}(\\d+)${escaped(after)}$`).exec(module)
      : module.endsWith(`.${from}`) && [module, module.slice(0, -from.length), undefined]
    if (!match) continue
    const index = match[2] === undefined ? {} : { index: Number(match[2]) }
    return [{ ...whole, ...index, name: `${match[1]}${to}${part || '.weight'}` }]
  }
  return [{ ...whole, name }]
}

const escaped = (text: string): string => text.replace(/[.*]/g, '\\$&')

/** A name, where what stands before layers, and what is not in one, is called as mlx-lm calls it. */
function placed({ names: theirs }: MlxForm, { names }: Checkpoint, name: string): string {
  if (name === names.finalNorm) return theirs.finalNorm
  const module = moduleOf(name)
  const part = name.slice(module.length)
  if (module === names.embedding) return theirs.embedding + part
  if (module === names.head) return theirs.head + part
  return name.startsWith(`${names.block}.`) ? theirs.block + name.slice(names.block.length) : name
}

/** Taps (C, 1, K) or (C, K) as (C, K, 1), which lie in the same order. */
function turned(shape: readonly number[]): readonly number[] {
  const [channels, inner, last] = shape
  return last === undefined || inner === 1 ? [channels!, last ?? inner!, 1] : shape
}

/** Of each matrix in a tensor so many of the rows. */
function partOf({ shape, pieces }: Moved, name: string, index: number, parts: number): Moved {
  const { entry } = pieces[0]!
  const rows = shape.at(-2)!
  if (shape.length < 2 || rows % parts !== 0 || entry.strides) {
    throw new CorruptFileError(`${entry.file}: tensor ${entry.name} has no ${parts} equal parts`)
  }
  const count = rows / parts
  const matrices = rowsIn(shape) / rows
  return {
    name,
    shape: [...shape.slice(0, -2), count, shape.at(-1)!],
    pieces: Array.from({ length: matrices }, (_, i) => ({
      entry,
      first: i * rows + index * count,
      count,
    })),
  }
}

function addExpert(
  tensor: PlannedTensor & { indices: number[] },
  { name, shape, pieces, index }: Moved,
): void {
  const { entry } = pieces[0]!
  const isLike = String(tensor.shape.slice(1)) === String(shape)
  if (index === undefined || tensor.indices.includes(index) || !isLike) {
    throw new CorruptFileError(`${entry.file}: tensor ${entry.name} cannot be a part of ${name}`)
  }
  tensor.pieces = [...tensor.pieces, ...pieces]
  tensor.indices.push(index)
}

/** The matrices of experts in their order. */
function stacked(tensor: PlannedTensor, indices: readonly number[]): PlannedTensor {
  if (indices.length === 0) return tensor
  const missing = [...indices.keys()].find((index) => !indices.includes(index))
  if (missing !== undefined) {
    throw new CorruptFileError(
      `${tensor.pieces[0]!.entry.file}: the matrix of expert ${missing} in ${tensor.name} is missing`,
    )
  }
  const pieces = [...indices.keys()].map((index) => tensor.pieces[indices.indexOf(index)]!)
  return { ...tensor, shape: [indices.length, ...tensor.shape.slice(1)], pieces }
}
