// Where the commands of a run are cut into pieces (native/metal/work.h). Nothing is computed: the text of a
// list's dispatches has an empty line between two pieces.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import type { AttentionTensors } from '../../lib/operations/arguments.js'

const COLUMNS = 2048
let device: Device

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device.node', import.meta.url),
  )
  device = createDevice('metal')
})
afterAll(() => device.dispose())

/** Dispatches of each piece of `count` products, one after the other: a chunk for leading dimensions (batch, length). */
function piecesOf(leading: readonly number[], count: number, on = device): number[] {
  const weight = on.tensor('float16', [COLUMNS, COLUMNS])
  const [a, b] = [0, 1].map(() => on.tensor('float32', [...leading, COLUMNS]))
  const list = on.record((cl) => {
    for (let i = 0; i < count; i++) cl.matmul(i % 2 ? b! : a!, weight, i % 2 ? a! : b!)
  })
  const pieces = list.dispatches().trimEnd().split('\n\n')
  list.dispose()
  for (const tensor of [weight, a!, b!]) tensor.dispose()
  return pieces.map((piece) => piece.split('\n').length)
}

test('a long prompt is cut, and every operation is in one piece', () => {
  const pieces = piecesOf([1, 512], 64)
  expect(pieces.length).toBeGreaterThan(2)
  expect(pieces.reduce((sum, length) => sum + length)).toBe(64)
  expect(Math.min(...pieces)).toBeGreaterThan(0)
  // Equal work in all but the last.
  const whole = pieces.slice(0, -1)
  expect(Math.max(...whole) - Math.min(...whole)).toBeLessThanOrEqual(1)
  // Twice the work, about twice the pieces.
  const twice = piecesOf([1, 512], 128).length
  expect(twice).toBeGreaterThanOrEqual(2 * pieces.length - 2)
  expect(twice).toBeLessThanOrEqual(2 * pieces.length + 1)
})

test('how long a piece is can be set', () => {
  using half = createDevice('metal', { tuning: { piece_microseconds: 25_000 } })
  const [length] = piecesOf([1, 512], 64)
  const [shorter] = piecesOf([1, 512], 64, half)
  expect(Math.abs(length! - 2 * shorter!)).toBeLessThanOrEqual(1)
})

test('a short prompt is one piece', () => {
  expect(piecesOf([1, 64], 3)).toEqual([3])
})

test('slots of others are no work', () => {
  const [tokens, window, columns] = [64, 512, 256]
  const piecesWith = (slots: number) => {
    const floats = (shape: readonly number[]) => device.tensor('float32', shape)
    const [q, k, v, out] = [0, 1, 2, 3].map(() => floats([1, tokens, columns]))
    const [keys, values] = [0, 1].map(() => floats([slots, window, columns]))
    const [position, rows] = [0, 1].map(() => device.tensor('uint32', [1]))
    const tensors = { q, k, v, keys, values, position, rows, out } as AttentionTensors
    const list = device.record((cl) => {
      for (let i = 0; i < 200; i++) cl.attentionPrefill(tensors, { headDim: 64 })
    })
    const pieces = list.dispatches().trimEnd().split('\n\n').length
    list.dispose()
    for (const tensor of Object.values(tensors)) tensor.dispose()
    return pieces
  }
  expect(piecesWith(64)).toBe(piecesWith(1))
})

test('a decode step is one command buffer, however much work it is', () => {
  expect(piecesOf([1], 2000)).toEqual([2000])
  expect(piecesOf([64], 500)).toEqual([500])
})
