// Log-probabilities that streams ask for: the device computes them, a copy of each token's is read.

import { Readback } from '../operations/readback.js'
import type { SlotAllocator } from './slot-allocator.js'
import type { Drawn, EngineStream } from './stream.js'
import { slotOf } from './stream.js'

/** Those of the token that the run which was started last draws, where the stream asks for them. */
export function readLogprobs(allocator: SlotAllocator, stream: EngineStream): Drawn['logprobs'] {
  const { alternatives } = stream.options
  if (alternatives === undefined) return undefined
  const count = Math.min(alternatives, allocator.pools.sampling.kept.cols)
  const logprobs = readbackOf(allocator, stream)
    .read()
    .then(([tokens, values]) => ({
      logprob: values![0]!,
      topLogprobs: Array.from({ length: count }, (_, i) => ({
        token: tokens![i + 1]!,
        logprob: values![i + 1]!,
      })),
    }))
  logprobs.catch(() => {})
  return logprobs
}

// In the pool that there is.
function readbackOf(allocator: SlotAllocator, stream: EngineStream): Readback {
  const { sampling } = allocator.pools
  const slot = slotOf(stream)
  const sources = [sampling.reported.at(slot), sampling.logprobs.at(slot)]
  const known = stream.readback
  if (known && known.sources[0]!.memory === sources[0]!.memory) return known
  known?.dispose()
  stream.readback = new Readback(allocator.device, sources)
  return stream.readback
}
