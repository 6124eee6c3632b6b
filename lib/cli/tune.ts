// ssm-metal tune: which of the values that a GPU's kernels can be dispatched with is fastest here.

import type { OperationName } from '../operations/recorder.js'
import { formatDuration } from '../support/format.js'
import { measuredOperations } from '../tune/cases.js'
import { removeSavedTuning, savedTuningPath } from '../operations/saved-tuning.js'
import { type TunedCase, type TunedValue, type TuneReport, tune } from '../tune/tune.js'
import { TUNE } from '../options/tune.js'
import { defineCommand, UsageError } from './command.js'
import { flagsOf, optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

const { device, ...others } = flagsOf(TUNE)

export const tuneCommand = defineCommand({
  name: 'tune',
  summary: "measure what is fastest on this machine's GPU, and keep it",
  usage: '[--device DEVICE] [options]',
  options: {
    device,
    operation: {
      type: 'string',
      multiple: true,
      // All cases are made for it: only where it is needed.
      get choices() {
        return measuredOperations()
      },
      placeholder: 'NAME',
      description: 'measure only by this operation',
    },
    ...others,
    reset: { type: 'boolean', description: 'forget what was saved, and measure nothing' },
    json: { type: 'boolean', description: 'print one JSON object instead of tables' },
  },
  example: 'ssm-metal tune --quick',
  async run({ options }) {
    if (options.reset) {
      if (options.quick || options.dryRun || options.operation.length > 0) {
        throw new UsageError('--reset measures nothing: leave out --quick, --dry-run, --operation')
      }
      const path = savedTuningPath()
      const removed = removeSavedTuning()
      if (options.json) process.stdout.write(`${JSON.stringify({ path, removed })}\n`)
      else process.stdout.write(removed ? `removed ${path}\n` : `nothing was saved in ${path}\n`)
      return exitCodes.success
    }
    return interruptible(async (signal) => {
      const line = new ProgressLine()
      let announced = ''
      const report = await tune({
        ...optionsOf(TUNE, options),
        operations:
          options.operation.length > 0 ? (options.operation as OperationName[]) : undefined,
        signal,
        onProgress({ tunable, label, done, total }) {
          line.update({ phase: `${tunable}: ${label}`, loaded: done, total, unit: 'cases' })
          if (process.stderr.isTTY || tunable === announced) return
          announced = tunable
          process.stderr.write(`ssm-metal tune: ${tunable}\n`)
        },
      }).finally(() => line.clear())
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : formatTuneReport(report))
      return exitCodes.success
    })
  },
})

/** The report as people read it: a table of cases, one of what came of each tunable, where it is. */
export function formatTuneReport(report: TuneReport): string {
  const { gpu, machine, rounds, seconds, tunables, source, savedTo } = report
  const cases = table(
    ['operation', 'dtype', 'shape', 'tunable', 'present', 'time', 'best', 'ratio'],
    report.cases.map(caseCells),
    4,
  )
  const values = table(
    ['tunable', 'present', 'best', 'ratio', 'noise', 'cases', ''],
    tunables.map(valueCells),
    1,
  )
  const from = {
    table: "the table of this GPU's family",
    saved: 'what was saved before',
    options: 'the caller',
  }[source]
  const changed = tunables.filter(({ before, after }) => before !== after)
  const won = changed.map(({ name, before, after }) => `${name} ${before} -> ${after}`)
  return [
    cases,
    values,
    ...tunables.flatMap(({ name, failures }) =>
      failures.map(({ value, message }) => `${name} ${value} cannot run here: ${message}\n`),
    ),
    `${gpu}, ${machine.platform} ${machine.system}, ssm-metal ${machine.version}; ` +
      `${rounds} rounds in turns, ${formatDuration(1000 * seconds)}. Present values: ${from}.\n` +
      'Ratios are times over those of the present value, the median of the rounds; over several cases,\n' +
      'the geometric mean. A candidate wins by more than the noise, how far two measurements of the\n' +
      'present value lay apart, and by more than 2 %.\n',
    `${won.length === 0 ? 'Nothing is faster than the present values' : `Won: ${won.join(', ')}`}.\n` +
      (savedTo === undefined
        ? 'A dry run: nothing was saved.\n'
        : `Saved in ${savedTo}: used from now on.\nssm-metal verify holds every operation against the reference with these values.\n`),
  ].join('\n')
}

function caseCells(given: TunedCase): string[] {
  const { operation, dtype, shape, tunable, present, microseconds, best, ratio } = given
  const time = formatDuration(microseconds / 1000)
  return [operation, dtype, shape, tunable, String(present), time, String(best), ratio.toFixed(3)]
}

function valueCells(given: TunedValue): string[] {
  const { name, before, after, best, ratio, noise, cases } = given
  const percent = `${(100 * noise).toFixed(1)} %`
  const result = after === before ? 'stays' : `becomes ${after}`
  return [name, String(before), String(best), ratio.toFixed(3), percent, String(cases), result]
}

/** Columns as wide as they need to be, the first `left` of them and the last one of text, the others of numbers. */
function table(head: readonly string[], rows: readonly string[][], left: number): string {
  const all = [head, ...rows]
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)))
  const isText = (i: number) => i < left || head[i] === ''
  return all
    .map((row) =>
      row
        .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}
