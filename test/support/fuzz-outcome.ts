// What comes of a model whose files are damaged, in a word; used by the programs that damage them.

import type { Model } from '../../lib/model.js'

// Those that a damaged file may end in, each naming what is wrong; anything else is a mistake.
const EXPECTED = /^(CorruptFileError|UnsupportedArchitectureError|ModelNotFoundError)$/

/** `loaded`, `refused`, or a line that begins with `WRONG`. */
export async function outcomeOf(path: string, load: () => Promise<Model>): Promise<string> {
  try {
    await using model = await load()
    await model.logits([1, 2, 3, 4, 5, 6, 7, 8])
    await model.generate([1, 2, 3], { maxTokens: 3, temperature: 1, seed: 1 })
    return 'loaded'
  } catch (error) {
    const { name, message } = error as Error
    const isExpected = EXPECTED.test(name) && message.includes(path)
    const isBrokenNumber = /^\[sample\] (logit \d+ is NaN|the largest logit is infinite)/.test(
      message,
    )
    const isShort = name === 'ContextLengthError' && /the model is made for \d\)$/.test(message)
    if (isExpected || isBrokenNumber || isShort) return 'refused'
    return `WRONG ${path} ${name}: ${message}`
  }
}
