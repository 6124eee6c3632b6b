// Plots as SVG, in the colours of the page around them (html.ts): classes series-0, series-1, ... and
// currentColor, so that they follow its light and dark theme.

/** One line of a plot, or one row of bars. */
export interface Series {
  label: string
  points: Point[]
}

export interface Point {
  x: number
  /** What the line goes through. */
  y: number
  /** Single measurements, drawn as small dots. */
  samples: readonly number[]
}

export interface LinePlot {
  title: string
  xLabel: string
  yLabel: string
  series: readonly Series[]
  formatX(x: number): string
}

/** Number of colours in the page. */
export const SERIES_COLOURS = 6

/** Text that is safe between tags and in attributes. */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (character) => entities[character]!)
}

/**
 * About `count` round numbers from 0 that end at or above `largest`.
 *
 * @example ticks(87, 4) // [0, 25, 50, 75, 100]
 */
export function ticks(largest: number, count: number): number[] {
  const rough = (largest > 0 ? largest : 1) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999)!
  return steps(largest, step)
}

/** As `ticks`, for context lengths: multiples of a power of two. */
export function binaryTicks(largest: number, count: number): number[] {
  return steps(largest, 2 ** Math.max(0, Math.ceil(Math.log2((largest || 1) / count))))
}

function steps(largest: number, step: number): number[] {
  const last = Math.max(1, Math.ceil(largest / step - 1e-9))
  return Array.from({ length: last + 1 }, (_, i) => i * step)
}

/** A number of a tick or a bar, as short as it can be read. */
export function shortNumber(value: number): string {
  if (value >= 99.95 || Number.isInteger(value)) return String(Math.round(value))
  return value.toFixed(value < 9.995 ? 2 : 1).replace(/\.?0+$/, '')
}

// Units of the view box: about pixels on a phone.
const WIDTH = 360
const HEIGHT = 232
const LEFT = 46
const RIGHT = 14
const TOP = 26
const BOTTOM = 40

/** Lines over an x axis, both axes from 0: what is flat looks flat. */
export function linePlot({ title, xLabel, yLabel, series, formatX }: LinePlot): string {
  const points = series.flatMap((one) => one.points)
  const yTicks = ticks(Math.max(...points.flatMap(({ y, samples }) => [y, ...samples])), 4)
  const xTicks = binaryTicks(Math.max(...points.map(({ x }) => x)), 4)
  const toX = (x: number) => LEFT + ((WIDTH - LEFT - RIGHT) * x) / xTicks.at(-1)!
  const toY = (y: number) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * y) / yTicks.at(-1)!
  const grid = yTicks.map(
    (y) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(toY(y))}" y2="${at(toY(y))}"/>` +
      `<text class="tick" x="${LEFT - 6}" y="${at(toY(y) + 3.5)}" text-anchor="end">${shortNumber(y)}</text>`,
  )
  const xAxis = xTicks.map(
    (x) =>
      `<line class="grid" x1="${at(toX(x))}" x2="${at(toX(x))}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM + 4}"/>` +
      `<text class="tick" x="${at(toX(x))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${escapeHtml(formatX(x))}</text>`,
  )
  const lines = series.map((one, i) => {
    const sorted = one.points.toSorted((a, b) => a.x - b.x)
    const path = sorted.map(({ x, y }) => `${at(toX(x))},${at(toY(y))}`).join(' ')
    const samples = sorted.flatMap(({ x, samples: values }) =>
      values.map((y) => `<circle class="sample" cx="${at(toX(x))}" cy="${at(toY(y))}" r="1.7"/>`),
    )
    const marks = sorted.map(
      ({ x, y }) =>
        `<circle class="mark" cx="${at(toX(x))}" cy="${at(toY(y))}" r="3.2">` +
        `<title>${escapeHtml(`${one.label}: ${shortNumber(y)} at ${formatX(x)}`)}</title></circle>`,
    )
    return `<g class="series-${i % SERIES_COLOURS}"><polyline points="${path}"/>${samples.join('')}${marks.join('')}</g>`
  })
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${title}: ${yLabel} against ${xLabel}`)}">`,
    `<text class="axis" x="4" y="12">${escapeHtml(yLabel)}</text>`,
    ...grid,
    ...xAxis,
    `<text class="axis" x="${WIDTH - RIGHT}" y="${HEIGHT - 6}" text-anchor="end">${escapeHtml(xLabel)}</text>`,
    ...lines,
    '</svg>',
  ].join('\n')
}

export interface Bar {
  label: string
  /** The length of the bar. */
  value: number
  /** What stands at its end. */
  text: string
  samples: readonly number[]
}

const BAR_ROW = 40
const VALUE_WIDTH = 92

/** Horizontal bars from 0 with a label above each and the single measurements as dots. */
export function barPlot({ title, bars }: { title: string; bars: readonly Bar[] }): string {
  const height = bars.length * BAR_ROW + 4
  const largest = Math.max(...bars.flatMap(({ value, samples }) => [value, ...samples])) || 1
  const toX = (value: number) => ((WIDTH - VALUE_WIDTH) * value) / largest
  const rows = bars.map(({ label, value, text, samples }, i) => {
    const top = i * BAR_ROW
    const middle = top + 27
    const dots = samples.map(
      (sample) => `<circle class="dot" cx="${at(toX(sample))}" cy="${middle}" r="1.9"/>`,
    )
    const end = Math.max(toX(value), ...samples.map(toX))
    return (
      `<text class="label" x="0" y="${top + 14}">${escapeHtml(label)}</text>` +
      `<rect class="bar" x="0" y="${top + 20}" width="${at(Math.max(1, toX(value)))}" height="14" rx="2"/>` +
      dots.join('') +
      `<text class="value" x="${at(end + 7)}" y="${middle + 4}">${escapeHtml(text)}</text>`
    )
  })
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">`,
    ...rows,
    '</svg>',
  ].join('\n')
}

function at(coordinate: number): string {
  return coordinate.toFixed(1).replace(/\.0$/, '')
}
