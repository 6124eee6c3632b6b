// Where tests put the state of the rows of a batch: into more slots than rows, in another order.

import { expect } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import { NO_SLOT } from '../../lib/operations/arguments.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { rowsOf, runOnce } from './arrays.js'

export interface Slots {
  slots: number
  /** The slot of each row. */
  rows: number[]
}

/** What a slot holds that no row has; exact in every float type. */
const UNNAMED = 5

/** Slots for the rows of a batch: from the last row to the first, between two slots that nobody names. */
export function slotsOf(batch: number): Slots {
  return { slots: batch + 2, rows: Array.from({ length: batch }, (_, b) => batch - b) }
}

/** What the rows hold, flat (batch, …), as a tensor (slots, …) holds it. */
export function inSlots({ slots, rows }: Slots, values: readonly number[]): number[] {
  const cols = values.length / rows.length
  const each = rowsOf(values, cols)
  return Array.from({ length: slots }, (_, slot) => slot).flatMap(
    (slot) => each[rows.indexOf(slot)] ?? new Array<number>(cols).fill(UNNAMED),
  )
}

/** Numbers that are no slot, and null for a row that keeps its own; taken in turn by the rows. */
const WITHOUT: ((slots: number) => (number | null)[])[] = [
  () => [NO_SLOT],
  (slots) => [slots, null],
  (slots) => [null, slots + 1, NO_SLOT],
  () => [null, null, NO_SLOT - 1, null],
]

const bytesOf = (tensor: Tensor) => Buffer.from(tensor.read().buffer)

/** The bytes of a tensor in so many equal parts. */
function partsOf(bytes: Buffer, count: number): string[] {
  const size = bytes.length / count
  return Array.from({ length: count }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size).toString('hex'),
  )
}

/**
 * Expects that rows whose number is no slot leave state and results as they were, to the bit, and that the
 * other rows do what they do beside rows that have one. `make` gives tensors that hold the same every time;
 * those of `state` are (slots, …), those of `results` (batch, …).
 */
export async function expectRowsWithoutSlotDoNothing<T extends { rows: Tensor }>(
  device: Device,
  make: () => T,
  record: (cl: Recorder, tensors: T) => void,
  names: { state: readonly (keyof T)[]; results: readonly (keyof T)[] },
): Promise<void> {
  const bytes = (tensors: T, name: keyof T) => bytesOf(tensors[name] as Tensor)
  const all = make()
  const rows = Array.from(all.rows.read())
  const slots = (all[names.state[0]!] as Tensor).shape[0]!
  await runOnce(device, (cl) => record(cl, all))
  for (const without of WITHOUT) {
    const tensors = make()
    const taken = without(slots)
    const given = rows.map((slot, b) => taken[b % taken.length] ?? slot)
    tensors.rows.write(Uint32Array.from(given))
    const before = new Map(
      [...names.state, ...names.results].map((name) => [name, bytes(tensors, name)]),
    )
    await runOnce(device, (cl) => record(cl, tensors))
    const check = (name: keyof T, count: number, lives: (part: number) => boolean) => {
      const [was, whole] = [before.get(name)!, bytes(all, name)].map((b) => partsOf(b, count))
      const expected = was!.map((part, i) => (lives(i) ? whole![i] : part))
      const label = `${String(name)} of rows in slots ${given}`
      expect(partsOf(bytes(tensors, name), count), label).toEqual(expected)
    }
    for (const name of names.state) check(name, slots, (slot) => given.includes(slot))
    for (const name of names.results) check(name, rows.length, (b) => given[b]! < slots)
  }
}
