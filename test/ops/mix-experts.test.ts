import { test } from 'vitest'
import {
  download,
  runOnce,
  seededActivations,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('mixExperts', (device) => {
  test.each(ACTIVATION_TYPES)('%s', async (dtype) => {
    const [rows, k, cols] = [3, 4, 19]
    const x = seededActivations(1, dtype)(rows * k * cols)
    const weights = seededNormals(2)(rows * k)
    const residual = seededNormals(3)(rows * cols)
    const plain = unwritten(device(), [rows, cols])
    const added = upload(device(), 'float32', [rows, cols], residual)
    await runOnce(device(), (cl) => {
      const given = upload(device(), dtype, [rows, k, cols], x)
      const factors = upload(device(), 'float32', [rows, k], weights)
      cl.mixExperts(given, factors, plain)
      cl.mixExperts(given, factors, added, { scale: 0.25, residual: added })
    })
    const mixed = Array.from({ length: rows * cols }, (_, at) => {
      const [row, col] = [Math.floor(at / cols), at % cols]
      return weights
        .slice(row * k, (row + 1) * k)
        .reduce((sum, weight, i) => sum + weight * x[(row * k + i) * cols + col]!, 0)
    })
    expectClose(download(plain), mixed, 'float32')
    const sums = mixed.map((value, at) => value / 4 + residual[at]!)
    expectClose(download(added), sums, 'float32')
  })
})
