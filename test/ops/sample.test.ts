import { describe, expect, test } from 'vitest'
import { NO_SLOT, SAMPLE_STATUS } from '../../lib/operations/arguments.js'
import { softmax } from '../reference/attention.js'
import {
  drawToken,
  GREEDY,
  keptScores,
  philox,
  type SamplingSettings,
} from '../reference/sampling.js'
import { download, rowsOf, runOnce, seededNormals } from '../support/arrays.js'
import { BEFORE, EMPTY, ofRows, sampleTensors, type Sequence, UNUSED } from '../support/sampling.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'

describe('the reference random numbers', () => {
  // Known answers of Random123, the authors' own distribution (kat_vectors, philox4x32 10).
  test.each([
    { counter: [0, 0, 0, 0], key: [0, 0], words: '6627e8d5 e169c58d bc57ac4c 9b00dbd8' },
    {
      counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      key: [0xffffffff, 0xffffffff],
      words: '408f276d 41c83b0e a20bc7c6 6d5451fd',
    },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      words: 'd16cfe09 94fdcceb 5001e420 24126ea1',
    },
  ])('philox of $counter, $key', ({ counter, key, words }) => {
    const hexadecimal = philox(counter, key).map((word) => word.toString(16).padStart(8, '0'))
    expect(hexadecimal.join(' ')).toBe(words)
  })
})

const SETTINGS: { name: string; settings: Partial<SamplingSettings> }[] = [
  { name: 'greedy', settings: {} },
  { name: 'greedy with repetition penalty', settings: { repetitionPenalty: 1.7 } },
  { name: 'temperature 1', settings: { temperature: 1 } },
  { name: 'temperature 0.7', settings: { temperature: 0.7 } },
  { name: 'a tiny temperature', settings: { temperature: 1e-30 } },
  { name: 'a large temperature', settings: { temperature: 50 } },
  { name: 'topK 1', settings: { temperature: 1, topK: 1 } },
  { name: 'topK 5', settings: { temperature: 1, topK: 5 } },
  { name: 'topK beyond the vocabulary', settings: { temperature: 1, topK: 100_000 } },
  { name: 'topP 0.5', settings: { temperature: 1, topP: 0.5 } },
  { name: 'topP 0.001', settings: { temperature: 1, topP: 0.001 } },
  { name: 'minP 0.2', settings: { temperature: 1, minP: 0.2 } },
  { name: 'minP 1', settings: { temperature: 1, minP: 1 } },
  {
    name: 'all together',
    settings: { temperature: 0.8, topK: 20, topP: 0.9, minP: 0.02, repetitionPenalty: 1.3 },
  },
]

