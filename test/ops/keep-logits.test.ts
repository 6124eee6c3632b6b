import { expect, test } from 'vitest'
import { rowsOf, runOnce, seededNormals, upload } from '../support/arrays.js'
import { ofRows } from '../support/sampling.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('keepLogits', (device) => {
  const tensorsOf = (batch: number, vocabulary: number) => {
    const places = slotsOf(batch)
    const before = new Array<number>(batch * vocabulary).fill(-1)
    return {
      logits: upload(
        device(),
        'float32',
        [batch, vocabulary],
        seededNormals(vocabulary)(batch * vocabulary),
      ),
      rows: upload(device(), 'uint32', [batch], places.rows),
      kept: upload(device(), 'float32', [places.slots, vocabulary], inSlots(places, before)),
    }
  }

  test.each([
    [1, 1],
    [2, 3],
    [5, 33],
    [3, 1025],
    [2, 50_289],
  ])('%i rows of %i logits go to their slots', async (batch, vocabulary) => {
    const tensors = tensorsOf(batch, vocabulary)
    await runOnce(device(), (cl) => cl.keepLogits(tensors))
    const logits = rowsOf(tensors.logits.read(), vocabulary)
    expect(rowsOf(ofRows(tensors.kept), vocabulary)).toEqual(logits)
  })

  test('rows without a slot do nothing', () =>
    expectRowsWithoutSlotDoNothing(
      device(),
      () => tensorsOf(5, 301),
      (cl, tensors) => cl.keepLogits(tensors),
      { state: ['kept'], results: [] },
    ))
})
