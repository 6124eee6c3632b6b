// What the questions of `ssm-metal eval` cost, beside a prefill for each choice: the same multiple-choice questions, with
// the same examples before each, in turns.
//
//   npm run eval-cost -- [MODEL] [--questions 1000] [--choices 4] [--shots 2]
//
// The questions are made up: words of a small list, so that contexts have some sixty tokens and choices some four.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { median } from '../../lib/bench/statistics.js'
import { evaluate } from '../../lib/eval/evaluate.js'
import { FORMATS } from '../../lib/eval/formats.js'
import { loadModel, type Model } from '../../lib/index.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    questions: { type: 'string', default: '1000' },
    choices: { type: 'string', default: '4' },
    shots: { type: 'string', default: '2' },
  },
})
const [questions, choices, shots] = ['questions', 'choices', 'shots'].map((name) =>
  Number(values[name as keyof typeof values]),
) as [number, number, number]

const WORDS =
  'sea house old man ship night morning girl bread snow river stone light road door king bird fire'.split(
    ' ',
  )
let state = 1
const word = () => {
  state = (state * 1103515245 + 12345) % 2 ** 31
  return WORDS[(state >> 8) % WORDS.length]!
}
const words = (count: number) => Array.from({ length: count }, word).join(' ')
const row = () => ({
  context: `Question: ${words(50)}?\nAnswer:`,
  choices: Array.from({ length: choices }, () => ` ${words(4)}`),
  answer: 0,
})
const lines = (count: number) => Array.from({ length: count }, row)

// Turns, so that a busy neighbour slows both.
const TURNS = 10

const all = lines(questions)
const examples = lines(shots)
const folder = await mkdtemp(join(tmpdir(), 'eval-cost-'))
await using shared = await loadModel(positionals[0], { promptCache: { exact: true } })
await using separate = await loadModel(positionals[0], { promptCache: false })
const times = { shared: 0, separate: 0 }
const ratios: number[] = []
const usage = { prefix: 0, computed: 0 }
try {
  const write = async (name: string, rows: readonly object[]) => {
    const path = join(folder, name)
    await writeFile(path, rows.map((each) => `${JSON.stringify(each)}\n`).join(''))
    return path
  }
  const shotsFrom = shots > 0 ? await write('examples.jsonl', examples) : undefined
  for (let turn = 0; turn < TURNS; turn++) {
    const part = all.slice((turn * questions) / TURNS, ((turn + 1) * questions) / TURNS)
    const file = await write('questions.jsonl', part)
    const withEval = async () => {
      const result = await evaluate(shared, file, { shots, shotsFrom })
      usage.prefix += result.usage.promptTokens
      usage.computed += result.usage.promptTokens - result.usage.cachedTokens
    }
    const withPrefills = () => prefillEach(separate, part)
    const took = { shared: 0, separate: 0 }
    const order =
      turn % 2 === 0 ? (['shared', 'separate'] as const) : (['separate', 'shared'] as const)
    for (const name of order) {
      const start = performance.now()
      await (name === 'shared' ? withEval() : withPrefills())
      took[name] = performance.now() - start
      times[name] += took[name]
    }
    ratios.push(took.separate / took.shared)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** Each choice after a prefill of its own of the whole context. */
async function prefillEach(model: Model, part: readonly ReturnType<typeof row>[]): Promise<void> {
  const before = examples.map((each) => `${FORMATS.plain.item(each).shot}\n\n`).join('')
  for (const { context, choices } of part) {
    for (const choice of choices) await model.score(before + context, [choice])
  }
}

const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(1)
console.log(`${questions} questions of ${choices} choices, ${shots} examples before each`)
console.log(`ssm-metal eval: ${seconds(times.shared)} s`)
console.log(`a prefill for each choice: ${seconds(times.separate)} s`)
console.log(
  `${median(ratios).toFixed(2)} times as long (median of ${TURNS} turns, ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
)
console.log(
  `tokens before choices: ${usage.prefix} in all questions, ${usage.computed} computed; with a prefill for each choice ${usage.prefix * choices}`,
)
