// Whether a model's head is its embedding, where the configuration ties the two: what the file holds decides,
// as it does in transformers 5. A configuration that denies it is believed.

import type { Notice } from '../support/notices.js'
import type { TensorEntry } from '../weights/checkpoint.js'
import { MATRIX_PARTS } from '../weights/formats/formats.js'
import { haveSameBytes } from '../weights/same-bytes.js'
import type { ModelDescription } from './families/family.js'

/**
 * The description with `tieEmbeddings` and the names of the two as the file has them. Where one of them is
 * missing, the other stands for both. Where both are there, the copy is taken out of `tensors` when they are
 * the same; when they differ, the format says what counts.
 */
export async function tieByFile(
  description: ModelDescription,
  tensors: Map<string, TensorEntry>,
  weightsFile: string,
): Promise<{ description: ModelDescription; notices: Notice[] }> {
  const { config, names, tying } = description
  if (tying === undefined || !config.tieEmbeddings) return { description, notices: [] }
  const { embedding, head } = names
  const hasEmbedding = tensors.has(`${embedding}.weight`)
  const hasHead = tensors.has(`${head}.weight`)
  const as = (tieEmbeddings: boolean, module: string): ModelDescription => ({
    ...description,
    config: { ...config, tieEmbeddings },
    names: { ...names, embedding: module },
  })
  if (!hasEmbedding || !hasHead) {
    return { description: as(true, hasHead ? head : embedding), notices: [] }
  }
  const isCopy = await areSame(tensors, embedding, head)
  if (!isCopy && tying === 'two matrices') {
    const message =
      `${weightsFile}: the configuration ties ${head} to ${embedding}, but the file has both with ` +
      'different values: each is used as it is'
    return { description: as(false, embedding), notices: [{ code: 'HEAD_NOT_TIED', message }] }
  }
  const [kept, left] = isCopy ? [embedding, head] : [head, embedding]
  for (const part of MATRIX_PARTS) tensors.delete(`${left}.${part}`)
  return { description: as(true, kept), notices: [] }
}

async function areSame(
  tensors: ReadonlyMap<string, TensorEntry>,
  a: string,
  b: string,
): Promise<boolean> {
  for (const part of MATRIX_PARTS) {
    const [one, other] = [tensors.get(`${a}.${part}`), tensors.get(`${b}.${part}`)]
    if (!one && !other) continue
    if (!one || !other || !(await haveSameBytes(one, other))) return false
  }
  return true
}
