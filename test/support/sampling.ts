// The buffers of operations that draw tokens, from sequences written out.

import { expect } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import type { SampleTensors } from '../../lib/operations/arguments.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import type { Context, SamplingSettings } from '../reference/sampling.js'
import { download, rowsOf, upload } from './arrays.js'
import { inSlots, slotsOf } from './slots.js'

/** In place of a token. */
export const EMPTY = 0xffffffff

/** A row of logits and what its slot has. */
export interface Sequence extends Context {
  logits: number[]
  settings: SamplingSettings
  position: number
  stops?: number[]
  remaining?: number
  keepsLogits?: boolean
}

/** Places of the history beyond those in use, and what stands there: a token that nothing must penalise. */
export const UNUSED = [1, 1]
/** In `kept` and `out` before. */
export const BEFORE = 6

/** Behind the biases in use. */
const UNUSED_BIAS = [0, bitsOf(1000)]

/** The bits of a float32. */
function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!
}

const pairsOf = (biases: Context['biases']) =>
  [...(biases ?? [])].flatMap(([token, bias]) => [token, bitsOf(bias)])

function countsOf(generated: readonly number[], vocabulary: number): number[] {
  const counts = new Array<number>(vocabulary).fill(0)
  for (const token of generated) counts[token]! += 1
  return counts
}

/** Words of a mask. */
function maskOf(allowed: ReadonlySet<number>, vocabulary: number): number[] {
  const words = new Uint32Array(Math.ceil(vocabulary / 32))
  for (const token of allowed) words[Math.floor(token / 32)]! |= 1 << (token % 32)
  return [...words]
}

const longest = (rows: number[][]) => Math.max(...rows.map((row) => row.length))
const padded = (rows: number[][], value: number) =>
  rows.flatMap((row) => [...row, ...new Array<number>(longest(rows) - row.length).fill(value)])

/** One row a sequence, in slots of another order between two that nobody names. */
export function sampleTensors(
  device: Device,
  sequences: Sequence[],
): SampleTensors & { logits: Tensor } {
  const batch = sequences.length
  const vocabulary = sequences[0]!.logits.length
  const places = slotsOf(batch)
  const perSlot = (dtype: 'float32' | 'uint32', values: number[], cols?: number) =>
    upload(
      device,
      dtype,
      cols === undefined ? [places.slots] : [places.slots, cols],
      inSlots(places, values),
    )
  const settings = sequences.flatMap(({ settings: s }) => [
    s.temperature,
    s.topP,
    s.minP,
    s.repetitionPenalty,
    s.presencePenalty,
    s.frequencyPenalty,
  ])
  const selection = sequences.flatMap(({ settings: s, recent, keepsLogits, biases, allowed }) => [
    s.topK,
    ...s.seed,
    recent.length,
    keepsLogits ? 1 : 0,
    biases?.size ?? 0,
    allowed ? 1 : 0,
    0,
  ])
  const counts = sequences.flatMap(({ generated = [] }) => countsOf(generated, vocabulary))
  const masks = sequences.flatMap(({ allowed }) => maskOf(allowed ?? new Set(), vocabulary))
  const biases = padded(
    sequences.map((s) => [...pairsOf(s.biases), ...UNUSED_BIAS]),
    EMPTY,
  )
  const histories = padded(
    sequences.map(({ recent }) => [...recent, ...UNUSED]),
    UNUSED[0]!,
  )
  const stops = padded(
    sequences.map((s) => [EMPTY, ...(s.stops ?? [])]),
    EMPTY,
  )
  return {
    logits: upload(
      device,
      'float32',
      [batch, vocabulary],
      sequences.flatMap((s) => s.logits),
    ),
    rows: upload(device, 'uint32', [batch], places.rows),
    settings: perSlot('float32', settings, 6),
    selection: perSlot('uint32', selection, 8),
    stops: perSlot('uint32', stops, stops.length / batch),
    biases: perSlot('uint32', biases, biases.length / batch),
    mask: perSlot('uint32', masks, masks.length / batch),
    counts: perSlot('uint32', counts, vocabulary),
    history: perSlot('uint32', histories, histories.length / batch),
    position: perSlot(
      'uint32',
      sequences.map((s) => s.position),
    ),
    remaining: perSlot(
      'uint32',
      sequences.map((s) => s.remaining ?? 9),
    ),
    kept: perSlot('float32', new Array(batch * vocabulary).fill(BEFORE), vocabulary),
    out: perSlot('uint32', new Array(batch).fill(BEFORE)),
    report: device.tensor('uint32', [batch, 2]),
  }
}

/** What the slots of the rows hold, one after another, flat; the other slots must hold what they did. */
export function ofRows(tensor: Tensor): number[] {
  const values = download(tensor)
  const { rows, slots } = slotsOf(tensor.shape[0]! - 2)
  const each = rowsOf(values, values.length / slots)
  const flat = rows.flatMap((slot) => each[slot]!)
  expect(values).toEqual(inSlots({ rows, slots }, flat))
  return flat
}
