// ssm-metal eval held against the real lm-eval-harness: for each task the same requests, as texts and as tokens, and from
// the same log-probabilities the same figures. Needs its packages (environment.ts): npm run test:lm-eval.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluate } from '../../lib/eval/evaluate.js'
import type { TaskName } from '../../lib/eval/formats.js'
import { loadModel, type Model } from '../../lib/index.js'
import { jsonLines, ROWS } from '../support/eval-tasks.js'
import { LM_EVAL_PACKAGES } from './environment.js'

type Row = Readonly<Record<string, unknown>>

/** Of the harness: texts and tokens of what it asked, and figures. */
interface Report {
  requests: Record<string, { texts: [string, string]; tokens: [number[], number[]] }[]>
  results: Record<string, Record<string, number>>
}

interface Case {
  task: TaskName
  /** The harness's name of it, and the file where it says what it is. */
  theirs: string
  yaml: string
  rows: readonly Row[]
  /** Rows as the Hub has them, which is what the harness reads. */
  ofHub?: (row: Row) => Row
  shots: number
}

// Two lines of text without what wikitext's detokenizer would change.
const TEXTS = [
  { text: 'The old man went to the sea.\nHe had a boat' },
  { text: 'Snow fell on the road all night, and in the morning the house was white' },
]

/** AI2's form, flat. */
function flat(stem: string): (row: Row) => Row {
  return (row) => {
    if (typeof row.question !== 'object') return row
    const { stem: text, choices } = row.question as { stem: string; choices: Row[] }
    const lists = { text: choices.map((choice) => choice.text), label: choices.map((c) => c.label) }
    return { id: row.id, [stem]: text, choices: lists, answerKey: row.answerKey }
  }
}

const astronomy = ROWS.mmlu.filter(({ subject }) => subject === 'astronomy')

const CASES: readonly Case[] = [
  { task: 'copa', theirs: 'copa', yaml: 'super_glue/copa/default.yaml', rows: ROWS.copa, shots: 2 },
  {
    task: 'winogrande',
    theirs: 'winogrande',
    yaml: 'winogrande/default.yaml',
    rows: ROWS.winogrande,
    shots: 2,
  },
  { task: 'piqa', theirs: 'piqa', yaml: 'piqa/piqa.yaml', rows: ROWS.piqa, shots: 0 },
  {
    task: 'hellaswag',
    theirs: 'hellaswag',
    yaml: 'hellaswag/hellaswag.yaml',
    rows: ROWS.hellaswag,
    ofHub: (row) => ({ ...row, label: String(row.label) }),
    shots: 2,
  },
  {
    task: 'arc',
    theirs: 'arc_easy',
    yaml: 'arc/arc_easy.yaml',
    rows: ROWS.arc,
    ofHub: flat('question'),
    shots: 2,
  },
  {
    task: 'openbookqa',
    theirs: 'openbookqa',
    yaml: 'openbookqa/openbookqa.yaml',
    rows: ROWS.openbookqa,
    ofHub: flat('question_stem'),
    shots: 1,
  },
  {
    task: 'mmlu',
    theirs: 'mmlu_astronomy',
    yaml: 'mmlu/default/mmlu_astronomy.yaml',
    rows: astronomy,
    shots: 2,
  },
  {
    task: 'lambada',
    theirs: 'lambada_openai',
    yaml: 'lambada/lambada_openai.yaml',
    rows: ROWS.lambada,
    shots: 2,
  },
  {
    task: 'text',
    theirs: 'wikitext',
    yaml: 'wikitext/wikitext.yaml',
    rows: TEXTS,
    ofHub: ({ text }) => ({ page: text }),
    shots: 0,
  },
]

