// Writes docs/gpu-table.md from the results of run.sh: node table.mjs RESULTS
// Every figure in it was measured in one run; nothing is written by hand.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const [results] = process.argv.slice(2)
if (!results) {
  console.error('usage: node table.mjs RESULTS')
  process.exit(2)
}
const output = resolve(dirname(fileURLToPath(import.meta.url)), '../../docs/gpu-table.md')

const text = (name) =>
  existsSync(join(results, name)) ? readFileSync(join(results, name), 'utf8').trim() : ''
const lines = (name) =>
  text(name)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map(JSON.parse)

const rows = new Map(
  lines('rows.jsonl')
    .filter(({ label }) => label)
    .map((row) => [row.label, row]),
)
const times = lines('times.jsonl').filter(({ label }) => label)
const copySpeed = lines('times.jsonl').find(
  (row) => row.copyGigabytesPerSecond,
)?.copyGigabytesPerSecond
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 3 : 1)
const percent = (part) => `${(100 * part).toFixed(0)} %`
const resources = lines('resources.jsonl')

const sections = [header(), checks(), models(), operations(), traffic(), registers()]
mkdirSync(dirname(output), { recursive: true })
writeFileSync(output, `${sections.filter(Boolean).join('\n\n')}\n`)

function table(columns, body) {
  const row = (cells) => `| ${cells.join(' | ')} |`
  const align = columns.map((_, i) => (i === 0 ? '---' : '---:'))
  return [row(columns), row(align), ...body.map(row)].join('\n')
}

function header() {
  const [name, driver] = text('gpu.txt').split(', ')
  return `# Metal kernels on an NVIDIA GPU

Written by test/gpu/table.mjs from what test/gpu/run.sh measured and checked on ${text('date.txt')}: ${name}, driver
${driver}. A copy within its memory moved ${copySpeed} GB/s, reads and writes together. It is not a Mac, and no
figure here says anything about the speed of one.`
}

function checks() {
  const all = readdirSync(results)
    .filter((name) => /^verify-.*\.log$/.test(name))
    .flatMap(lines)
  const operations = [...new Set(all.map(({ operation }) => operation))].sort()
  const body = operations.map((operation) => {
    const of = all.filter((each) => each.operation === operation)
    const worst = Math.max(...of.map(({ error, limit }) => (limit ? error / limit : 0)))
    return [
      operation,
      of.length,
      of.filter(({ passed }) => passed).length,
      Number.isFinite(worst) ? worst.toFixed(2) : 'failed',
    ]
  })
  const seeded = text('seeded.log')
    .split('\n')
    .filter((line) => /^(ok|FAILED) [a-z]+check /.test(line))
    .map((line) => `- ${line}`)
  return `## Checks

\`\`\`
${text('summary.txt')}
\`\`\`

Cases of \`ssm-metal verify\` against the plain loops of the CPU device, small shapes and those of published
models; the last column is the largest error as a part of what lib/verify/tolerance.ts allows.

${table(['operation', 'cases', 'passed', 'error / limit'], body)}

Seeded mistakes (test/software-metal/seeded/bugs.metal), each looked for by its checker; \`neighbour\` and
\`neighbour_in_simdgroup\` are right:

${seeded.join('\n')}`
}

function models() {
  const errors = lines('rows.jsonl').filter(({ model }) => model)
  const steps = times.filter(({ label }) => /decode step|prefill of/.test(label))
  const body = steps.map(({ label, dispatches, microseconds }) => {
    const { read, written } = rows.get(label)
    const floor = (read + written) / copySpeed / 1e3
    const bound = label.includes('prefill') ? '' : floor.toFixed(0)
    return [label, dispatches, microseconds.toFixed(0), bound, overDecode(label, microseconds)]
  })
  return `## Whole models

Random weights, all kernels in order. Errors are ‖logits − expected‖ / ‖expected‖ against the CPU device, which
computes in float32 with the same weights.

${table(
  ['model', 'activations and weights', 'after', 'error', 'limit'],
  errors.map((row) => [row.model, row.form, row.what, row.error.toExponential(1), row.limit]),
)}

Times of a list as one graph. The floor is the time of its weights and state at the copy's speed. The last column is
the rate of a prompt's tokens over that of decoding.

${table(['list', 'dispatches', 'µs', 'floor µs', 'prefill / decode'], body)}`
}

/** How many times as many tokens a second a prompt gives as decoding does; nothing for other lists. */
function overDecode(label, microseconds) {
  const [, model, tokens] = /^(.*), prefill of (\d+) tokens$/.exec(label) ?? []
  const step = times.find((each) => each.label === `${model}, decode step`)
  return step ? ((step.microseconds * tokens) / microseconds).toFixed(1) : ''
}

