// What a slot is told in front of a stream's first run.

import type { ListRunResult, Device } from '../operations/device.js'
import type { Recorder } from '../operations/recorder.js'
import { NO_TOKEN } from '../operations/drawn-token.js'
import { GREEDY, SamplerSettings } from './sampler-settings.js'
import type { Pools } from './growing-pool.js'
import type { EngineStream } from './stream.js'

// What a slot counts down from, where more are asked for.
const MOST_TOKENS = 0xffffffff

const MOST_LIKELY = new SamplerSettings(GREEDY)

/** Starts one run, which brings the state to its slot (`fill`), with what sampling needs. Throws where it cannot. */
export function runBeginning(
  device: Device,
  { states, sampling }: Pools,
  { isKept, options, position }: EngineStream,
  { slot, fill }: { slot: number; fill: (cl: Recorder) => void },
): Promise<ListRunResult> {
  const { sampler = MOST_LIKELY, stopTokens, maxTokens, history, token = 0 } = options
  const { alternatives, moments, masker } = options
  const keepsLogits = isKept || moments !== undefined
  const generated = history.subarray(history.length - options.generated)
  const rows = {
    position: [states.position, Uint32Array.of(position)],
    token: [states.token, Uint32Array.of(token)],
    remaining: [states.remaining, Uint32Array.of(Math.min(maxTokens, MOST_TOKENS))],
    settings: [sampling.settings, sampler.settings],
    selection: [
      sampling.selection,
      sampler.selection({ keepsLogits, isMasked: masker !== undefined, alternatives }),
    ],
  } as const
  // Longer than the inputs of a run may be.
  const lists = [
    [sampling.stops, filled(stopTokens, sampling.stops.cols)],
    [sampling.history, sampler.ring(history)],
    [sampling.biases, sampler.biases],
    [sampling.counts, sampler.counts(generated, sampling.counts.cols)],
  ] as const
  using list = device.record((cl) => {
    fill(cl)
    for (const [name, [tensor]] of Object.entries(rows)) {
      const row = tensor.at(slot)
      cl.copy(cl.input(name, tensor.dtype, row.shape), row)
    }
    for (const [tensor, values] of lists) {
      if (values.length === 0) continue
      const source = device.tensor('uint32', [1, values.length], values)
      cl.copy(source, tensor.at(slot).columns(0, values.length))
      source.dispose()
    }
  })
  const inputs = Object.fromEntries(Object.entries(rows).map(([name, [, data]]) => [name, data]))
  return list.run({ inputs })
}

function filled(tokens: ReadonlySet<number>, size: number): Uint32Array {
  const result = new Uint32Array(size).fill(NO_TOKEN)
  result.set([...tokens])
  return result
}
