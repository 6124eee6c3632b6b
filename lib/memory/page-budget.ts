// How much of the memory keys and values may take, which grow with the sequences.

import type { Device } from '../operations/device.js'
import { type ContextLimits, contextLimits } from '../engine/context.js'
import { PAGE_SIZE } from '../operations/arguments.js'
import { pagesFor } from '../engine/page-list.js'
import type { Checkpoint } from '../models/checkpoint.js'
import { activationTypeOf } from '../models/language-model.js'
import { contextBytesPerToken, hasPages } from '../models/state-fields.js'
import type { LoadOptions } from '../options/loading.js'
import { InsufficientMemoryError, UnsupportedOptionError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import type { WeightWishes } from '../weights/planned-format.js'
import { availableMemory } from './available.js'

type Wishes = WeightWishes & Pick<LoadOptions, 'maxContext' | 'kvDtype' | 'memory'>

/** Half of what is left beside the weights; at least a sixteenth of what there is now, as a system drops files. */
function pageBudget({ memory }: Device, { tensors }: Checkpoint, available: () => number): number {
  const has = memory ? Math.max(0, memory.budget - memory.inUse) : available()
  const weights = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
  return Math.floor(Math.max(has - weights, has / 8) / 2)
}

/** Refuses options about positions where the model keeps nothing of them, and types that the device lacks. */
export function checkContextOptions(
  { config }: Pick<Checkpoint, 'config'>,
  { maxContext, kvDtype }: Wishes,
): void {
  if (hasPages(config)) return
  for (const [name, value] of Object.entries({ maxContext, kvDtype })) {
    if (value === undefined) continue
    throw new UnsupportedOptionError(
      `[loadModel] ${name} changes nothing: this model keeps no keys and values of all positions, so that what it ` +
        'remembers has a fixed size and no limit of tokens. Leave it out',
    )
  }
}

/**
 * How long sequences may become, and what all of them may take; undefined for a model whose state has a fixed size.
 * Throws `InsufficientMemoryError` where one sequence of `maxContext` tokens would not fit, unless `memory` is
 * `unchecked`.
 */
export function contextOf(
  device: Device,
  checkpoint: Checkpoint,
  wishes: Wishes,
  available: () => number = availableMemory,
): ContextLimits | undefined {
  const { config } = checkpoint
  if (!hasPages(config)) return undefined
  const { maxContext, kvDtype, memory } = wishes
  const perToken = contextBytesPerToken(config, kvDtype ?? activationTypeOf(device, wishes))
  const maxBytes = pageBudget(device, checkpoint, available)
  const needed = pagesFor(maxContext ?? 0) * PAGE_SIZE * perToken
  if (needed > maxBytes && memory !== 'unchecked') {
    throw new InsufficientMemoryError(
      `[loadModel] maxContext ${maxContext} needs ${formatBytes(needed)} for the keys and values of one sequence, ` +
        `${formatBytes(perToken)} a token, but ${formatBytes(maxBytes)} may be used for them: give a smaller maxContext ` +
        `(--max-context), or kvDtype: 'float16' (--kv-dtype float16) where it is float32. memory: 'unchecked' ` +
        '(--memory unchecked) loads it all the same',
      { neededBytes: needed, availableBytes: maxBytes },
    )
  }
  const ofModel = config.maxContext
  return contextLimits(perToken, { maxContext, ofModel, maxBytes: Math.max(maxBytes, needed) })
}
