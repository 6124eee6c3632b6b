// Between a session in memory and its file.

import type { ModelIdentity } from '../models/model-identity.js'
import { Snapshot } from '../engine/snapshot.js'
import type { LanguageModel } from '../models/language-model.js'
import { readSessionFile, type SessionContents, type SessionField } from './session-file.js'
import { bytesPerElement, type Tensor } from '../operations/tensor.js'
import { TokenHistory } from '../engine/token-history.js'
import { floatToHalf, halvesToFloats } from '../weights/convert.js'

/** What a session's file holds of it. `tokens`: whether the ids are among it. */
export function savedContents(
  snapshot: Snapshot,
  history: TokenHistory,
  { model, tokens }: { model: ModelIdentity; tokens: boolean },
): SessionContents {
  return {
    model,
    position: history.length,
    consumed: tokens && history.unknown === 0 ? history.known() : undefined,
    fields: snapshot.fields.map(({ name, tensor }) => {
      const data = tensor.read()
      return {
        name,
        dtype: tensor.dtype as SessionField['dtype'],
        shape: tensor.shape.slice(1),
        data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      }
    }),
  }
}

/** What `readSessionFile` throws for a file that is not of this model. */
export async function restoredState(
  path: string,
  languageModel: LanguageModel,
  model: ModelIdentity,
): Promise<{ snapshot: Snapshot; history: TokenHistory; chat: string | undefined }> {
  const snapshot = new Snapshot(languageModel)
  try {
    const { fields } = snapshot
    const vocabulary = languageModel.config.paddedVocabSize
    const shapes = fields.map(({ name, tensor }) => ({ name, shape: tensor.shape.slice(1) }))
    const contents = await readSessionFile(path, { model, fields: shapes, vocabulary })
    for (const [i, { tensor }] of fields.entries()) restore(tensor, contents.fields[i]!)
    const { consumed, position, chat } = contents
    return {
      chat,
      snapshot,
      history: new TokenHistory(consumed, consumed ? 0 : position),
    }
  } catch (error) {
    snapshot.dispose()
    throw error
  }
}

// A state in float16, as GPUs may keep some of it, goes into one in float32, and the other way round.
function restore(tensor: Tensor, { dtype, data }: SessionField): void {
  // A typed array begins at a multiple of its elements' size.
  const { buffer, byteOffset, byteLength } = data.byteOffset % 4 === 0 ? data : data.slice()
  const isHalf = bytesPerElement(tensor.dtype) === 2
  if (dtype === 'float32') {
    const floats = new Float32Array(buffer, byteOffset, byteLength / 4)
    tensor.write(isHalf ? Uint16Array.from(floats, floatToHalf) : floats)
  } else {
    const halves = new Uint16Array(buffer, byteOffset, byteLength / 2)
    tensor.write(isHalf ? halves : halvesToFloats(halves))
  }
}
