import { expect, test } from 'vitest'
import { Tensor } from '../../lib/operations/tensor.js'
import { headsOf, type Turn, turned } from '../reference/paged-attention.js'
import {
  download,
  LAYOUTS,
  rounded,
  runOnce,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

interface Shape {
  positions: readonly number[]
  length?: number
  heads: number
  headDim: number
  headStride?: number
  rotaryDim?: number
  normed?: boolean
  interleaved?: boolean
  attentionFactor?: number
}

const CASES: Shape[] = [
  { positions: [0], heads: 1, headDim: 1, normed: true },
  { positions: [0, 7], heads: 2, headDim: 2, rotaryDim: 2 },
  { positions: [5, 0, 4095], length: 3, heads: 3, headDim: 17, rotaryDim: 6, normed: true },
  { positions: [131_071], length: 2, heads: 2, headDim: 64, rotaryDim: 64 },
  { positions: [100_000, 1_000_000], heads: 4, headDim: 256, rotaryDim: 64, normed: true },
  { positions: [12_345_678], heads: 1, headDim: 80, rotaryDim: 80, attentionFactor: 1.25 },
  { positions: [3, 300_000], length: 5, heads: 2, headDim: 32, rotaryDim: 16, interleaved: true },
  { positions: [9], length: 4, heads: 3, headDim: 8, headStride: 16, rotaryDim: 8, normed: true }, // gates between heads
]

const EPS = 0.01

/** The values of a tensor whose rows may lie apart. */
function valuesOf(tensor: Tensor): number[] {
  const { memory, dtype, byteOffset, rows, rowStride, cols } = tensor
  const all = download(new Tensor(memory, dtype, [(rows - 1) * rowStride + cols], byteOffset))
  return Array.from({ length: rows }, (_, r) =>
    all.slice(r * rowStride, r * rowStride + cols),
  ).flat()
}

describeEachDevice('rotary', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const where of ['in place', 'to another tensor']) {
      test.each(CASES)(
        `$positions, $heads x $headDim, $rotaryDim columns turn, ${where}, ${layout}`,
        async (shape) => {
          const { positions, length, heads, headDim, headStride = headDim, rotaryDim = 0 } = shape
          const leading = length === undefined ? [positions.length] : [positions.length, length]
          const tokens = positions.length * (length ?? 1)
          const normals = seededNormals(headDim + heads)
          const values = rounded(normals(tokens * heads * headStride), dtype)
          const frequencies = Array.from({ length: rotaryDim / 2 }, (_, i) =>
            Math.fround(10_000 ** ((-2 * i) / rotaryDim)),
          )
          const norm = shape.normed
            ? normals(headDim).map((x) => Math.fround(1 + x / 4))
            : undefined
          const turn: Turn = { ...shape, frequencies, norm, eps: EPS }
          const x = place(device(), [...leading, heads * headStride], values)
          const inPlace = where === 'in place'
          const out = inPlace ? x : unwritten(device(), [...leading, heads * headDim], dtype)
          const floats = (all: number[]) => upload(device(), 'float32', [all.length], all)
          await runOnce(device(), (cl) =>
            cl.rotary(
              {
                x,
                ...(norm ? { normWeight: floats(norm) } : {}),
                ...(rotaryDim
                  ? {
                      frequencies: floats(frequencies),
                      position: upload(device(), 'uint32', [positions.length], positions),
                    }
                  : {}),
                ...(inPlace ? {} : { out }),
              },
              {
                headDim,
                headStride,
                eps: norm && EPS,
                interleaved: shape.interleaved,
                attentionFactor: shape.attentionFactor,
              },
            ),
          )
          const expected = headsOf(values, headStride).flatMap((all, i) => {
            const token = Math.floor(i / heads)
            const position = positions[Math.floor(token / (length ?? 1))]! + (token % (length ?? 1))
            const head = turned(all.slice(0, headDim), position, turn)
            return inPlace ? [...head, ...all.slice(headDim)] : head
          })
          expectClose(valuesOf(out), expected, dtype)
        },
      )
    }
  }

  test('what lies beside a head in its row stays', async () => {
    const wide = upload(
      device(),
      'float32',
      [2, 7],
      Array.from({ length: 14 }, (_, i) => i),
    )
    const normWeight = upload(device(), 'float32', [2], [1, 1])
    await runOnce(device(), (cl) =>
      cl.rotary({ x: wide.columns(1, 5), normWeight }, { headDim: 2, headStride: 4, eps: 0 }),
    )
    const out = download(wide)
    const rest = [0, 3, 4, 5, 6, 7, 10, 11, 12, 13]
    expect(rest.map((i) => out[i])).toEqual(rest)
    expect(out[1]).toBeCloseTo(1 / Math.sqrt(2.5), 6)
  })
})
