import { expect, test } from 'vitest'
import { gatedRmsNorm } from '../reference/norms.js'
import {
  download,
  LAYOUTS,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { loadOperationGoldens } from '../support/tensors-file.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const CASES = [
  { shape: [1, 1], groups: 1 },
  { shape: [3, 17], groups: 1 },
  { shape: [5, 30], groups: 3 },
  { shape: [2, 3, 24], groups: 8 },
  { shape: [6, 16], groups: 16 },
  { shape: [40, 512], groups: 4 },
]

describeEachDevice('gatedRmsNorm', (device) => {
  for (const normBeforeGate of [false, true]) {
    for (const { layout, dtype, place } of LAYOUTS) {
      test.each(CASES)(
        `${normBeforeGate ? 'norm before gate' : 'gate before norm'}, shape $shape, $groups groups, ${layout}`,
        async ({ shape, groups }) => {
          const cols = shape.at(-1)!
          const normals = seededNormals(cols)
          const count = shape.reduce((a, b) => a * b)
          const [x, z] = [normals(count), normals(count, 3)].map((v) => rounded(v, dtype)) as [
            number[],
            number[],
          ]
          const weight = normals(cols)
          const options = { eps: 1e-3, groups, normBeforeGate }
          const out = unwritten(device(), shape, dtype)
          const inPlace = upload(device(), dtype, shape, x)
          await runOnce(device(), (cl) => {
            const w = upload(device(), 'float32', [cols], weight)
            const gate = place(device(), shape, z)
            cl.gatedRmsNorm(place(device(), shape, x), gate, w, out, options)
            cl.gatedRmsNorm(inPlace, gate, w, inPlace, options)
          })
          const gates = rowsOf(z, cols)
          const expected = rowsOf(x, cols).flatMap((row, r) =>
            gatedRmsNorm(row, gates[r]!, weight, options),
          )
          expectClose(download(out), expected, dtype)
          expectClose(download(inPlace), expected, dtype)
        },
      )
    }
  }

  test('a gate far from zero neither overflows nor gives NaN', async () => {
    const out = unwritten(device(), [1, 4])
    await runOnce(device(), (cl) =>
      cl.gatedRmsNorm(
        upload(device(), 'float32', [1, 4], [1, 1, 1, 1]),
        upload(device(), 'float32', [1, 4], [-1000, -100, 100, 1000]),
        upload(device(), 'float32', [4], [1, 1, 1, 1]),
        out,
        { eps: 1e-5, normBeforeGate: true },
      ),
    )
    const expected = gatedRmsNorm([1, 1, 1, 1], [-1000, -100, 100, 1000], [1, 1, 1, 1], {
      eps: 1e-5,
      groups: 1,
      normBeforeGate: true,
    })
    expectClose(download(out), expected, 'float32')
  })

  test.each([
    { golden: 'gate_first', groups: 1, normBeforeGate: false },
    { golden: 'gate_first_groups4', groups: 4, normBeforeGate: false },
    { golden: 'norm_first', groups: 1, normBeforeGate: true },
  ])('golden $golden', async ({ golden, groups, normBeforeGate }) => {
    const goldens = await loadOperationGoldens('gated_rms_norm')
    const { shape, values } = goldens[golden]!
    const out = unwritten(device(), shape)
    const given = (name: string) =>
      upload(device(), 'float32', goldens[name]!.shape, goldens[name]!.values)
    await runOnce(device(), (cl) =>
      cl.gatedRmsNorm(given('x'), given('z'), given('weight'), out, {
        eps: 1e-5,
        groups,
        normBeforeGate,
      }),
    )
    expect(relativeL2(download(out), values)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})
