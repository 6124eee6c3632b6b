// A benchmark as one page that needs nothing else: no scripts, no fonts, no network.

import { formatBytes, formatDuration } from '../support/format.js'
import type { BenchReport, BenchRow } from './bench.js'
import { COLUMNS, notes, plural, record } from './format.js'
import { barPlot, escapeHtml, linePlot, SERIES_COLOURS, type Series, shortNumber } from './plot.js'

/** The page. `commandLine` is shown as what to type for it. */
export function formatHtml(report: BenchReport, commandLine: string): string {
  const title = `ssm-metal bench: ${unique(report.rows.map((row) => row.model.label)).join(', ')}`
  const records = report.rows.map((row) => record(report, row))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="command"><code>${escapeHtml(commandLine)}</code></p>
${machineFacts(report)}
${plots(report.rows)}
<h2>All tests</h2>
${table(report.rows)}
<h2>How to read this</h2>
<ul>
${[...notes(report), ...explanations(report)].map((note) => `<li>${escapeHtml(note)}</li>`).join('\n')}
</ul>
<details>
<summary>Every measurement, as JSON</summary>
<pre>${escapeHtml(JSON.stringify(records, null, 1))}</pre>
</details>
</main>
</body>
</html>
`
}

function machineFacts({ machine, startedAt, seconds, rows, repetitions }: BenchReport): string {
  const { processor, cores, memoryBytes, platform, architecture, system, node, version } = machine
  const devices = unique(
    rows.map(
      ({ device, threads }) =>
        `${device === 'cpu' ? 'CPU' : 'Metal'}, ${threads} ${plural(threads, 'thread')}`,
    ),
  )
  const bandwidths = new Map(rows.map((row) => [row.threads, row.readBandwidth]))
  const facts: [string, string][] = [
    ['processor', `${processor}, ${cores} cores`],
    ['memory', formatBytes(memoryBytes)],
    [
      'read bandwidth',
      [...bandwidths]
        .map(
          ([threads, rate]) =>
            `${(rate / 1e9).toFixed(1)} GB/s (${threads} ${plural(threads, 'thread')})`,
        )
        .join(', '),
    ],
    ['device', devices.join('; ')],
    ['system', `${platform} ${architecture} ${system}`],
    ['versions', `ssm-metal ${version}, Node ${node}`],
    ['run', `${startedAt.slice(0, 16).replace('T', ' ')} UTC, ${formatDuration(1000 * seconds)}`],
    ['repetitions', String(repetitions)],
  ]
  const items = facts.map(
    ([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`,
  )
  return `<dl>\n${items.join('\n')}\n</dl>`
}

/** Lines against the context length where there are several, else bars. */
function plots(rows: readonly BenchRow[]): string {
  const figures: string[] = []
  for (const kind of ['tg', 'pp'] as const) {
    const of = rows.filter(({ test }) => test.kind === kind)
    if (of.length === 0) continue
    const name = kind === 'tg' ? 'Decode' : 'Prefill'
    const series = seriesByDepth(of, (row) => ({
      y: row.median,
      samples: row.tokensPerSecond,
    }))
    if (series.some(({ points }) => points.length > 1)) {
      figures.push(lines(`${name} speed`, 'tokens a second', series))
    } else {
      figures.push(bars(`${name} speed, tokens a second`, of))
    }
  }
  const memory = seriesByDepth(
    rows.filter(({ test }) => test.kind === 'tg'),
    (row) => ({ y: row.peakMemoryBytes / 2 ** 20, samples: [] }),
  )
  if (memory.some(({ points }) => points.length > 1)) {
    figures.push(lines('Memory', 'peak resident memory, MiB', memory))
  }
  return `<div class="figures">\n${figures.join('\n')}\n</div>`
}

/** Rows that differ in nothing but depth, as one series each. */
function seriesByDepth(
  rows: readonly BenchRow[],
  measure: (row: BenchRow) => { y: number; samples: readonly number[] },
): Series[] {
  const series = new Map<string, Series>()
  const severalThreads = unique(rows.map(({ threads }) => threads)).length > 1
  for (const row of rows) {
    const { kind, tokens, batch } = row.test
    const threads = severalThreads ? `, ${row.threads} ${plural(row.threads, 'thread')}` : ''
    const label = `${row.model.label}, ${kind}${tokens}${batch === 1 ? '' : ` b${batch}`}${threads}`
    const one = series.get(label) ?? { label, points: [] }
    series.set(label, one)
    one.points.push({ x: row.test.depth, ...measure(row) })
  }
  return [...series.values()]
}

function lines(title: string, yLabel: string, series: Series[]): string {
  const xLabel = 'context, tokens'
  const plot = linePlot({ title, xLabel, yLabel, series, formatX: formatDepth })
  const legend = series.map(
    ({ label }, i) =>
      `<li class="series-${i % SERIES_COLOURS}"><span class="swatch"></span>${escapeHtml(label)}</li>`,
  )
  return `<figure>\n<figcaption>${escapeHtml(title)}</figcaption>\n${plot}\n<ul class="legend">${legend.join('')}</ul>\n</figure>`
}

