// Names of what is not in a layer, as transformers has them in Llama and all that follow it.

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { TensorNames } from './tensor-names.js'

/**
 * The names of a file. A model inside another one has them all under the name that it has there, such as
 * `language_model.`; the head may stand beside it. `finalNorm` is the module of the norm before the head.
 */
export function llamaNames(
  tensors: ReadonlyMap<string, TensorEntry>,
  finalNorm: string,
): TensorNames {
  const model = modelPath(tensors, `${finalNorm}.weight`)
  const head = ['lm_head', `${model.replace(/(?:^|\.)model$/, '')}.lm_head`.replace(/^\./, '')]
  return {
    embedding: `${model}.embed_tokens`,
    head: head.find((name) => tensors.has(`${name}.weight`)) ?? 'lm_head',
    finalNorm: `${model}.${finalNorm}.weight`,
    block: `${model}.layers`,
  }
}

// What stands before `embed_tokens` and the norm: usually `model`.
function modelPath(tensors: ReadonlyMap<string, TensorEntry>, finalNorm: string): string {
  const places = [...tensors.keys()].filter((name) => {
    const place = name.slice(0, -finalNorm.length - 1)
    return name === `${place}.${finalNorm}` && tensors.has(`${place}.embed_tokens.weight`)
  })
  return places.length === 1 ? places[0]!.slice(0, -finalNorm.length - 1) : 'model'
}
