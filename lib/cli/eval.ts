// ssm-metal eval: a model on the questions of a file.

import { basename } from 'node:path'
import { type Evaluation, evaluate } from '../eval/evaluate.js'
import { EVALUATION } from '../options/evaluating.js'
import { defineCommand } from './command.js'
import { flagsOf, optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { modelOptions } from './options.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'
import { twoColumns } from './table.js'

export const evalCommand = defineCommand({
  name: 'eval',
  aliases: ['evaluate'],
  summary: 'answer the questions of a file: accuracy and perplexity',
  usage: 'TASK.jsonl [-m MODEL] [options]',
  options: {
    ...flagsOf(EVALUATION),
    ...modelOptions,
    json: { type: 'boolean', description: 'print one JSON object instead of a table' },
  },
  positionals: [{ name: 'TASK.jsonl', description: 'the questions: docs/eval.md', required: true }],
  example: 'ssm-metal eval arc-easy.jsonl --task arc -m ./mamba2-130m',
  moreExamples: [
    'ssm-metal eval test.jsonl --shots 5 --shots-from dev.jsonl --results mmlu',
    'ssm-metal eval hellaswag_val.jsonl --limit 1000 --json',
  ],
  async run({ options, positionals }) {
    const file = positionals[0]!
    return interruptible(async (signal) => {
      // A prefix begins only where the bits are those of a run from the start: what is resumed gives the same figures.
      await using model = await loadFromOptions(options, signal, { promptCache: { exact: true } })
      const line = new ProgressLine()
      const start = performance.now()
      const result = await evaluate(model, file, {
        ...optionsOf(EVALUATION, options),
        signal,
        onProgress: ({ questions, total }) =>
          line.update({ phase: 'answer', loaded: questions, total, unit: 'questions' }),
      }).finally(() => line.clear())
      const seconds = (performance.now() - start) / 1000
      process.stdout.write(
        options.json ? json(result, options, file, seconds) : table(result, options, file, seconds),
      )
      return exitCodes.success
    })
  },
})

interface Asked {
  readonly shotsFrom: string | undefined
}

function json(
  { figures, ...facts }: Evaluation,
  { shotsFrom }: Asked,
  file: string,
  seconds: number,
): string {
  const values = Object.entries(figures).flatMap(([name, { value, standardError }]) => [
    [name, value],
    ...(standardError === undefined ? [] : [[`${name}_stderr`, standardError]]),
  ])
  return `${JSON.stringify({ file, ...facts, shotsFrom: shotsFrom ?? null, ...Object.fromEntries(values), seconds })}\n`
}

function table(
  { task, questions, shots, figures, cut, resumed, usage }: Evaluation,
  { shotsFrom }: Asked,
  file: string,
  seconds: number,
): string {
  const from = shotsFrom === undefined ? '' : `, from ${basename(shotsFrom)}`
  const answered = questions - resumed
  return twoColumns([
    ['task', `${task}, ${questions} questions of ${basename(file)}`],
    ['examples', `${shots}${from}`],
    ...Object.entries(figures).map(([name, { value, standardError }]): [string, string] => [
      name,
      standardError === undefined
        ? value.toFixed(4)
        : `${value.toFixed(4)} ± ${standardError.toFixed(4)}`,
    ]),
    ...(cut > 0 ? [['cut on the left', `${cut} questions`] as const] : []),
    [
      'time',
      `${seconds.toFixed(1)} s for ${answered} questions${resumed > 0 ? `; ${resumed} were there` : ''}`,
    ],
    [
      'tokens',
      `${usage.promptTokens - usage.cachedTokens} of ${usage.promptTokens} before choices, ${usage.completionTokens} of choices`,
    ],
  ])
}
