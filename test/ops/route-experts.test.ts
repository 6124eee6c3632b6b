import { expect, test } from 'vitest'
import type { RouteExpertsOptions } from '../../lib/operations/arguments.js'
import { sigmoid } from '../reference/activations.js'
import { download, rowsOf, runOnce, seededNormals, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

const descending = (values: number[]) =>
  values.map((_, i) => i).sort((a, b) => values[b]! - values[a]! || a - b)

/** One token's experts and their weights, by the definitions of the models' authors. */
function routed(logits: number[], bias: number[], k: number, options: RouteExpertsOptions) {
  const { scores: kind, normalised, epsilon = 0, scale = 1, groups = 1 } = options
  const { keptGroups = groups } = options
  const total = logits.reduce((sum, x) => sum + Math.exp(x), 0)
  const scores = logits.map((x) => (kind === 'sigmoid' ? sigmoid(x) : Math.exp(x) / total))
  let choice = scores.map((score, e) => score + bias[e]!)
  const size = logits.length / groups
  const sums = rowsOf(choice, size).map((group) =>
    descending(group)
      .slice(0, 2)
      .reduce((sum, i) => sum + group[i]!, 0),
  )
  const kept = descending(sums).slice(0, keptGroups)
  choice = choice.map((value, e) => (kept.includes(Math.floor(e / size)) ? value : -Infinity))
  const experts = descending(choice).slice(0, k)
  const sum = experts.reduce((all, e) => all + scores[e]!, epsilon)
  return {
    experts,
    weights: experts.map((e) => (scale * scores[e]!) / (normalised ? sum : 1)),
  }
}

describeEachDevice('routeExperts', (device) => {
  test.each<[string, number, number, boolean, RouteExpertsOptions]>([
    ['granite: softmax of the chosen', 8, 3, false, { scores: 'softmax', normalised: true }],
    ['qwen3_5_moe: many experts', 70, 10, false, { scores: 'softmax', normalised: true }],
    ['softmax as it is', 5, 5, false, { scores: 'softmax' }],
    [
      'lfm2_moe: sigmoid and bias',
      32,
      4,
      true,
      { scores: 'sigmoid', normalised: true, epsilon: 1e-6, scale: 1.5 },
    ],
    [
      'nemotron_h: groups',
      48,
      6,
      true,
      { scores: 'sigmoid', normalised: true, epsilon: 1e-20, scale: 2.5, groups: 8, keptGroups: 3 },
    ],
    ['groups of one', 4, 2, true, { scores: 'sigmoid', groups: 4, keptGroups: 2 }],
    ['one expert', 1, 1, false, { scores: 'softmax', normalised: true }],
  ])('%s', async (_, experts, k, hasBias, options) => {
    const rows = 11
    const logits = seededNormals(experts)(rows * experts, 2)
    const bias = hasBias ? seededNormals(k)(experts, 0.3) : Array(experts).fill(0)
    const tensors = {
      logits: upload(device(), 'float32', [rows, experts], logits),
      bias: hasBias ? upload(device(), 'float32', [experts], bias) : undefined,
      experts: device().tensor('uint32', [rows, k]),
      weights: unwritten(device(), [rows, k]),
    }
    await runOnce(device(), (cl) => cl.routeExperts(tensors, options))
    const expected = rowsOf(logits, experts).map((row) => routed(row, bias, k, options))
    expect(download(tensors.experts)).toEqual(expected.flatMap((each) => each.experts))
    expectClose(
      download(tensors.weights),
      expected.flatMap((each) => each.weights),
      'float32',
    )
  })

  test('takes the first of equal ones', async () => {
    const tensors = {
      logits: upload(device(), 'float32', [1, 40], Array(40).fill(1)),
      experts: device().tensor('uint32', [1, 3]),
      weights: unwritten(device(), [1, 3]),
    }
    await runOnce(device(), (cl) => cl.routeExperts(tensors, { scores: 'softmax' }))
    expect(download(tensors.experts)).toEqual([0, 1, 2])
    expectClose(download(tensors.weights), Array(3).fill(1 / 40), 'float32')
  })
})
