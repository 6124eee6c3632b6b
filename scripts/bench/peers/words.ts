// Checks what a command line has.

/** A whole number. `name` leads the message when it is none. */
export function wholeNumber(name: string, value: string, least = 1): number {
  if (/^\d+$/.test(value) && Number(value) >= least) return Number(value)
  throw new Error(`--${name} must be a whole number, at least ${least}, but is ${value}`)
}

/** A list of known words. */
export function choices(name: string, list: string, known: readonly string[]): string[] {
  for (const item of list.split(',')) {
    if (!known.includes(item)) {
      throw new Error(`--${name} must be of ${known.join(', ')} but has ${item}`)
    }
  }
  return list.split(',')
}
