// Evaluation on the questions of files: what is asked, what comes of it, and what is refused. test/lm-eval holds it against
// lm-eval-harness.

import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluate } from '../../lib/eval/evaluate.js'
import type { TASK_NAMES } from '../../lib/eval/formats.js'
import { readTask } from '../../lib/eval/task-file.js'
import { requestTokens } from '../../lib/eval/tokens.js'
import { loadModel, type Model } from '../../lib/index.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { jsonLines, ROWS } from '../support/eval-tasks.js'

let model: Model
beforeAll(async () => {
  model = await loadModel(undefined, { device: 'cpu', promptCache: { exact: true } })
})
afterAll(() => model.dispose())

const PLAIN = [
  { context: 'The old man looked at the', choices: [' sea', ' of', ' and the and'], answer: 0 },
  { context: 'There was a', choices: [' of', ' little house', ' was'], answer: 1 },
  { context: 'He said that', choices: [' he would go', ' the the', ' of it'], answer: 0 },
  { context: 'Once upon a ', choices: ['time', 'king', 'the'], answer: 0 },
]

describe('the form of a file', () => {
  const named = Object.entries(ROWS)

  it.each(named)('%s is known by its fields, or must be named', async (name, rows) => {
    const path = await jsonLines(rows)
    const mustBeNamed = ['arc', 'openbookqa', 'lambada'].includes(name)
    if (mustBeNamed)
      await expect(readTask(path, undefined)).rejects.toThrow(/say which with --task/)
    else expect((await readTask(path, undefined)).name).toBe(name)
    const { items } = await readTask(path, name as (typeof TASK_NAMES)[number])
    expect(items).toHaveLength(rows.length)
  })

  it.each([
    ['plain', PLAIN[0]!],
    ['cloze', { context: 'a', target: ' b' }],
  ])('%s is, too', async (name, row) => {
    expect((await readTask(await jsonLines([row]), undefined)).name).toBe(name)
  })

  it('takes the labels of a file beside it, as PIQA has them', async () => {
    const rows = ROWS.piqa.map(({ label: _, ...row }) => row)
    const path = await jsonLines(rows, 'valid.jsonl')
    await writeFile(join(dirname(path), 'valid-labels.lst'), '1\n0\n1\n')
    const { name, items, hash } = await readTask(path, undefined)
    expect([name, ...items.map(({ answer }) => answer)]).toEqual(['piqa', 1, 0, 1])
    await writeFile(join(dirname(path), 'valid-labels.lst'), '1\n0\n0\n')
    expect((await readTask(path, undefined)).hash).not.toBe(hash)
    await writeFile(join(dirname(path), 'valid-labels.lst'), '1\n')
    await expect(readTask(path, undefined)).rejects.toThrow(/has 3 rows, and the file of labels 1/)
  })

  it.each<[string, string, RegExp]>([
    ['no JSON', '{"text"\n', /task\.jsonl:1: is no JSON/],
    ['no object', '\n[1]\n', /task\.jsonl:2: must be a JSON object/],
    ['nothing', '\n \n', /has no rows/],
    ['fields of nothing', '{"a": 1, "b": 2}\n', /has the fields a, b, which are those of no task/],
    [
      'an answer beyond the choices',
      '{"context": "a", "choices": [" b", " c"], "answer": 2}\n',
      /:1: as a row of plain: "answer" must be the number of the right choice, 0 to 1, but is 2/,
    ],
    ['a test set', '{"context": "a", "choices": [" b", " c"], "answer": ""}\n', /without answers/],
    ['a choice that is none', '{"context": "a", "choices": [" b", 1], "answer": 0}\n', /"choices"/],
    ['one choice', '{"context": "a", "choices": [" b"], "answer": 0}\n', /at least 2 texts/],
    ['a sentence without a gap', JSON.stringify({ ...ROWS.winogrande[0], sentence: 'a' }), /gap/],
    [
      'a label that no choice has',
      JSON.stringify({ ...ROWS.arc[2], answerKey: 'E' }),
      /"answerKey"/,
    ],
    ['bytes that are no UTF-8', '\xff', /UTF-8/],
  ])('%s is refused with its place', async (_, text, message) => {
    const path = join(await temporaryFolder(), 'task.jsonl')
    await writeFile(path, Buffer.from(text, 'latin1'))
    const task = text.includes('Mercury') ? 'arc' : undefined
    await expect(readTask(path, task)).rejects.toThrow(message)
  })
})

describe('tokens', () => {
  const encode = (text: string) => model.encode(text, { addSpecialTokens: false })
  const split = (context: string, continuation: string, most = Number.POSITIVE_INFINITY) =>
    requestTokens({ context, continuation }, { encode, start: 7 }, most)

  it('are split after as many as the context has alone, white space moved to the continuation', () => {
    const plain = split('The old', ' man')
    expect([...plain.context, ...plain.continuation]).toEqual([...encode('The old man')])
    expect(plain.context).toEqual(encode('The old'))
    expect(split('The old ', 'man')).toEqual(plain)
    expect(split('', ' man')).toEqual({
      context: Uint32Array.of(7),
      continuation: encode(' man'),
      cut: 0,
    })
  })

  it('are cut on the left, down to one of the context', () => {
    const { context, continuation } = split('The old man looked at the', ' sea and the ship')
    const most = continuation.length + 2
    expect(split('The old man looked at the', ' sea and the ship', most)).toEqual({
      context: context.slice(-2),
      continuation,
      cut: context.length - 2,
    })
    expect(() => split('The', ' sea and the ship', continuation.length)).toThrow(RangeError)
  })
})

