import { expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import type { TokenLogprobsTensors } from '../../lib/operations/arguments.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { logprobsOf } from '../reference/sampling.js'
import { rowsOf, runOnce, seededNormals, upload } from '../support/arrays.js'
import { ofRows } from '../support/sampling.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

interface Row {
  logits: number[]
  token: number
  /** Undefined for a row that asks for no report. */
  alternatives: number | undefined
}

const BEFORE = 77

function tensorsOf(
  device: Device,
  rows: Row[],
  places: number,
): TokenLogprobsTensors & { logits: Tensor } {
  const batch = rows.length
  const vocabulary = rows[0]!.logits.length
  const at = slotsOf(batch)
  const perSlot = (dtype: 'float32' | 'uint32', cols: number, values: number[]) =>
    upload(device, dtype, [at.slots, cols], inSlots(at, values))
  const selection = rows.flatMap(({ alternatives }) => [
    ...new Array<number>(7).fill(9),
    alternatives === undefined ? 0 : alternatives + 1,
  ])
  const logits = rows.flatMap((row) => row.logits)
  const before = new Array<number>(batch * places).fill(BEFORE)
  const tokens = rows.map(({ token }) => token)
  return {
    logits: upload(device, 'float32', [batch, vocabulary], logits),
    rows: upload(device, 'uint32', [batch], at.rows),
    selection: perSlot('uint32', 8, selection),
    token: upload(device, 'uint32', [at.slots], inSlots(at, tokens)),
    kept: perSlot('float32', vocabulary, new Array(batch * vocabulary).fill(0)),
    reported: perSlot('uint32', places, before),
    logprobs: perSlot('float32', places, before),
  }
}

/** Expects what the rows ask for, and nothing behind it. */
function expectReports({ reported, logprobs }: TokenLogprobsTensors, rows: Row[]): void {
  const places = reported.cols
  const tokens = rowsOf(ofRows(reported), places)
  const values = rowsOf(ofRows(logprobs), places)
  for (const [row, { logits, token, alternatives }] of rows.entries()) {
    const expected =
      alternatives === undefined
        ? { tokens: [], logprobs: [] }
        : logprobsOf(logits, token, Math.min(alternatives, places - 1))
    const count = expected.tokens.length
    const rest = new Array<number>(places - count).fill(BEFORE)
    expect(tokens[row]).toEqual([...expected.tokens, ...rest])
    expectClose(values[row]!.slice(0, count), expected.logprobs, 'float32')
    expect(values[row]!.slice(count)).toEqual(rest)
  }
}

describeEachDevice('tokenLogprobs', (device) => {
  const randomRows = (vocabulary: number, asked: Row['alternatives'][]): Row[] =>
    asked.map((alternatives, row) => ({
      logits: seededNormals(vocabulary + row)(vocabulary, 4),
      token: (row * 7) % vocabulary,
      alternatives,
    }))

  test.each([1, 2, 31, 33, 257, 5003, 50_289])(
    'the token and its alternatives of a vocabulary of %i',
    async (vocabulary) => {
      const rows = randomRows(vocabulary, [3, 0, undefined, 1, 100, 8])
      const tensors = tensorsOf(device(), rows, 9)
      await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
      expectReports(tensors, rows)
    },
  )

  test('a hundred alternatives', async () => {
    const rows = randomRows(1000, [100, 20])
    const tensors = tensorsOf(device(), rows, 101)
    await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
    expectReports(tensors, rows)
  })

  test('room for the token alone', async () => {
    const rows = randomRows(40, [0, 5])
    const tensors = tensorsOf(device(), rows, 1)
    await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
    expectReports(tensors, rows)
  })

  test('of equal logits the lower token comes first; -0 equals 0', async () => {
    const rows: Row[] = [
      { logits: new Array(1500).fill(2.5), token: 1400, alternatives: 12 },
      { logits: [1, 3, 0, 3, -0, 3, 0], token: 4, alternatives: 7 },
      { logits: [1, 3, 1, 3, 1, -9, 3], token: 0, alternatives: 5 },
    ]
    for (const row of rows) {
      const tensors = tensorsOf(device(), [row], 13)
      await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
      expectReports(tensors, [row])
    }
  })

  test('large logits do not overflow, and -Infinity stands last', async () => {
    const rows: Row[] = [
      { logits: [1e4, 1e4, -1e4, -Infinity], token: 2, alternatives: 4 },
      { logits: [-5000, -5001, -5000, -Infinity], token: 3, alternatives: 4 },
    ]
    const tensors = tensorsOf(device(), rows, 6)
    await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
    expectReports(tensors, rows)
  })

  test('without logits those that the slots have kept', async () => {
    const rows = randomRows(301, [4, undefined, 2])
    const { logits, ...tensors } = tensorsOf(device(), rows, 6)
    await runOnce(device(), (cl) => cl.keepLogits({ logits, ...tensors }))
    await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
    expectReports(tensors, rows)
  })

  test('a row with NaN harms nobody', async () => {
    const good = randomRows(50, [3])[0]!
    const bad: Row = { logits: new Array(50).fill(NaN), token: 0xffffffff, alternatives: 5 }
    const tensors = tensorsOf(device(), [good, bad, { ...good, token: 3 }], 9)
    await runOnce(device(), (cl) => cl.tokenLogprobs(tensors))
    const reported = rowsOf(ofRows(tensors.reported), 9)
    expect(reported[0]!.slice(0, 4)).toEqual(logprobsOf(good.logits, good.token, 3).tokens)
    expect(reported[2]!.slice(0, 4)).toEqual(logprobsOf(good.logits, 3, 3).tokens)
  })

  test('has the same bits whatever rows stand beside it', async () => {
    const rows = randomRows(5003, [20, 3, 100, 0, 7])
    const together = tensorsOf(device(), rows, 21)
    await runOnce(device(), (cl) => cl.tokenLogprobs(together))
    const bits = rowsOf(ofRows(together.logprobs), 21)
    for (const [i, row] of rows.entries()) {
      const alone = tensorsOf(device(), [row], 21)
      await runOnce(device(), (cl) => cl.tokenLogprobs(alone))
      expect(ofRows(alone.logprobs)).toEqual(bits[i])
    }
  })

  test('rows without a slot do nothing', () =>
    expectRowsWithoutSlotDoNothing(
      device(),
      () => tensorsOf(device(), randomRows(301, [4, 0, undefined, 2, 5]), 6),
      (cl, tensors) => cl.tokenLogprobs(tensors),
      { state: ['reported', 'logprobs'], results: [] },
    ))
})
