// How long one operation takes under each of several tunings, in turns.

import { throwIfAborted, type Signal } from '../support/abort.js'
import type { CommandList, Device } from '../operations/device.js'
import type { TuneCase } from './cases.js'
import { Tensors } from './tensors.js'
import { isError } from '../support/realms.js'

export interface MeasureSettings {
  /** How often everything takes its turn. */
  rounds: number
  /** Of a list, about: far longer than it takes to start one. */
  milliseconds: number
  /** Of the tensors that a list goes through at least: more than the largest cache. */
  coldBytes: number
}

/** Milliseconds of one operation in each round, or why it cannot run. */
export type Measured = number[] | Error

const LONGEST = 512 // operations of a list

/** What each device dispatches for a case, without computing anything. */
export function dispatchesOf(devices: readonly Device[], each: TuneCase): string[] {
  using tensors = new Tensors(devices[0]!, { blank: true })
  const record = each.build(tensors, 1)
  return devices.map((device) => {
    using list = device.record((cl) => record(cl, 0))
    return list.dispatches()
  })
}

/**
 * Runs lists of the case, as long on all devices, on the devices in turns. The times are those of whole
 * lists from JavaScript and back, over the number of operations; nothing is subtracted. Throws when
 * the first device cannot run it.
 */
export async function measure(
  devices: readonly Device[],
  each: TuneCase,
  settings: MeasureSettings,
  signal: Signal | undefined,
): Promise<Measured[]> {
  const first = devices[0]!
  const length = await lengthOfList(first, each, settings, signal)
  const copies = Math.min(length, copiesOf(first, each, settings.coldBytes))
  using tensors = new Tensors(first)
  const record = each.build(tensors, copies)
  const lists = devices.map((device) =>
    device.record((cl) => {
      for (let i = 0; i < length; i++) record(cl, i % copies)
    }),
  )
  try {
    return await runInTurns(lists, length, settings.rounds, signal)
  } finally {
    for (const list of lists) list.dispose()
  }
}

async function runInTurns(
  lists: readonly CommandList[],
  length: number,
  rounds: number,
  signal: Signal | undefined,
): Promise<Measured[]> {
  const results: Measured[] = []
  for (const list of lists) {
    try {
      await list.run({ signal }) // compiles
      results.push([])
    } catch (error) {
      throwIfAborted(signal)
      if (results.length === 0) throw error
      results.push(isError(error) ? error : new Error(String(error)))
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const i of turns(lists.length, round)) {
      const result = results[i]!
      if (isError(result)) continue
      const start = performance.now()
      await lists[i]!.run({ signal })
      result.push((performance.now() - start) / length)
    }
  }
  return results
}

/** The order of a round: another one begins each time, and every second round goes backwards. */
function turns(count: number, round: number): number[] {
  const order = Array.from({ length: count }, (_, i) => (i + round) % count)
  return round % 2 === 0 ? order : order.reverse()
}

function copiesOf(device: Device, each: TuneCase, coldBytes: number): number {
  using tensors = new Tensors(device, { blank: true })
  each.build(tensors, 1)
  return Math.max(1, Math.ceil(coldBytes / tensors.bytes))
}

/** How many operations take about as long as is wanted. */
async function lengthOfList(
  device: Device,
  each: TuneCase,
  { milliseconds }: MeasureSettings,
  signal: Signal | undefined,
): Promise<number> {
  using tensors = new Tensors(device)
  const record = each.build(tensors, 1)
  for (let length = 1; ; ) {
    using list = device.record((cl) => {
      for (let i = 0; i < length; i++) record(cl, 0)
    })
    await list.run({ signal })
    const start = performance.now()
    await list.run({ signal })
    const taken = performance.now() - start
    const wanted = Math.ceil((length * milliseconds) / taken)
    if (taken > milliseconds / 2 || length === LONGEST) {
      return Math.min(LONGEST, Math.max(1, wanted))
    }
    length = Math.min(LONGEST, Math.max(2 * length, wanted))
  }
}
