// Lists and ranges of numbers on the command line, in the habits of llama-bench.

import { UsageError } from './command.js'

/**
 * Numbers as llama-bench takes them: lists with commas, and ranges `first-last`, `first-last+step` and
 * `first-last*factor`. Undefined when the option was not given.
 *
 * @example parseCounts('-d', ['0,1024-4096*2']) // [0, 1024, 2048, 4096]
 */
export function parseCounts(flag: string, texts: readonly string[], least = 0) {
  if (texts.length === 0) return undefined
  return texts.flatMap((text) => text.split(',')).flatMap((part) => parseRange(flag, part, least))
}

// More would be a mistake: nobody waits for a thousand tests.
const MOST_VALUES = 1000

function parseRange(flag: string, text: string, least: number): number[] {
  const match = /^(\d{1,9})(?:-(\d{1,9})(?:([+*])(\d{1,9}))?)?$/.exec(text)
  const wrong = (problem: string): never => {
    throw new UsageError(`option ${flag} ${problem}: ${JSON.stringify(text)}`)
  }
  if (!match) return wrong('must be of whole numbers, such as 512 or 0,4096 or 0-4096+1024')
  const first = Number(match[1])
  const last = Number(match[2] ?? first)
  const by = Number(match[4] ?? 1)
  if (first < least) return wrong(`must be at least ${least}`)
  const values: number[] = []
  for (let value = first; value <= last; value = match[3] === '*' ? value * by : value + by) {
    values.push(value)
    const next = match[3] === '*' ? value * by : value + by
    if (next <= value && last > first) return wrong('has a range that never ends')
    if (values.length > MOST_VALUES) return wrong('has too many values')
  }
  return values.length === 0 ? wrong('has a range that ends before it begins') : values
}
