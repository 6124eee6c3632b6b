// Refuses a model that does not fit, with numbers and a way out, before anything is allocated.

import type { Device } from '../operations/device.js'
import { InsufficientMemoryError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import type { Checkpoint } from '../models/checkpoint.js'
import { AFFINE_BITS } from '../operations/arguments.js'
import { DEFAULT_GROUP_SIZE } from '../weights/formats/affine.js'
import type { WeightWishes } from '../weights/planned-format.js'
import { availableMemory } from './available.js'
import { describeNeeds, memoryNeeds, type NeedsWishes } from './needs.js'

/** Bytes that the system could give to this process. */
type Available = () => number | Promise<number>

/**
 * Throws `InsufficientMemoryError` when the checkpoint would need more than the device has: of a GPU
 * what its driver recommends less what this process uses, of the CPU what `available` says. Weights that
 * stay in their files need not fit on the CPU.
 */
export async function checkMemory(
  device: Device,
  checkpoint: Checkpoint,
  wishes: NeedsWishes,
  available: Available = availableMemory,
): Promise<void> {
  const has = await memoryOf(device, available)
  const needs = await memoryNeeds(device, checkpoint, wishes)
  if (needs.totalBytes <= has) return
  const advice = await adviceFor(device, checkpoint, wishes, has, available)
  const where = device.gpu === undefined ? 'this machine' : device.gpu
  throw new InsufficientMemoryError(
    `[loadModel] ${checkpoint.folder} needs ${formatBytes(needs.totalBytes)} (${describeNeeds(needs, device)}) ` +
      `but ${where} has ${formatBytes(has)} left: ${advice}. ` +
      "memory: 'unchecked' (--memory unchecked) loads it all the same",
    { neededBytes: needs.totalBytes, availableBytes: has },
  )
}

async function memoryOf(device: Device, available: Available): Promise<number> {
  const { memory } = device
  return memory ? Math.max(0, memory.budget - memory.inUse) : available()
}

// What changes the weights least comes first.
const ALTERNATIVES: readonly { wishes: WeightWishes; text: string }[] = [
  { wishes: {}, text: 'leave out dtype and quantize' },
  { wishes: { dtype: 'float16' }, text: "dtype: 'float16' (--dtype float16)" },
  ...[...AFFINE_BITS].reverse().map((bits) => ({
    wishes: { quantize: { bits, groupSize: DEFAULT_GROUP_SIZE } } as const,
    text: `quantize: { bits: ${bits} } (--q-bits ${bits})`,
  })),
]

async function adviceFor(
  device: Device,
  checkpoint: Checkpoint,
  wishes: NeedsWishes,
  has: number,
  available: Available,
): Promise<string> {
  const { maxContext, kvDtype } = wishes
  if (maxContext !== undefined) {
    const bytes = await bytesNeeded(device, checkpoint, { ...wishes, maxContext: 1 })
    if (bytes <= has) return 'try a smaller maxContext (--max-context)'
  }
  const isAsStored = wishes.dtype === undefined && wishes.quantize === undefined
  for (const { wishes: other, text } of ALTERNATIVES.slice(isAsStored ? 1 : 0)) {
    const bytes = await bytesNeeded(device, checkpoint, { ...other, maxContext, kvDtype })
    if (bytes <= has) return `try ${text}, which needs ${formatBytes(bytes)}`
  }
  if (device.name !== 'cpu') {
    const asStored = { maxContext, kvDtype }
    const { mappedWeightBytes, totalBytes } = await memoryNeeds(device, checkpoint, asStored)
    const bytes = totalBytes - mappedWeightBytes
    if (bytes <= (await available())) {
      return "no smaller form of it fits: try device: 'cpu' (--device cpu), where weights are read from their file"
    }
  }
  return 'no smaller form of it fits: take a smaller model, or end other programs'
}

// A form that this checkpoint cannot have does not fit either.
async function bytesNeeded(device: Device, checkpoint: Checkpoint, wishes: NeedsWishes) {
  return memoryNeeds(device, checkpoint, wishes).then(
    ({ totalBytes }) => totalBytes,
    () => Number.POSITIVE_INFINITY,
  )
}