describe('evaluate', () => {
  it('has the log-probabilities of model.score, and what follows from them', async () => {
    const results = join(await temporaryFolder(), 'results')
    const { figures, ...facts } = await evaluate(model, await jsonLines(PLAIN), { results })
    expect(facts).toMatchObject({ task: 'plain', questions: 4, shots: 0, cut: 0, resumed: 0 })
    const lines = (await readFile(results, 'utf8')).trimEnd().split('\n').slice(1)
    const right: number[] = []
    for (const [i, { context, choices, answer }] of PLAIN.entries()) {
      const scores = await model.score(context, choices)
      const logprobs = scores.map(({ logprob }) => logprob)
      const { logprobs: own } = JSON.parse(lines[i]!)
      for (const [j, logprob] of logprobs.entries()) expect(own[j]).toBeCloseTo(logprob, 4)
      right.push(Number(logprobs.indexOf(Math.max(...logprobs)) === answer))
    }
    const mean = right.reduce((a, b) => a + b) / 4
    expect(figures.acc!.value).toBe(mean)
    const variance = right.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 3
    expect(figures.acc!.standardError).toBeCloseTo(Math.sqrt(variance / 4), 12)
  })

  it('goes on from a file of results, also from one that was cut within a line', async () => {
    const folder = await temporaryFolder()
    const file = await jsonLines(PLAIN)
    const [whole, part] = [join(folder, 'whole'), join(folder, 'part')]
    const expected = await evaluate(model, file, { results: whole })
    await evaluate(model, file, { results: part, limit: 2 })
    await appendFile(part, '{"question":2,"logpr')
    const resumed = await evaluate(model, file, { results: part })
    expect(resumed).toMatchObject({ figures: expected.figures, resumed: 2, questions: 4 })
    expect(await readFile(part, 'utf8')).toBe(await readFile(whole, 'utf8'))
    expect((await evaluate(model, file, { results: part })).usage.promptTokens).toBe(0)
  })

  it('refuses results of something else', async () => {
    const results = join(await temporaryFolder(), 'results')
    const file = await jsonLines(PLAIN)
    await evaluate(model, file, { results, limit: 1 })
    const other = await jsonLines(PLAIN.slice(1))
    await expect(evaluate(model, other, { results })).rejects.toThrow(/of another file/)
    await expect(evaluate(model, file, { results, maxLength: 9 })).rejects.toThrow(
      /of another maxLength \(null, now 9\)/,
    )
    await appendFile(results, '{"question": 1}\n')
    await expect(evaluate(model, file, { results })).rejects.toThrow(/results:3: is no result/)
    await expect(evaluate(model, file, { results: file })).rejects.toThrow(/no file of results/)
    expect(await readFile(file, 'utf8')).toContain('The old man')
  })

  it('puts examples before each question, of its subject where there are subjects', async () => {
    const file = await jsonLines(ROWS.mmlu.slice(1))
    const shotsFrom = await jsonLines(ROWS.mmlu)
    const { usage, shots } = await evaluate(model, file, { shots: 2, shotsFrom })
    const none = await evaluate(model, file)
    expect(shots).toBe(2)
    expect(usage.promptTokens).toBeGreaterThan(2 * none.usage.promptTokens)
    const geography = await jsonLines(ROWS.mmlu.slice(0, 1))
    await expect(evaluate(model, geography, { shots: 2, shotsFrom })).rejects.toThrow(
      /has 1 examples of high_school_geography, fewer than 2/,
    )
    await expect(evaluate(model, file, { shots: 1 })).rejects.toThrow(/need shotsFrom/)
    await expect(evaluate(model, file, { shotsFrom })).rejects.toThrow(/without shots/)
  })

  it('runs what questions begin with once, and the context of a question once', async () => {
    const context = 'word '.repeat(100)
    const rows = Array.from({ length: 6 }, (_, i) => ({
      ...PLAIN[0]!,
      context: `${context}${i} is a number and the`,
    }))
    const { usage } = await evaluate(model, await jsonLines(rows))
    expect(usage.cachedTokens).toBeGreaterThan(usage.promptTokens / 2)
  })

  it('cuts contexts to maxLength, and says how many', async () => {
    const { cut } = await evaluate(model, await jsonLines(PLAIN), { maxLength: 5 })
    expect(cut).toBeGreaterThan(0)
    expect(cut).toBeLessThan(PLAIN.length)
  })

  it('an abort ends it, and leaves the results so far', async () => {
    const results = join(await temporaryFolder(), 'results')
    const controller = new AbortController()
    const done = evaluate(model, await jsonLines(PLAIN), {
      results,
      signal: controller.signal,
      onProgress: ({ questions }) => questions === 2 && controller.abort(),
    })
    await expect(done).rejects.toMatchObject({ name: 'AbortError' })
    expect((await readFile(results, 'utf8')).trimEnd().split('\n')).toHaveLength(3)
  })
})