let model: Model
let folder: string
/** What `evaluate` asked, by task. */
const asked = new Map<string, { tokens: [number[], number[]] }[]>()
const figures = new Map<string, Record<string, number>>()
let report: Report

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lm-eval-'))
  model = await loadModel(undefined, { device: 'cpu', promptCache: { exact: true } })
  const tasks: Row[] = []
  for (const { task, theirs, yaml, rows, ofHub = (row: Row) => row, shots } of CASES) {
    const file = await jsonLines(rows, `${task}.jsonl`, folder)
    const calls: { tokens: [number[], number[]] }[] = []
    const { score } = model
    model.score = async (prefix, continuations, options) => {
      for (const continuation of continuations) {
        calls.push({
          tokens: [Array.from(prefix as Uint32Array), Array.from(continuation as Uint32Array)],
        })
      }
      return await score.call(model, prefix, continuations, options)
    }
    const found = await evaluate(model, file, {
      task,
      ...(shots > 0 && {
        shots,
        shotsFrom: await jsonLines([...rows].reverse(), `${task}-shots.jsonl`, folder),
      }),
    })
    model.score = score
    asked.set(task, calls)
    figures.set(
      task,
      Object.fromEntries(
        Object.entries(found.figures).flatMap(([name, { value, standardError }]) => [
          [name, value],
          ...(standardError === undefined ? [] : [[`${name}_stderr`, standardError]]),
        ]),
      ),
    )
    const data = { validation: await jsonLines(rows.map(ofHub), `${task}-hub.jsonl`, folder) }
    const train = await jsonLines([...rows].reverse().map(ofHub), `${task}-hub-shots.jsonl`, folder)
    tasks.push({
      task: theirs,
      yaml,
      dataset_path: 'json',
      dataset_name: null,
      dataset_kwargs: { data_files: { ...data, train } },
      training_split: 'train',
      validation_split: 'validation',
      test_split: null,
      ...(shots > 0 && {
        num_fewshot: shots,
        fewshot_split: 'train',
        fewshot_config: { sampler: 'first_n' },
      }),
    })
  }
  report = await runHarness(tasks)
}, 300_000)
afterAll(async () => {
  model?.dispose()
  await rm(folder, { recursive: true, force: true })
})

/** Lets the harness ask the model. */
async function runHarness(tasks: readonly Row[]): Promise<Report> {
  const child = spawn('python3', [fileURLToPath(new URL('run.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PYTHONPATH: LM_EVAL_PACKAGES,
      HF_HUB_OFFLINE: '1',
      HF_HOME: folder,
    },
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const say = (value: unknown) => child.stdin.write(`${JSON.stringify(value)}\n`)
  say({ eot: model.endOfText[0]!.id, tasks })
  for await (const line of createInterface({ input: child.stdout })) {
    const question = JSON.parse(line)
    if ('results' in question) return question
    if ('encode' in question) {
      const text: string = question.encode
      say(text === '' ? [] : [...model.encode(text, { addSpecialTokens: false })])
    } else {
      const [context, continuation] = question.score
      const [score] = await model.score(context, [continuation])
      const { logprob, isGreedy } = score!
      say([logprob, isGreedy])
    }
  }
  throw new Error(`lm-eval-harness ended early:\n${errors}`)
}

describe.each(CASES)('$task with $shots examples', ({ task, theirs }) => {
  it('asks what lm-eval-harness asks, token by token', () => {
    const requests = report.requests[theirs]!
    expect(requests.length).toBeGreaterThan(0)
    expect(asked.get(task)!.map(({ tokens }) => tokens)).toEqual(
      requests.map(({ tokens }) => tokens),
    )
  })

  it('has its figures and standard errors', () => {
    const [own, other] = [figures.get(task)!, report.results[theirs]!]
    // Bootstrap samples, there.
    delete own.perplexity_stderr
    const names = Object.keys(other).filter((name) => name !== 'perplexity_stderr')
    expect(Object.keys(own).sort()).toEqual(names.sort())
    for (const name of names) expect(own[name], name).toBeCloseTo(other[name]!, 5)
  })
})