function bars(title: string, rows: readonly BenchRow[]): string {
  const severalThreads = unique(rows.map(({ threads }) => threads)).length > 1
  const plot = barPlot({
    title,
    bars: rows.map((row) => ({
      label: `${row.model.label} · ${row.name}${severalThreads ? ` · ${row.threads} ${plural(row.threads, 'thread')}` : ''}`,
      value: row.median,
      text: `${shortNumber(row.median)} ± ${shortNumber(row.deviation)}`,
      samples: row.tokensPerSecond,
    })),
  })
  return `<figure>\n<figcaption>${escapeHtml(title)}</figcaption>\n${plot}\n</figure>`
}

/** 65536 as 64k; what is no multiple of 1024 as it is. */
function formatDepth(depth: number): string {
  return depth >= 1024 && depth % 1024 === 0 ? `${depth / 1024}k` : String(depth)
}

function table(rows: readonly BenchRow[]): string {
  const head = COLUMNS.map(
    ({ title, isNumber }) => `<th${isNumber ? ' class="number"' : ''}>${escapeHtml(title)}</th>`,
  )
  const body = rows.map((row) => {
    const cells = COLUMNS.map(({ title, isNumber, value }) => {
      const text = value(row)
      const classes = [...(isNumber ? ['number'] : []), ...(text === '-' ? ['none'] : [])].join(' ')
      return `<td data-title="${escapeHtml(title)}"${classes && ` class="${classes}"`}>${escapeHtml(text)}</td>`
    })
    return `<tr>${cells.join('')}</tr>`
  })
  return `<div class="scroll"><table>\n<thead><tr>${head.join('')}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table></div>`
}

function explanations({ rows, sweep }: BenchReport): string[] {
  const texts = [
    'pp512 reads a prompt of 512 random tokens, tg128 generates 128 tokens one by one; @ d4096: after 4096 tokens of context. t/s is mean ± standard deviation; choosing each token (greedily) counts, tokenising does not.',
    'Each repetition is a process of its own with a prompt of its own. Small dots are single repetitions, lines and bars their median.',
    'GB/s: bytes of weights and state that each step needs, counted once, by the median time of a step; of read: their share of the bandwidth measured in the same repetition.',
    'Peak memory is that of the whole process, mapped weights and Node.js itself included; state is what a sequence keeps between tokens, whatever its length.',
  ]
  if (sweep && rows.length > 0) {
    texts.push('This is a sweep: every repetition walks through all depths along one sequence.')
  }
  return texts
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)]
}

const STYLE = `
:root {
  --text: #1d2129; --soft: #59616e; --back: #ffffff; --panel: #f5f6f8; --line: #d9dce2;
  --c0: #2563c9; --c1: #c2410c; --c2: #12805c; --c3: #8b3fc4; --c4: #9a6b00; --c5: #be1e5a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e7ec; --soft: #9aa3b2; --back: #14171c; --panel: #1d2128; --line: #363c47;
    --c0: #6ba3f8; --c1: #f58f5b; --c2: #48c79c; --c3: #c08bf0; --c4: #dcb14a; --c5: #f27ba5;
  }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--text); background: var(--back); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 32px 0 8px; }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
.command { margin: 0 0 16px; padding: 8px 12px; background: var(--panel); border-radius: 6px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 8px 20px; margin: 0 0 24px; }
dt { color: var(--soft); font-size: 0.8rem; }
dd { margin: 0; font-size: 0.92rem; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px 14px; background: var(--panel); border-radius: 8px; max-width: 560px; }
figcaption { font-weight: 600; margin-bottom: 8px; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--text); }
svg .tick, svg .axis { fill: var(--soft); }
svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke: var(--colour); stroke-width: 2; stroke-linejoin: round; }
svg .mark { fill: var(--colour); }
svg .sample { fill: var(--colour); opacity: 0.4; }
svg .bar { fill: var(--c0); opacity: 0.75; }
svg .dot { fill: var(--text); opacity: 0.7; }
${Array.from({ length: SERIES_COLOURS }, (_, i) => `.series-${i} { --colour: var(--c${i}); }`).join('\n')}
.legend { list-style: none; margin: 8px 0 0; padding: 0; font-size: 0.85rem; display: flex; flex-wrap: wrap; gap: 2px 16px; }
.swatch { display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin-right: 6px; vertical-align: middle; background: var(--colour); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
.number { text-align: right; }
li { margin-bottom: 6px; }
details { margin-top: 24px; }
summary { cursor: pointer; }
pre { background: var(--panel); border-radius: 6px; padding: 12px; overflow-x: auto; max-height: 420px; }
@media (max-width: 700px) {
  dl { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1fr 1fr; column-gap: 20px; padding: 10px 12px; margin-bottom: 10px; background: var(--panel); border-radius: 8px; }
  td { display: flex; justify-content: space-between; gap: 8px; border: 0; padding: 2px 0; white-space: normal; text-align: right; }
  td::before { content: attr(data-title); color: var(--soft); text-align: left; white-space: nowrap; }
  td.none { display: none; }
  td:is([data-title='model'], [data-title='test'], [data-title='t/s']) { order: -1; font-weight: 600; }
  td[data-title='model'] { grid-column: 1 / -1; }
  td:is([data-title='model'], [data-title='test'])::before { content: none; }
}
`
