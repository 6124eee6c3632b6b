// A benchmark's rows as text: the columns and keys that users of llama-bench know, and what it does not
// have.

import { formatBytes, formatCount, formatDuration } from '../support/format.js'
import type { BenchReport, BenchRow } from './bench.js'

export const BENCH_FORMATS = ['md', 'json', 'jsonl', 'csv'] as const
export type BenchFormat = (typeof BENCH_FORMATS)[number]

/** The report in one of the formats, with a line feed at its end. */
export function formatReport(report: BenchReport, format: BenchFormat): string {
  switch (format) {
    case 'md':
      return formatMarkdown(report)
    case 'json':
      return `${JSON.stringify(
        report.rows.map((row) => record(report, row)),
        null,
        2,
      )}\n`
    case 'jsonl':
      return report.rows.map((row) => `${JSON.stringify(record(report, row))}\n`).join('')
    case 'csv':
      return formatCsv(report)
  }
}

/** A row as a flat object, in llama-bench's keys where it has one. Rates are tokens or 10⁹ bytes a second. */
export function record(report: BenchReport, row: BenchRow) {
  const { machine } = report
  const { model, test } = row
  const nanoseconds = row.milliseconds.map((ms) => Math.round(1e6 * ms))
  const { mean, deviation } = row
  const meanNs = nanoseconds.reduce((sum, ns) => sum + ns, 0) / nanoseconds.length
  const gigabytes = (bytes: number | undefined) => (bytes === undefined ? null : bytes / 1e9)
  return {
    package_version: machine.version,
    node_version: machine.node,
    platform: `${machine.platform}-${machine.architecture}`,
    system: machine.system,
    cpu_info: machine.processor,
    cpu_cores: machine.cores,
    memory_bytes: machine.memoryBytes,
    backends: row.device,
    model_filename: model.path,
    model_type: `${model.architecture} ${model.weightType}`,
    model_size: row.weightBytes,
    model_n_params: model.parameters,
    quantization_bits: model.quantization?.bits ?? null,
    quantization_group_size: model.quantization?.groupSize ?? null,
    n_batch: test.batch,
    n_threads: row.threads,
    n_prompt: test.kind === 'pp' ? test.tokens : 0,
    n_gen: test.kind === 'tg' ? test.tokens : 0,
    n_depth: test.depth,
    test: row.name,
    test_time: report.startedAt,
    seed: report.seed,
    avg_ns: Math.round(meanNs),
    stddev_ns: Math.round(
      Math.sqrt(
        nanoseconds.reduce((sum, ns) => sum + (ns - meanNs) ** 2, 0) /
          Math.max(1, nanoseconds.length - 1),
      ),
    ),
    avg_ts: mean,
    stddev_ts: deviation,
    median_ts: row.median,
    load_ms: row.loadMs,
    time_to_first_token_ms: row.timeToFirstTokenMs ?? null,
    peak_memory_bytes: row.peakMemoryBytes,
    state_bytes: row.stateBytes,
    weight_bytes: row.weightBytes,
    bytes_per_step: row.bytesPerStep ?? null,
    achieved_bandwidth_gbps: gigabytes(row.bytesPerSecond),
    read_bandwidth_gbps: gigabytes(row.readBandwidth),
    bandwidth_share: row.bandwidthShare ?? null,
    samples_ns: nanoseconds,
    samples_ts: row.tokensPerSecond,
  }
}

// Every value in quotes, as llama-bench writes them; lists are left to the other formats.
function formatCsv(report: BenchReport): string {
  const records = report.rows.map((row) => {
    const { samples_ns: _, samples_ts: __, ...scalars } = record(report, row)
    return scalars
  })
  const lines = records.map((entry) => Object.values(entry).map(csvField).join(','))
  return `${[Object.keys(records[0]!).join(','), ...lines].join('\n')}\n`
}

/** A value of a CSV file: in quotes, those inside doubled; nothing for null. */
export function csvField(value: string | number | null): string {
  return `"${String(value ?? '').replaceAll('"', '""')}"`
}

interface Column {
  title: string
  isNumber: boolean
  value(row: BenchRow): string
}

