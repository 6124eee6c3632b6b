// Logits through the decode path.

import type { Device } from '../../lib/device.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel } from '../../lib/models/language-model.js'
import { Sequence } from '../../lib/models/sequence.js'
import type { LoaderOptions } from '../../lib/weights/loader.js'

/** Logits of all tokens: of the first `prefix` in chunks, of the others by the decode path. */
export async function logitsOneByOne(
  device: Device,
  path: string,
  tokens: readonly number[],
  prefix: number,
  options: LoaderOptions = {},
): Promise<Float32Array> {
  const model = await LanguageModel.load(device, await openCheckpoint(path), options)
  const sequence = new Sequence(model)
  try {
    const vocabulary = model.config.paddedVocabSize
    const logits = new Float32Array(tokens.length * vocabulary)
    const first = Uint32Array.from(tokens.slice(0, prefix))
    await sequence.logits(first, (rows, at) => logits.set(rows, at * vocabulary), {
      prefillChunkSize: 5,
    })
    for (const [i, token] of tokens.entries()) {
      if (i < prefix) continue
      sequence.token = token
      await sequence.decode()
      logits.set(await sequence.readLogits(), i * vocabulary)
    }
    return logits
  } finally {
    sequence.dispose()
    model.dispose()
  }
}
