// Logits through the decode path.

import type { Device } from '../../lib/operations/device.js'
import { Scorer } from '../../lib/engine/scoring.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel } from '../../lib/models/language-model.js'
import type { LoaderOptions } from '../../lib/weights/loader.js'
import { ForcedTokens } from './forced-tokens.js'

/** Logits of all tokens: of the first `prefix` in chunks, of the others by the decode path. */
export async function logitsOneByOne(
  device: Device,
  path: string,
  tokens: readonly number[],
  prefix: number,
  options: LoaderOptions = {},
): Promise<Float32Array> {
  const model = await LanguageModel.load(device, await openCheckpoint(path), options)
  using scorer = new Scorer(model)
  using sequence = new ForcedTokens(model)
  try {
    const vocabulary = model.config.paddedVocabSize
    const logits = new Float32Array(tokens.length * vocabulary)
    const first = Uint32Array.from(tokens.slice(0, prefix))
    await scorer.logits(first, (rows, at) => logits.set(rows, at * vocabulary), {
      prefillChunkSize: 5,
    })
    if (prefix > 0) await sequence.prefill(first, 5)
    for (const [i, token] of tokens.entries()) {
      if (i < prefix) continue
      logits.set(await sequence.decode(token), i * vocabulary)
    }
    return logits
  } finally {
    model.dispose()
  }
}
