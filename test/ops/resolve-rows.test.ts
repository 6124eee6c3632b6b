import { expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import { NO_SLOT, type ResolveRowsTensors } from '../../lib/operations/arguments.js'
import { download, runOnce, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

/** Four slots, of which slot 1 is done; everything that is written holds 99 before. */
function slotTensors(device: Device, slots: number[]): ResolveRowsTensors {
  const integers = (values: number[]) => upload(device, 'uint32', [values.length], values)
  const written = () => integers(slots.map(() => 99))
  return {
    slots: integers(slots),
    remaining: integers([3, 0, 1, NO_SLOT]),
    token: integers([10, 11, 12, 13]),
    position: integers([100, 101, 0, 4_000_000_000]),
    rows: written(),
    positions: written(),
    tokens: written(),
  }
}

const resultsOf = ({ rows, positions, tokens, position }: ResolveRowsTensors) => ({
  rows: download(rows),
  positions: download(positions),
  tokens: tokens && download(tokens),
  position: download(position),
})

describeEachDevice('resolveRows', (device) => {
  test('gives rows their slots, positions and tokens, and advances the positions', async () => {
    const tensors = slotTensors(device(), [3, 0, 2])
    await runOnce(device(), (cl) => cl.resolveRows(tensors, { count: 5 }))
    expect(resultsOf(tensors)).toEqual({
      rows: [3, 0, 2],
      positions: [4_000_000_000, 100, 0],
      tokens: [13, 10, 12],
      position: [105, 101, 5, 4_000_000_005],
    })
    expect(download(tensors.slots)).toEqual([3, 0, 2])
    expect(download(tensors.remaining)).toEqual([3, 0, 1, NO_SLOT])
    expect(download(tensors.token)).toEqual([10, 11, 12, 13])
  })

  test('rows that are done or ask for no slot get none and change nothing', async () => {
    const tensors = slotTensors(device(), [NO_SLOT, 1, 2, 4, 5, NO_SLOT - 1, NO_SLOT])
    await runOnce(device(), (cl) => cl.resolveRows(tensors, { count: 1 }))
    const none = NO_SLOT
    expect(resultsOf(tensors)).toEqual({
      rows: [none, none, 2, none, none, none, none],
      positions: [0, 0, 0, 0, 0, 0, 0],
      tokens: [0, 0, 12, 0, 0, 0, 0],
      position: [100, 101, 1, 4_000_000_000],
    })
  })

  test('takes the slots from the inputs of a run, at every run anew', async () => {
    const tensors = slotTensors(device(), [0, 0])
    using list = device().record((cl) =>
      cl.resolveRows({ ...tensors, slots: cl.input('slots', 'uint32', [2]) }, { count: 1 }),
    )
    await list.run({ inputs: { slots: Uint32Array.of(2, 0) } })
    await list.run({ inputs: { slots: Uint32Array.of(0, NO_SLOT) } })
    expect(resultsOf(tensors)).toEqual({
      rows: [0, NO_SLOT],
      positions: [101, 0],
      tokens: [10, 0],
      position: [102, 101, 1, 4_000_000_000],
    })
  })

  test('without tokens', async () => {
    const { tokens, ...tensors } = slotTensors(device(), [2, 1])
    await runOnce(device(), (cl) => cl.resolveRows(tensors, { count: 64 }))
    expect(resultsOf(tensors)).toEqual({
      rows: [2, NO_SLOT],
      positions: [0, 0],
      tokens: undefined,
      position: [100, 101, 64, 4_000_000_000],
    })
  })

  test('more rows than a GPU has threads side by side', async () => {
    const [slots, batch] = [700, 611]
    const numbers = Array.from({ length: slots }, (_, i) => i)
    const integers = (values: number[]) => upload(device(), 'uint32', [values.length], values)
    const asked = numbers.slice(0, batch).map((i) => (i * 11 + 3) % slots) // each once
    const tensors = {
      slots: integers(asked),
      remaining: integers(numbers.map((i) => i % 3)),
      token: integers(numbers.map((i) => 2 * i)),
      position: integers(numbers.map((i) => 1000 + i)),
      rows: integers(new Array(batch).fill(99)),
      positions: integers(new Array(batch).fill(99)),
      tokens: integers(new Array(batch).fill(99)),
    }
    await runOnce(device(), (cl) => cl.resolveRows(tensors, { count: 2 }))
    const isLive = (slot: number) => slot % 3 > 0
    expect(resultsOf(tensors)).toEqual({
      rows: asked.map((slot) => (isLive(slot) ? slot : NO_SLOT)),
      positions: asked.map((slot) => (isLive(slot) ? 1000 + slot : 0)),
      tokens: asked.map((slot) => (isLive(slot) ? 2 * slot : 0)),
      position: numbers.map((i) => 1000 + i + (isLive(i) && asked.includes(i) ? 2 : 0)),
    })
  })
})
