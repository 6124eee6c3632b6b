// Loading a model as the command line asks for it, with a progress line on a terminal.

import type { AffineBits, AffineGroupSize } from '../operations/arguments.js'
import { type LoadOptions, loadModel } from '../load-model.js'
import type { Model } from '../model.js'
import type { OptionValues } from './command.js'
import { UsageError } from './command.js'
import { showNotice } from './notice.js'
import type { modelOptions } from './options.js'
import { ProgressLine } from './progress.js'

/** Loads the model that the options name. */
export async function loadFromOptions(
  options: OptionValues<typeof modelOptions>,
  signal: AbortSignal,
  more: Pick<LoadOptions, 'generationConfig' | 'promptCache'> = {},
): Promise<Model> {
  if (options.qGroupSize !== undefined && options.qBits === undefined) {
    throw new UsageError('--q-group-size needs --q-bits')
  }
  const line = new ProgressLine()
  try {
    return await loadModel(options.model, {
      device: options.device as 'auto' | 'cpu' | 'metal',
      dtype: options.dtype as 'auto' | 'float32' | 'float16' | 'bfloat16',
      threads: options.threads,
      tokenizer: options.tokenizer,
      memory: options.memory as 'checked' | 'unchecked',
      ...(options.qBits === undefined
        ? {}
        : {
            quantize: {
              bits: options.qBits as AffineBits,
              groupSize: options.qGroupSize as AffineGroupSize | undefined,
            },
          }),
      ...more,
      signal,
      onProgress: (progress) => line.update(progress),
      onNotice(notice) {
        line.clear()
        showNotice(notice)
      },
    })
  } finally {
    line.clear()
  }
}
