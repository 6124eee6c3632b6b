// Numbers and lists for people. Memory is always in binary units (MiB, GiB), never in a mix of both kinds.

/** Rounds to three significant digits without an exponent: 1.33, 12.4, 124, 1240. */
function threeDigits(value: number): string {
  const digits = Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0
  return value.toFixed(digits)
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let scale = 0
  let rest = value
  // 999.5 rounds to 1000 of its unit, which is 1.00 of the next.
  while (Math.abs(rest) >= base - 0.5 && scale < units.length - 1) {
    rest /= base
    scale++
  }
  const unit = units[scale]!
  const number = scale === 0 && Number.isInteger(rest) ? String(rest) : threeDigits(rest)
  return unit === '' ? number : `${number} ${unit}`
}

/**
 * A size in memory or on disk.
 *
 * @example formatBytes(1.25 * 2 ** 30) // '1.25 GiB'
 */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])
}

/**
 * A count of parameters or tokens.
 *
 * @example formatCount(1_330_000_000) // '1.33 B'
 */
export function formatCount(count: number): string {
  return scaled(count, 1000, ['', 'k', 'M', 'B', 'T'])
}

/**
 * A duration.
 *
 * @example formatDuration(125_000) // '2 min 05 s'
 */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 0.9995) return `${threeDigits(milliseconds * 1000)} µs`
  if (milliseconds < 999.5) return `${threeDigits(milliseconds)} ms`
  if (milliseconds < 59_950) return `${threeDigits(milliseconds / 1000)} s`
  const seconds = Math.round(milliseconds / 1000)
  const pad = (value: number): string => String(value).padStart(2, '0')
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${pad(Math.floor((seconds % 3600) / 60))} min`
}

/**
 * Tokens a second.
 *
 * @example formatRate(128, 1000) // '128 tok/s'
 */
export function formatRate(tokens: number, milliseconds: number): string {
  return milliseconds > 0 ? `${threeDigits((tokens * 1000) / milliseconds)} tok/s` : '- tok/s'
}

/**
 * Several things in a sentence.
 *
 * @example listed([32, 64, 128], 'or') // '32, 64 or 128'
 */
export function listed(things: readonly (string | number)[], word: 'and' | 'or'): string {
  return things.length < 2
    ? things.join()
    : `${things.slice(0, -1).join(', ')} ${word} ${things.at(-1)}`
}

/** A name or value from a file, made safe for one line of a message: escaped, quoted, shortened. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value)
  if (text === undefined) return String(value)
  return text.length <= 160 ? text : `${text.slice(0, 160)}…`
}
