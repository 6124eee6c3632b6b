// Random sequences in pages of keys and values, and their tensors.

import type { ActivationType, Device } from '../../lib/operations/device.js'
import { type KvPages, NO_PAGE, PAGE_SIZE } from '../../lib/operations/arguments.js'
import { attendHeads, headsOf, type Turn, turned } from '../reference/paged-attention.js'
import { type Layout, LAYOUTS, rounded, seededNormals, unwritten, upload } from './arrays.js'
import { slotsOf } from './slots.js'

export interface PagedShape {
  /** Tokens that each sequence has seen before. */
  positions: readonly number[]
  heads: number
  kvHeads: number
  headDim: number
  scale?: number
  gated?: boolean
  /** Norms of q and k. */
  normed?: boolean
  rotaryDim?: number
  interleaved?: boolean
  attentionFactor?: number
  /** Of keys and values. */
  stored?: ActivationType
  /** All sequences begin with the same full pages, and share them. */
  shared?: boolean
}

export const EPS = 1e-3

/** Ways in which inputs may come and types of pages, so that each type meets each other once. */
export const LAYOUTS_AND_PAGES = LAYOUTS.flatMap(({ layout, ...rest }) => {
  const stored: readonly ActivationType[] =
    rest.dtype === 'float16'
      ? ['float32', 'float16']
      : [layout === 'rows together' ? 'float32' : 'float16']
  return stored.map((stored) => ({ ...rest, stored, layout: `${stored} in pages, ${layout}` }))
})

export interface PagedCase {
  shape: PagedShape
  length: number
  dtype: ActivationType
  stored: ActivationType
  /** Of the new tokens, flat. */
  q: number[]
  k: number[]
  v: number[]
  qTurn: Turn
  kTurn: Turn
  /** Rows of keys and values of each sequence before the new tokens, as they are stored. */
  past: { keys: number[][]; values: number[][] }[]
}

/** Of sequences with `length` new tokens each. */
export function randomPaged(
  shape: PagedShape,
  length: number,
  dtype: ActivationType = 'float32',
): PagedCase {
  const { positions, heads, kvHeads, headDim, gated, normed, rotaryDim, shared } = shape
  const stored = shape.stored ?? dtype
  const normals = seededNormals(heads + headDim + length)
  const cols = kvHeads * headDim
  const tokens = (width: number) => rounded(normals(positions.length * length * width), dtype)
  const past = positions.map((position) => {
    const rows = () => Array.from({ length: position }, () => rounded(normals(cols), stored))
    return { keys: rows(), values: rows() }
  })
  if (shared) {
    const full = Math.min(...positions.map((p) => Math.floor(p / PAGE_SIZE))) * PAGE_SIZE
    for (const each of past) {
      each.keys.splice(0, full, ...past[0]!.keys.slice(0, full))
      each.values.splice(0, full, ...past[0]!.values.slice(0, full))
    }
  }
  const turn: Turn = {
    frequencies: rotaryDim
      ? Array.from({ length: rotaryDim / 2 }, (_, i) => Math.fround(100 ** ((-2 * i) / rotaryDim)))
      : undefined,
    attentionFactor: shape.attentionFactor,
    interleaved: shape.interleaved,
    eps: normed ? EPS : undefined,
  }
  const norm = () => (normed ? normals(headDim, 0.5).map((x) => Math.fround(1 + x)) : undefined)
  return {
    shape,
    length,
    dtype,
    stored,
    q: tokens(heads * headDim * (gated ? 2 : 1)),
    k: tokens(cols),
    v: tokens(cols),
    qTurn: { ...turn, norm: norm() },
    kTurn: { ...turn, norm: norm() },
    past,
  }
}

/** Query heads of new token t of sequence b, as they come, and the numbers of its gates. */
function queryOf({ shape, length, q, qTurn }: PagedCase, b: number, t: number) {
  const { positions, heads, headDim, gated } = shape
  const cols = q.length / (positions.length * length)
  const parts = headsOf(q.slice((b * length + t) * cols, (b * length + t + 1) * cols), headDim)
  const queries = parts.filter((_, i) => !gated || i % 2 === 0)
  const gates = gated ? parts.filter((_, i) => i % 2 === 1).flat() : undefined
  if (queries.length !== heads) throw new Error('not so many heads')
  return { queries: queries.map((head) => turned(head, positions[b]! + t, qTurn)), gates }
}

/** Rows of keys and values of sequence b after its new tokens, as they are stored. */
export function storedRows(given: PagedCase, b: number): { keys: number[][]; values: number[][] } {
  const { shape, length, k, v, kTurn, past, stored } = given
  const { positions, kvHeads, headDim } = shape
  const cols = kvHeads * headDim
  const keys = [...past[b]!.keys]
  const values = [...past[b]!.values]
  for (let t = 0; t < length; t++) {
    const row = (all: number[]) => all.slice((b * length + t) * cols, (b * length + t + 1) * cols)
    const key = headsOf(row(k), headDim).flatMap((x) => turned(x, positions[b]! + t, kTurn))
    keys.push(rounded(key, stored))
    values.push(rounded(row(v), stored))
  }
  return { keys, values }
}