describeEachDevice('sample', (device) => {
  for (const vocabulary of [1, 7, 257]) {
    test.each(SETTINGS)(`$name, vocabulary of ${vocabulary}`, async ({ settings }) => {
      const sequences = [0, 1, 5, 12, 1000].map((position, b): Sequence => {
        const normals = seededNormals(vocabulary + b)
        return {
          logits: normals(vocabulary, 2),
          settings: { ...GREEDY, ...settings, seed: [b * 77, b + 3] },
          // A token twice, empty rows, and one row that is about to be overwritten.
          recent: [2, 2, EMPTY, 5, EMPTY, 0].map((t) => (t < vocabulary ? t : EMPTY)),
          position,
        }
      })
      const tensors = sampleTensors(device(), sequences)
      await runOnce(device(), (cl) => cl.sample(tensors))
      const expected = sequences.map((s) => drawToken(s.logits, s, s.position, s.settings))
      expect(ofRows(tensors.out)).toEqual(expected)
      expect(download(tensors.report)).toEqual(expected.flatMap((token) => [token, 0]))
      const histories = sequences.flatMap(({ recent, position }, b) => [
        ...recent.map((token, row) => (row === position % recent.length ? expected[b]! : token)),
        ...UNUSED,
      ])
      expect(ofRows(tensors.history)).toEqual(histories)
      expect(ofRows(tensors.position)).toEqual(sequences.map((s) => s.position))
      expect(ofRows(tensors.remaining)).toEqual(sequences.map(() => 8))
      expect(new Set(ofRows(tensors.kept))).toEqual(new Set([BEFORE]))
    })
  }

  // More tokens than a GPU's threadgroup has threads.
  test.each([
    { topK: 700 },
    { topK: 5002 },
    { topP: 0 },
    { topP: 0.37 },
    { topP: 0.999 },
    { topK: 900, topP: 0.8, minP: 0.001, repetitionPenalty: 1.3 },
  ])('%o of a vocabulary of 5003', async (settings) => {
    const sequences = [3, 40].map(
      (position): Sequence => ({
        logits: seededNormals(position)(5003, 3),
        settings: { ...GREEDY, temperature: 1.5, ...settings, seed: [position, 9] },
        recent: [4000, 5002, EMPTY],
        position,
      }),
    )
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    const expected = sequences.map((s) => drawToken(s.logits, s, s.position, s.settings))
    expect(ofRows(tensors.out)).toEqual(expected)
  })

  test('tells logits apart that differ by their last bit alone', async () => {
    // Neighbouring numbers from 1 on, in no order: 7919 has no factor in common with 300.
    const logits = Array.from({ length: 300 }, (_, i) => 1 + ((i * 7919) % 300) * 2 ** -23)
    const draw = async (settings: Partial<SamplingSettings>) => {
      const sequences = Array.from(
        { length: 150 },
        (_, position): Sequence => ({
          logits,
          settings: { ...GREEDY, temperature: 1, ...settings, seed: [3, 4] },
          recent: [EMPTY],
          position,
        }),
      )
      const tensors = sampleTensors(device(), sequences)
      await runOnce(device(), (cl) => cl.sample(tensors))
      const drawn = new Set(Array.from(ofRows(tensors.out), (token) => logits[token]!))
      return [...drawn].sort((a, b) => b - a)
    }
    const largest = [...logits].sort((a, b) => b - a)
    expect(await draw({ topK: 7 })).toEqual(largest.slice(0, 7))
    // All are equally probable, but for less than a ten thousandth.
    expect(await draw({ topP: 9.5 / 300 })).toEqual(largest.slice(0, 10))
  })

  test('penalises positive and negative logits of recent tokens, each once', async () => {
    const settings = { ...GREEDY, repetitionPenalty: 2 }
    const draw = async (logits: number[], recent: number[]) => {
      const tensors = sampleTensors(device(), [{ logits, settings, recent, position: 0 }])
      await runOnce(device(), (cl) => cl.sample(tensors))
      return ofRows(tensors.out)[0]
    }
    expect(await draw([4, 3, 1.5], [0, 0])).toBe(1)
    expect(await draw([4, 1.9, 1.5], [0, 0])).toBe(0) // divided once: 2
    expect(await draw([-1, -1.5, -3], [0, EMPTY])).toBe(1)
  })

  test('keeps all of equally probable tokens at a threshold', async () => {
    // With top-k 1, top-p or min-p four equal logits must all be drawn, and nothing else.
    for (const settings of [{ topK: 1 }, { topP: 0.1 }, { minP: 0.9 }]) {
      const sequences = Array.from(
        { length: 60 },
        (_, position): Sequence => ({
          logits: [0, 3, 1, 3, 3, 2, 3],
          settings: { ...GREEDY, temperature: 1, ...settings, seed: [1, 2] },
          recent: [EMPTY],
          position,
        }),
      )
      const tensors = sampleTensors(device(), sequences)
      await runOnce(device(), (cl) => cl.sample(tensors))
      const drawn = [...new Set(ofRows(tensors.out))].sort((a, b) => a - b)
      expect(drawn).toEqual([1, 3, 4, 6])
    }
  })

  test('draws tokens as often as their probabilities say', async () => {
    const [draws, vocabulary] = [4000, 12]
    const logits = seededNormals(3)(vocabulary, 1.5)
    const settings: SamplingSettings = {
      ...GREEDY,
      temperature: 0.9,
      topP: 0.95,
      seed: [0xdeadbeef, 7],
    }
    const sequences = Array.from({ length: draws }, (_, position) => ({
      logits,
      settings,
      recent: [EMPTY],
      position,
    }))
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    const counts = new Array<number>(vocabulary).fill(0)
    for (const token of ofRows(tensors.out)) counts[token]! += 1
    const probabilities = softmax(keptScores(logits, { recent: [] }, settings))
    let chiSquared = 0
    for (const [token, probability] of probabilities.entries()) {
      if (probability === 0) expect(counts[token]).toBe(0)
      else chiSquared += (counts[token]! - draws * probability) ** 2 / (draws * probability)
    }
    // 11 degrees of freedom at most: larger once in a hundred thousand seeds.
    expect(chiSquared).toBeLessThan(44)
    expect(counts.filter((count) => count > 0).length).toBeGreaterThan(4)
  })

  test('the same seed gives the same tokens, another seed or position others', async () => {
    const tokens = async (seed: [number, number], from: number) => {
      const sequences = Array.from(
        { length: 30 },
        (_, i): Sequence => ({
          logits: new Array(1000).fill(0),
          settings: { ...GREEDY, temperature: 1, seed },
          recent: [EMPTY],
          position: from + i,
        }),
      )
      const tensors = sampleTensors(device(), sequences)
      await runOnce(device(), (cl) => cl.sample(tensors))
      return ofRows(tensors.out)
    }
    const first = await tokens([1, 0], 0)
    expect(await tokens([1, 0], 0)).toEqual(first)
    for (const other of [
      await tokens([2, 0], 0),
      await tokens([1, 1], 0),
      await tokens([1, 0], 30),
    ]) {
      expect(other.filter((token, i) => token === first[i]).length).toBeLessThan(3)
    }
  })

  test('tokens of logit -Infinity are never drawn', async () => {
    const sequences = Array.from(
      { length: 50 },
      (_, position): Sequence => ({
        logits: [-Infinity, 0, -Infinity, 0],
        settings: { ...GREEDY, temperature: 100, topK: 3, topP: 0.999, seed: [5, 5] },
        recent: [0],
        position,
      }),
    )
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(new Set(ofRows(tensors.out))).toEqual(new Set([1, 3]))
  })

  test('a row with bad logits draws nothing and says so; the others draw as ever', async () => {
    const { drawn, nan, infinite } = SAMPLE_STATUS
    const bad = [
      { logits: [1, NaN, 2, NaN], temperature: 0, report: [1, nan] },
      { logits: [1, 2, 0, NaN], temperature: 1, report: [3, nan] },
      { logits: [1, Infinity, 2, 0], temperature: 1, report: [1, infinite] },
      { logits: new Array(4).fill(-Infinity), temperature: 1, report: [0, infinite] },
    ]
    const sequences = bad.flatMap(({ logits, temperature }): Sequence[] => {
      const settings = { ...GREEDY, temperature, topK: 2, topP: 0.9 }
      const common = { settings, recent: [EMPTY, 7], position: 4 }
      return [
        { logits, keepsLogits: true, ...common },
        { logits: [0, 9000, 0, 1], ...common },
      ]
    })
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(download(tensors.report)).toEqual(bad.flatMap(({ report }) => [...report, 1, drawn]))
    expect(ofRows(tensors.out)).toEqual(bad.flatMap(() => [BEFORE, 1]))
    expect(ofRows(tensors.history)).toEqual(
      bad.flatMap(() => [EMPTY, 7, ...UNUSED, 1, 7, ...UNUSED]),
    )
    expect(ofRows(tensors.remaining)).toEqual(bad.flatMap(() => [0, 8]))
    const kept = rowsOf(ofRows(tensors.kept), 4)
    expect(kept).toEqual(bad.flatMap(({ logits }) => [logits, new Array<number>(4).fill(BEFORE)]))
  })

  test('Infinity is the largest logit at temperature 0', async () => {
    const tensors = sampleTensors(device(), [
      { logits: [1, Infinity, 2], settings: GREEDY, recent: [EMPTY], position: 0 },
    ])
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(download(tensors.report)).toEqual([1, SAMPLE_STATUS.drawn])
  })

  test('a sequence ends with a stop and with its last token', async () => {
    const logits = [0, 5, 1, 0]
    const common = { logits, settings: GREEDY, recent: [EMPTY], position: 0 }
    const tensors = sampleTensors(device(), [
      { ...common, stops: [3, 1, 0], remaining: 7 },
      { ...common, stops: [3], remaining: 7 },
      { ...common, remaining: 1 },
      { ...common, stops: [1], remaining: 1 },
      { ...common, remaining: 0 },
    ])
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(ofRows(tensors.remaining)).toEqual([0, 6, 0, 0, 0])
    expect(ofRows(tensors.out)).toEqual([1, 1, 1, 1, 1])
    expect(rowsOf(download(tensors.report), 2)).toEqual(new Array(5).fill([1, SAMPLE_STATUS.drawn]))
  })

  test('each slot uses as much of the history as it says', async () => {
    // Only a penalty of token 1, the largest, lets token 2 win.
    const settings = { ...GREEDY, repetitionPenalty: 10 }
    const common = { logits: [0, 5, 4, 0], settings, position: 7 }
    const sequences = [[], [1], [EMPTY, 1, 0], [EMPTY, 0, 3, 0, 0]].map(
      (recent): Sequence => ({ ...common, recent }),
    )
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(ofRows(tensors.out)).toEqual([1, 2, 2, 1])
    expect(rowsOf(ofRows(tensors.history), 7)).toEqual([
      [1, 1, 1, 1, 1, 1, 1], // none in use: nothing enters
      [2, 1, 1, 1, 1, 1, 1],
      [EMPTY, 2, 0, 1, 1, 1, 1],
      [EMPTY, 0, 1, 0, 0, 1, 1],
    ])
  })

  test('more of the history in use than there is counts as all of it', async () => {
    const tensors = sampleTensors(device(), [
      { logits: [0, 5, 4], settings: GREEDY, recent: [EMPTY], position: 5 },
    ])
    tensors.selection.write(Uint32Array.from(new Array(24).fill(0), (_, i) => (i === 11 ? 1e9 : 0)))
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(ofRows(tensors.history)).toEqual([EMPTY, 1, 1])
  })

  test('keeps the logits as they came where a slot asks for them', async () => {
    const normals = seededNormals(8)
    const sequences = [true, false, true].map(
      (keepsLogits, position): Sequence => ({
        logits: normals(1003),
        settings: { ...GREEDY, temperature: 1, topK: 3, repetitionPenalty: 2, seed: [1, 2] },
        recent: [0, 1, 2, 3],
        position,
        keepsLogits,
      }),
    )
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    const kept = rowsOf(ofRows(tensors.kept), 1003)
    expect(kept[0]).toEqual(sequences[0]!.logits)
    expect(new Set(kept[1])).toEqual(new Set([BEFORE]))
    expect(kept[2]).toEqual(sequences[2]!.logits)
  })

  test('rows without a slot do nothing but say so', async () => {
    const settings: SamplingSettings = {
      ...{ ...GREEDY, temperature: 1, topK: 40, topP: 0.9 },
      ...{ repetitionPenalty: 1.2, frequencyPenalty: 0.1 },
    }
    const sequences = [0, 1, 2, 3, 4].map(
      (position): Sequence => ({
        logits: seededNormals(position)(301),
        settings,
        recent: [3, EMPTY, 2],
        position,
        keepsLogits: true,
      }),
    )
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => sampleTensors(device(), sequences),
      (cl, tensors) => cl.sample(tensors),
      { state: ['counts', 'history', 'position', 'remaining', 'kept', 'out'], results: [] },
    )
    const tensors = sampleTensors(device(), sequences)
    tensors.rows.write(Uint32Array.of(NO_SLOT, 2, tensors.out.elements, NO_SLOT - 1, 1))
    await runOnce(device(), (cl) => cl.sample(tensors))
    const { drawn, skipped } = SAMPLE_STATUS
    const report = rowsOf(download(tensors.report), 2)
    expect(report.map(([, status]) => status)).toEqual([skipped, drawn, skipped, skipped, drawn])
    expect([0, 2, 3].map((row) => report[row]![0])).toEqual([EMPTY, EMPTY, EMPTY])
    const out = download(tensors.out)
    expect([1, 4].map((row) => report[row]![0])).toEqual([out[2], out[1]])
  })

  type Given = Omit<Sequence, 'logits' | 'settings' | 'position' | 'recent'>

  /** With every kind of penalty, bias and mask, each with every one of the settings. */
  function restricted(vocabulary: number, settings: Partial<SamplingSettings>[]): Sequence[] {
    const some = (step: number, from = 0) =>
      Array.from({ length: Math.ceil((vocabulary - from) / step) }, (_, i) => from + i * step)
    const last = vocabulary - 1
    const given: Given[] = [
      { generated: [0, 0, 0, last] },
      { biases: new Map([0, last].map((token, i) => [token, i === 0 ? 3.5 : -7])) },
      { allowed: new Set(some(3)) },
      { allowed: new Set([last]), biases: new Map([[0, 100]]) },
      {
        generated: some(2),
        biases: new Map(
          some(5)
            .slice(0, 40)
            .map((token) => [token, token % 7]),
        ),
        allowed: new Set(some(1, Math.floor(vocabulary / 2))),
      },
    ]
    return given.flatMap((context, c) =>
      settings.map((setting, i) => ({
        ...context,
        logits: seededNormals(vocabulary + 10 * c + i)(vocabulary, 3),
        settings: { ...GREEDY, ...setting, seed: [c, i] },
        recent: [0, last, EMPTY],
        position: 9 * c + i,
      })),
    )
  }

  // Each has a penalty that counts.
  const COUNTING: Partial<SamplingSettings>[] = [
    { temperature: 1, topK: 3, topP: 0.9, presencePenalty: 0.25 },
    { presencePenalty: 2, frequencyPenalty: 1.5 },
    { presencePenalty: -2, frequencyPenalty: -0.5, repetitionPenalty: 1.7 },
    { temperature: 1.3, frequencyPenalty: 0.7 },
  ]

  // A word of a mask has 32 tokens; 50289 is one more than the vocabulary of published models.
  test.each([
    { vocabulary: 1, settings: COUNTING },
    { vocabulary: 31, settings: COUNTING },
    { vocabulary: 32, settings: COUNTING },
    { vocabulary: 33, settings: COUNTING },
    { vocabulary: 257, settings: COUNTING },
    { vocabulary: 50_289, settings: COUNTING.slice(0, 1) },
  ])(
    'penalties, biases and masks of a vocabulary of $vocabulary',
    async ({ vocabulary, settings }) => {
      const sequences = restricted(vocabulary, settings)
      const tensors = sampleTensors(device(), sequences)
      const counts = ofRows(tensors.counts)
      await runOnce(device(), (cl) => cl.sample(tensors))
      const expected = sequences.map((s) => drawToken(s.logits, s, s.position, s.settings))
      expect(ofRows(tensors.out)).toEqual(expected)
      for (const [row, token] of expected.entries()) counts[row * vocabulary + token]! += 1
      expect(ofRows(tensors.counts)).toEqual(counts)
    },
  )

  test('counts are neither read nor written without a presence or frequency penalty', async () => {
    const common = { logits: [0, 5, 4], recent: [1], position: 0, generated: [1, 1, 1] }
    const tensors = sampleTensors(device(), [
      { ...common, settings: { ...GREEDY, repetitionPenalty: 1.01 } },
      { ...common, settings: { ...GREEDY, presencePenalty: 2 } },
      { ...common, settings: { ...GREEDY, frequencyPenalty: 0.5 } },
      { ...common, settings: { ...GREEDY, frequencyPenalty: -0.5 } },
    ])
    await runOnce(device(), (cl) => cl.sample(tensors))
    expect(ofRows(tensors.out)).toEqual([1, 2, 2, 1])
    const counts = [
      [0, 3, 0],
      [0, 3, 1],
      [0, 3, 1],
      [0, 4, 0],
    ]
    expect(rowsOf(ofRows(tensors.counts), 3)).toEqual(counts)
  })

  test('a mask comes before everything that selects', async () => {
    const vocabulary = 70
    const logits = Array.from({ length: vocabulary }, (_, token) => -token)
    const settings: SamplingSettings = { ...GREEDY, temperature: 1, topK: 2, topP: 0.99 }
    const sequences = Array.from(
      { length: 60 },
      (_, position): Sequence => ({
        ...{ logits, settings, recent: [EMPTY], position },
        allowed: new Set([66, 67, 68, 69]),
      }),
    )
    const tensors = sampleTensors(device(), sequences)
    await runOnce(device(), (cl) => cl.sample(tensors))
    // Of all tokens neither would be among the two most probable.
    expect(new Set(ofRows(tensors.out))).toEqual(new Set([66, 67]))
  })

  test('a mask hides bad logits, and leaves the others bad', async () => {
    const common = { logits: [NaN, 1, Infinity, 2], recent: [EMPTY], position: 0 }
    const hot = { ...GREEDY, temperature: 1 }
    const tensors = sampleTensors(device(), [
      { ...common, settings: GREEDY, allowed: new Set([1, 3]) },
      { ...common, settings: hot, allowed: new Set([1]) },
      { ...common, settings: hot, allowed: new Set([1, 2]) },
      { ...common, settings: hot, allowed: new Set([0, 1]) },
    ])
    await runOnce(device(), (cl) => cl.sample(tensors))
    const { drawn, infinite, nan } = SAMPLE_STATUS
    expect(rowsOf(download(tensors.report), 2)).toEqual([
      [3, drawn],
      [1, drawn],
      [2, infinite],
      [0, nan],
    ])
  })

  test.each([0, 1])(
    'a mask that leaves nothing draws nothing, temperature %i',
    async (temperature) => {
      const settings = { ...GREEDY, temperature, frequencyPenalty: 1 }
      const common = { settings, recent: [EMPTY], position: 3, generated: [2] }
      const tensors = sampleTensors(device(), [
        { ...common, logits: [0, 1, 2], allowed: new Set() },
        { ...common, logits: [0, 1, 2], allowed: new Set([1]) },
        { ...common, logits: [0, -Infinity, 2], allowed: new Set([1]) },
      ])
      await runOnce(device(), (cl) => cl.sample(tensors))
      const { drawn, noneAllowed } = SAMPLE_STATUS
      expect(rowsOf(download(tensors.report), 2)).toEqual([
        [EMPTY, noneAllowed],
        [1, drawn],
        [EMPTY, noneAllowed],
      ])
      expect(ofRows(tensors.out)).toEqual([BEFORE, 1, BEFORE])
      expect(ofRows(tensors.remaining)).toEqual([0, 8, 0])
      expect(rowsOf(ofRows(tensors.history), 3).map(([first]) => first)).toEqual([EMPTY, 1, EMPTY])
      expect(rowsOf(ofRows(tensors.counts), 3)).toEqual([
        [0, 0, 1],
        [0, 1, 1],
        [0, 0, 1],
      ])
    },
  )

  test('without logits each row draws from what its slot has kept', async () => {
    const sequences = [3, 40, 41].map(
      (position): Sequence => ({
        logits: seededNormals(position)(1003, 3),
        settings: { ...GREEDY, temperature: 1.5, topK: 90, repetitionPenalty: 1.3 },
        recent: [4, 1002, EMPTY],
        position,
        keepsLogits: true,
        biases: new Map([[7, 2]]),
      }),
    )
    const { logits, ...tensors } = sampleTensors(device(), sequences)
    const { rows, kept } = tensors
    await runOnce(device(), (cl) => cl.keepLogits({ logits, rows, kept }))
    await runOnce(device(), (cl) => cl.sample(tensors))
    const expected = sequences.map((s) => drawToken(s.logits, s, s.position, s.settings))
    expect(ofRows(tensors.out)).toEqual(expected)
    expect(rowsOf(ofRows(kept), 1003)).toEqual(sequences.map((s) => s.logits))
  })
})
