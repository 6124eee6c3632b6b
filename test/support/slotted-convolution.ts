// A convolution of sequences at different positions, whose rings lie in slots.

import type { Device } from '../../lib/operations/device.js'
import { seededNormals, unwritten, upload } from './arrays.js'
import { newTokens, randomBatch, ringsAfter } from './sequences.js'
import { inSlots, slotsOf } from './slots.js'

/** Gives the same tensors each time, gates among them: of one token a sequence, x (batch, channels), or of a chunk of `length`. */
export function slottedConvolution(device: Device, length?: number) {
  const [channels, width] = [33, 4]
  const positions = [0, 1, 2, 7, 30]
  const normals = seededNormals(length ?? 1)
  const batch = randomBatch(normals, { positions, length: length ?? 1, cols: channels })
  const [weight, bias] = [normals(channels * width), normals(channels)]
  const places = slotsOf(positions.length)
  const rings = inSlots(places, ringsAfter(batch, 0, width))
  const shape = [positions.length, ...(length === undefined ? [] : [length]), channels]
  const x = newTokens(batch)
  const [inputGate, outputGate] = [normals(x.length), normals(x.length)]
  return () => ({
    x: upload(device, 'float32', shape, x),
    inputGate: upload(device, 'float32', shape, inputGate),
    outputGate: upload(device, 'float32', shape, outputGate),
    weight: upload(device, 'float32', [channels, width], weight),
    bias: upload(device, 'float32', [channels], bias),
    state: upload(device, 'float32', [places.slots, width, channels], rings),
    position: upload(device, 'uint32', [positions.length], positions),
    rows: upload(device, 'uint32', [positions.length], places.rows),
    out: unwritten(device, shape),
  })
}
