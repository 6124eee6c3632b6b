// The repetition penalty of a text that the command line generates.

/**
 * The one asked for. The built-in model is so small that greedy text from it often falls into a loop: its card advises a
 * penalty, and what is done unasked is said.
 */
export function repetitionPenalty({
  model,
  repeatPenalty,
}: {
  readonly model?: string | undefined
  readonly repeatPenalty: number | undefined
}): number | undefined {
  if (model !== undefined || repeatPenalty !== undefined) return repeatPenalty
  process.stderr.write('ssm-metal: with --repeat-penalty 1.1, as its card advises\n')
  return 1.1
}