const digits = (value: number) => value.toFixed(value < 9.995 ? 2 : 1)
const orDash = (value: number | undefined, format: (value: number) => string) =>
  value === undefined ? '-' : format(value)

/** The columns of a table, as texts: those of llama-bench first. */
export const COLUMNS: readonly Column[] = [
  { title: 'model', isNumber: false, value: ({ model }) => model.label },
  { title: 'size', isNumber: true, value: ({ weightBytes }) => formatBytes(weightBytes) },
  { title: 'params', isNumber: true, value: ({ model }) => formatCount(model.parameters) },
  {
    title: 'backend',
    isNumber: false,
    value: ({ device }) => (device === 'cpu' ? 'CPU' : 'Metal'),
  },
  { title: 'threads', isNumber: true, value: ({ threads }) => String(threads) },
  { title: 'test', isNumber: true, value: ({ name }) => name },
  {
    title: 't/s',
    isNumber: true,
    value: (row) => `${digits(row.mean)} ± ${digits(row.deviation)}`,
  },
  { title: 'median', isNumber: true, value: ({ median }) => digits(median) },
  { title: 'peak mem', isNumber: true, value: (row) => formatBytes(row.peakMemoryBytes) },
  { title: 'state', isNumber: true, value: ({ stateBytes }) => formatBytes(stateBytes) },
  {
    title: 'GB/s',
    isNumber: true,
    value: (row) => orDash(row.bytesPerSecond, (b) => digits(b / 1e9)),
  },
  {
    title: 'of read',
    isNumber: true,
    value: (row) => orDash(row.bandwidthShare, (share) => `${(100 * share).toFixed(0)} %`),
  },
]

function formatMarkdown(report: BenchReport): string {
  const { machine, rows } = report
  const cells = rows.map((row) => COLUMNS.map(({ value }) => value(row).replaceAll('|', '\\|')))
  const widths = COLUMNS.map(({ title }, i) =>
    Math.max(title.length, ...cells.map((line) => line[i]!.length)),
  )
  const line = (texts: readonly string[]) => {
    const padded = texts.map((text, i) =>
      COLUMNS[i]!.isNumber ? text.padStart(widths[i]!) : text.padEnd(widths[i]!),
    )
    return `| ${padded.join(' | ')} |`
  }
  const rule = COLUMNS.map(({ isNumber }, i) =>
    isNumber ? `${'-'.repeat(widths[i]! - 1)}:` : '-'.repeat(widths[i]!),
  )
  return [
    line(COLUMNS.map(({ title }) => title)),
    line(rule),
    ...cells.map(line),
    '',
    ...notes(report),
    '',
    `build: ssm-metal ${machine.version}, Node ${machine.node}, ${machine.platform} ${machine.architecture}, ${machine.processor}`,
    '',
  ].join('\n')
}

/** What the table has no column for, one sentence each. */
export function notes({ rows, repetitions }: BenchReport): string[] {
  const bandwidths = new Map(rows.map((row) => [row.threads, row.readBandwidth]))
  const loads = new Map(rows.map((row) => [`${row.model.label} ${row.threads}`, row]))
  const reading = [...bandwidths].map(
    ([threads, rate]) => `${digits(rate / 1e9)} GB/s with ${threads} ${plural(threads, 'thread')}`,
  )
  return [
    `Each row: ${repetitions} ${plural(repetitions, 'process', 'es')}. This machine reads ${reading.join(', ')} (median).`,
    ...[...loads.values()].map(({ model, threads, loadMs }) => {
      const first = rows.find(
        (row) =>
          row.model === model && row.threads === threads && row.timeToFirstTokenMs !== undefined,
      )
      const after = first
        ? `; ${formatDuration(first.timeToFirstTokenMs!)} from a prompt to the first token (${first.name})`
        : ''
      return `${model.label}, ${threads} ${plural(threads, 'thread')}: loaded in ${formatDuration(loadMs)}${after}.`
    }),
  ]
}

/** `noun` as it stands after `count`. */
export function plural(count: number, noun: string, ending = 's'): string {
  return count === 1 ? noun : `${noun}${ending}`
}
