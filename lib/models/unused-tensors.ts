// Tensors of a file that the model does not use. The rule:
//
//   - leftovers that many checkpoints carry (below) are skipped, wherever they lie;
//   - modules beside the model's own, such as a vision tower or a value head, are skipped with a notice;
//   - anything else inside the model's own modules would change what it computes: the loader refuses it.

import type { Notice } from '../support/notices.js'
import type { TensorEntry } from '../weights/checkpoint.js'
import type { ModelDescription } from './families/family.js'

// Tables and counters that the model computes for itself or that only training needs, by the last part of
// the name.
const LEFTOVERS = new Set([
  // Rotary tables and causal masks, which once were saved with the weights.
  'inv_freq',
  'original_inv_freq',
  'cos_cached',
  'sin_cached',
  'freqs_cis',
  'masked_bias',
  'position_ids',
  // Of batch norm; of tools that count operations; of Transformer Engine.
  'num_batches_tracked',
  'total_ops',
  'total_params',
  '_extra_state',
])

// Layers that guess several tokens ahead. Decoding token by token does without them.
const MULTI_TOKEN_PREDICTION = /(?:^|\.)(?:mtp|mtp_[a-z]+|nextn[a-z_]*)\./

function isLeftover(name: string): boolean {
  return (
    LEFTOVERS.has(name.slice(name.lastIndexOf('.') + 1)) ||
    name.includes('.rotary_emb.') ||
    MULTI_TOKEN_PREDICTION.test(name)
  )
}

const moduleAround = (name: string): string =>
  name.includes('.') ? name.slice(0, name.lastIndexOf('.')) : name

/** Takes out of `tensors` what is skipped. Returns a notice where modules are. */
export function skipUnused(
  { names, isUnused = () => false }: Pick<ModelDescription, 'names' | 'isUnused'>,
  tensors: Map<string, TensorEntry>,
  weightsFile: string,
): Notice[] {
  const { embedding, head, finalNorm, block } = names
  const modules = [embedding, head, moduleAround(finalNorm), block].map(moduleAround)
  const isOurs = (name: string) => modules.some((module) => name.startsWith(`${module}.`))
  const skipped: string[] = []
  // A file of which nothing is the model's is not the model's: the loader says what is missing.
  if (![...tensors.keys()].some(isOurs)) return []
  for (const name of [...tensors.keys()]) {
    if (isLeftover(name) || isUnused(name)) tensors.delete(name)
    else if (!isOurs(name)) {
      tensors.delete(name)
      skipped.push(name)
    }
  }
  if (skipped.length === 0) return []
  const shown = skipped.slice(0, 3).join(', ') + (skipped.length > 3 ? ', ...' : '')
  const message =
    `${weightsFile}: skipped ${skipped.length} tensors of modules that the model does not use: ` +
    shown
  return [{ code: 'TENSORS_SKIPPED', message }]
}
