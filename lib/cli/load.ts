// Loading a model as the command line asks for it, with a progress line on a terminal.

import { loadModel } from '../load-model.js'
import { LOADING, type LoadOptions } from '../options/loading.js'
import type { Model } from '../model.js'
import type { OptionValues } from './command.js'
import { optionsOf } from './flags.js'
import { showNotice } from './notice.js'
import type { modelOptions } from './options.js'
import { ProgressLine } from './progress.js'

/** Loads the model that the options name. */
export async function loadFromOptions(
  options: OptionValues<typeof modelOptions>,
  signal: AbortSignal,
  more: Pick<
    LoadOptions,
    'promptCache' | 'chatTemplate' | 'maxStreams' | 'maxQueue' | 'quantize'
  > = {},
): Promise<Model> {
  const asked = optionsOf(LOADING, options)
  const line = new ProgressLine()
  try {
    return await loadModel(options.model, {
      ...asked,
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