function operations() {
  const body = times
    .filter(({ label }) => !/decode step|prefill of/.test(label))
    .map(({ label, dispatches, microseconds, copies }) => {
      const { read, written } = rows.get(label)
      const speed = (read + written) / microseconds / 1e3
      return [
        label,
        dispatches,
        megabytes(read + written),
        microseconds.toFixed(1),
        speed.toFixed(0),
        percent(speed / copySpeed),
        copies,
      ]
    })
  const sums = ['ssd_chunk_scan', 'delta_chunk_scan'].map(scansOf).filter(Boolean)
  return `## Times

Medians of 15 runs of a graph; as many copies of all buffers as are needed to leave the cache, used in turn.
Bytes are those that an operation cannot do without: each input read once, each output written once.

${table(['list', 'dispatches', 'MB', 'µs', 'GB/s', 'of copy', 'copies'], body)}${sums.join('')}`
}

/** What a scan takes of prompts of several lengths, in words; nothing where one was not timed. */
function scansOf(operation) {
  const lengths = [1024, 2048, 4096, 8192, 16384]
  const scans = lengths.map((length) =>
    times.find(({ label }) => label.startsWith(operation) && label.includes(`, ${length} tokens`)),
  )
  if (!scans.every(Boolean)) return ''
  const each = scans
    .map(({ microseconds }, i) => `${2 ** i}k: ${(microseconds / lengths[i]).toFixed(3)}`)
    .join(', ')
  const projections = times.filter(({ label }) => label.includes(', 4096 x '))
  const sum = projections.reduce((total, { microseconds }) => total + microseconds, 0)
  const share =
    operation === 'ssd_chunk_scan' && projections.length === 2
      ? ` Of 4096 tokens it takes ${percent(scans[2].microseconds / sum)} of the time of that layer's two projections by
the same run's mat-mat kernel.`
      : ''
  return `

${operation}, microseconds a token by the length of the prompt: ${each}.${share}`
}

/** What the profiler counted, launch by launch in the order of the launches that the device noted. */
function traffic() {
  const launches = lines('profile-launches.jsonl')
  const counted = []
  const csv = text('profile.csv')
    .split('\n')
    .filter((line) => line.startsWith('"'))
  if (csv.length === 0) return ''
  const cells = (line) => line.slice(1, -1).split('","')
  const columns = cells(csv[0])
  for (const line of csv.slice(1)) {
    const row = Object.fromEntries(cells(line).map((cell, i) => [columns[i], cell]))
    counted[Number(row.ID)] ??= { name: row['Kernel Name'] }
    counted[Number(row.ID)][row['Metric Name']] = Number(row['Metric Value'].replaceAll(',', ''))
  }
  const expected = new Map(lines('profile-rows.jsonl').map((row) => [row.label, row]))
  const sums = new Map()
  for (const [i, { label, function: name }] of launches.entries()) {
    const count = counted[i]
    if (!count || name !== count.name) {
      throw new Error(`launch ${i} is ${name}, but the profiler saw ${count?.name}`)
    }
    const sum = sums.get(label) ?? { read: 0, written: 0, active: [] }
    sum.read += count['dram__bytes_read.sum']
    sum.written += count['dram__bytes_write.sum']
    sum.active.push(count['sm__warps_active.avg.pct_of_peak_sustained_active'].toFixed(0))
    sums.set(label, sum)
  }
  const body = [...sums]
    .filter(([label]) => /, (1|16) x /.test(label))
    .map(([label, { read, written, active }]) => {
      const least = leastRead(expected.get(label))
      const over = (100 * (read / least - 1)).toFixed(1)
      return [
        label,
        megabytes(least),
        megabytes(read),
        `${over} %`,
        megabytes(written),
        active.join(', '),
      ]
    })
  return `## Bytes of a decode step's operations

Read from and written to the GPU's memory, counted by ncu with a cold cache. What is written may stay in the
cache, so only reads are held against the least.

${table(['list', 'least read MB', 'read MB', 'over', 'written MB', '% of warps active'], body)}`
}

/** The rings of attention are among its results, but all of them is read and one row written. */
function leastRead({ label, read, written }) {
  return label.startsWith('attention_decode') ? read + written : read
}

function registers() {
  const bad = resources.filter(({ stack, spills }) => stack > 0 || spills > 0)
  const list = bad.map(({ function: name, registers, stack, spills }) => [
    name,
    registers,
    stack,
    spills,
  ])
  const most = Math.max(...resources.map((row) => row.registers))
  return `## Registers

${resources.length} functions, one for each kernel and set of constants that ran; ${bad.length} of them with a local
frame or spills, by \`ptxas -v\`; at most ${most} registers.${
    bad.length > 0 ? `\n\n${table(['function', 'registers', 'stack', 'spilled bytes'], list)}` : ''
  }`
}
