// What is measured, and in which trials: a trial is one process that loads the model and walks along
// one sequence, or several at once, measuring at one depth or at several.

/** One thing to measure. `pp`: tokens of a prompt at once. `tg`: tokens generated one by one. */
export interface BenchTest {
  kind: 'pp' | 'tg'
  /** Tokens of each stream that are timed. */
  tokens: number
  /** Tokens that each stream has seen before. */
  depth: number
  /** Streams that run together. */
  batch: number
}

/** The tests of one process, by rising depth. */
export type TrialPlan = readonly BenchTest[]

/**
 * The name of a test as llama-bench writes it.
 *
 * @example testName({ kind: 'tg', tokens: 128, depth: 4096, batch: 1 }) // 'tg128 @ d4096'
 */
export function testName({ kind, tokens, depth, batch }: BenchTest): string {
  const name = `${kind}${tokens}${batch === 1 ? '' : ` b${batch}`}`
  return depth === 0 ? name : `${name} @ d${depth}`
}

/** What to measure; a count of 0 tokens leaves that kind out. */
export interface Sizes {
  promptTokens: readonly number[]
  generationTokens: readonly number[]
  depths: readonly number[]
  batchSizes: readonly number[]
}

/** Each test in a trial of its own. */
export function planTrials(sizes: Sizes): TrialPlan[] {
  const { promptTokens, generationTokens, depths, batchSizes } = sizes
  const kinds = [
    ...promptTokens.map((tokens) => ({ kind: 'pp' as const, tokens })),
    ...generationTokens.map((tokens) => ({ kind: 'tg' as const, tokens })),
  ].filter(({ tokens }) => tokens > 0)
  return batchSizes.flatMap((batch) =>
    depths.flatMap((depth) => kinds.map((test) => [{ ...test, depth, batch }])),
  )
}

/** Context lengths of a sweep, unless others are asked for. */
export const SWEEP_DEPTHS = [0, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const

/**
 * One trial that walks through all depths: at each it times the generation of tokens, and on the way
 * there the last tokens of the prompt, where they fit in between.
 */
export function planSweep(sizes: Sizes): TrialPlan[] {
  const { promptTokens, generationTokens, depths, batchSizes } = sizes
  const prompt = promptTokens[0] ?? 0
  const generation = generationTokens[0] ?? 0
  return batchSizes.map((batch) => {
    const tests: BenchTest[] = []
    let position = 0
    for (const depth of depths.toSorted((a, b) => a - b)) {
      if (prompt > 0 && depth - prompt >= position) {
        tests.push({ kind: 'pp', tokens: prompt, depth: depth - prompt, batch })
        position = depth
      }
      if (generation > 0 && depth >= position) {
        tests.push({ kind: 'tg', tokens: generation, depth, batch })
        position = depth + generation
      }
    }
    return tests
  })
}