/** What attention gives for the new tokens of all sequences, flat. */
export function expectedOut(given: PagedCase): number[] {
  const { positions, headDim, scale = headDim ** -0.5 } = given.shape
  return positions.flatMap((position, b) => {
    const { keys, values } = storedRows(given, b)
    return Array.from({ length: given.length }, (_, t) => {
      const { queries, gates } = queryOf(given, b, t)
      const seen = position + t + 1
      return attendHeads(queries, keys.slice(0, seen), values.slice(0, seen), { scale, gates })
    }).flat()
  })
}

/** Which pages the sequences have, not in order; between them are pages of nobody. */
function pageIds({ shape, length }: PagedCase): { ids: number[][]; count: number } {
  const { positions, shared } = shape
  const full = shared ? Math.min(...positions.map((p) => Math.floor(p / PAGE_SIZE))) : 0
  let count = 1
  const needed = positions.map((position) => Math.ceil((position + length) / PAGE_SIZE))
  const ids = needed.map((pages, b) =>
    Array.from({ length: pages }, (_, i) => (b > 0 && i < full ? -1 : count++)).reverse(),
  )
  for (const each of ids.slice(1)) {
    const own = each.filter((id) => id >= 0)
    each.splice(0, each.length, ...ids[0]!.slice(0, full), ...own)
  }
  return { ids, count: count + 1 }
}

/** Pages that hold these rows of each sequence, flat; NaN where there are none. */
export function pagesWith(given: PagedCase, rowsOf: (b: number) => number[][]): number[] {
  const cols = given.shape.kvHeads * given.shape.headDim
  const { ids, count } = pageIds(given)
  const pages = new Array<number>(count * PAGE_SIZE * cols).fill(NaN)
  for (const [b, own] of ids.entries()) {
    for (const [t, row] of rowsOf(b).entries()) {
      const at = own[Math.floor(t / PAGE_SIZE)]! * PAGE_SIZE + (t % PAGE_SIZE)
      for (const [c, x] of row.entries()) pages[at * cols + c] = x
    }
  }
  return pages
}

/** Tensors of pages that hold these rows of each sequence. Slots are those of `slotsOf`. */
export function pagedTensors(
  device: Device,
  given: PagedCase,
  rowsOf: (b: number) => { keys: number[][]; values: number[][] },
): KvPages {
  const { positions, kvHeads, headDim } = given.shape
  const { ids, count } = pageIds(given)
  const { slots, rows } = slotsOf(positions.length)
  const width = Math.max(...ids.map(({ length }) => length)) + 1
  const table = new Array<number>(slots * width).fill(NO_PAGE)
  for (const [b, own] of ids.entries()) {
    for (const [i, id] of own.entries()) table[rows[b]! * width + i] = id
  }
  const paged = (of: 'keys' | 'values') =>
    upload(
      device,
      given.stored,
      [count, PAGE_SIZE, kvHeads * headDim],
      pagesWith(given, (b) => rowsOf(b)[of]),
    )
  return {
    keys: paged('keys'),
    values: paged('values'),
    pages: upload(device, 'uint32', [slots, width], table),
    position: upload(device, 'uint32', [positions.length], positions),
    rows: upload(device, 'uint32', [positions.length], rows),
  }
}

/** Tensors of `pagedAttentionDecode`. */
export function decodeTensors(device: Device, given: PagedCase, place: Layout['place']) {
  const { positions, heads, kvHeads, headDim, gated } = given.shape
  const batch = positions.length
  const weight = (values: number[] | undefined) =>
    values && upload(device, 'float32', [values.length], values)
  return {
    ...pagedTensors(device, given, (b) => given.past[b]!),
    q: place(device, [batch, heads * headDim * (gated ? 2 : 1)], given.q),
    k: place(device, [batch, kvHeads * headDim], given.k),
    v: place(device, [batch, kvHeads * headDim], given.v),
    qNorm: weight(given.qTurn.norm),
    kNorm: weight(given.kTurn.norm),
    frequencies: weight(given.qTurn.frequencies),
    out: unwritten(device, [batch, heads * headDim], given.dtype),
  }
}

/** Tensors of `pagedAttentionPrefill`. */
export function prefillTensors(device: Device, given: PagedCase, place: Layout['place']) {
  const { positions, heads, headDim, gated } = given.shape
  const leading = [positions.length, given.length]
  return {
    ...pagedTensors(device, given, (b) => storedRows(given, b)),
    q: place(device, [...leading, heads * headDim * (gated ? 2 : 1)], given.q),
    out: unwritten(device, [...leading, heads * headDim], given.dtype),
  }
}

/** Options of `pagedAttentionDecode`. */
export function decodeOptions({ shape, qTurn }: PagedCase) {
  const { headDim, scale, gated, interleaved, attentionFactor } = shape
  return { headDim, scale, gated, eps: qTurn.eps, interleaved, attentionFactor }
}
