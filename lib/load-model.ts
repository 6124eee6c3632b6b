// Brings a model from its files to a device.

import { throwIfAborted } from './support/abort.js'
import { defaultModel } from './default-model.js'
import { findChatTemplate } from './chat/find.js'
import { Engine } from './engine/engine.js'
import { NO_DEFAULTS, readGenerationConfig } from './generation/generation-config.js'
import { openModel } from './fetch-model.js'
import { availableMemory } from './memory/available.js'
import { checkMemory } from './memory/check.js'
import { checkContextOptions, contextOf } from './memory/page-budget.js'
import { Model } from './model.js'
import { modelIdentity } from './models/model-identity.js'
import { endOfText } from './generation/end-of-text.js'
import { LanguageModel } from './models/language-model.js'
import { LOADING, MODEL_LOADING, type LoadOptions, withoutBlanks } from './options/loading.js'
import { checkOptions, describe } from './support/option-checks.js'
import { optionNames, optionValues } from './support/option-table.js'
import { needsOf } from './self-check/needs.js'
import { createCheckedDevice } from './self-check/self-check.js'
import { findTokenizer } from './tokenizer/find.js'

/**
 * Loads a model: a folder or file in any of the published formats, or a name on the Hub, of which what is not in
 * the local cache is downloaded first (`download: false` and HF_HUB_OFFLINE forbid it); without a name the small trained
 * model that ships in the package. Throws `ModelNotFoundError`, `DownloadError`, `CorruptFileError`,
 * `UnsupportedArchitectureError`, `UnsupportedOptionError`, `DeviceNotAvailableError` or `InsufficientMemoryError`.
 *
 * @example
 * const model = await loadModel('./mamba2-130m', { tokenizer: './gpt-neox-20b' })
 * for await (const { text } of model.stream('The capital of France is')) process.stdout.write(text)
 */
export async function loadModel(pathOrId?: string, options: LoadOptions = {}): Promise<Model> {
  const values = checkedOptions(options)
  const { signal, onProgress, onNotice } = options
  const { dtype, memory, quantize, cacheDir, revision, maxStreams, maxQueue } = values
  if (pathOrId !== undefined && (typeof pathOrId !== 'string' || pathOrId === '')) {
    throw new TypeError(
      `[loadModel] the model must be a path or a Hub name but is ${describe(pathOrId)}`,
    )
  }
  throwIfAborted(signal)

  const start = performance.now()
  const { checkpoint, isOfHub, tokenizerFile } = await openModel(
    pathOrId ?? defaultModel(onNotice),
    {
      cacheDir,
      revision,
      download: values.download,
      signal,
      onNotice,
      onProgress: onProgress && ((progress) => onProgress({ phase: 'download', ...progress })),
    },
  )
  for (const notice of checkpoint.notices) onNotice?.(notice)
  const { folder, config } = checkpoint
  const found = await findTokenizer(
    { folder, name: config.tokenizerName },
    {
      tokenizer: options.tokenizer,
      cacheDir,
      onNotice,
      signal,
      fetch: tokenizerFile,
      fetchesOfAuthors: isOfHub,
    },
  )
  const chat = await findChatTemplate({ folder, ...found }, options)
  const generation = readGenerationConfig(folder, onNotice)
  const wishes = { dtype: dtype === 'auto' ? undefined : dtype, quantize }
  const { maxContext, kvDtype } = values
  const limits = { ...wishes, maxContext, kvDtype, memory }
  checkContextOptions(checkpoint, limits)
  const device = await createCheckedDevice(
    options.device,
    {
      threads: options.threads,
      gpuTimeout: options.gpuTimeout,
      batchInvariant: options.batchInvariant,
    },
    (device) => needsOf(checkpoint, wishes, device),
    {
      signal,
      onNotice,
      onProgress:
        onProgress &&
        ((loaded, total) => onProgress({ phase: 'check', loaded, total, unit: 'checks' })),
    },
  )
  try {
    const context = contextOf(device, checkpoint, limits)
    if (memory === 'checked') {
      await checkMemory(device, checkpoint, { ...wishes, maxContext, kvDtype })
    }
    let engine: Engine | undefined
    let ready: Promise<void> | undefined
    const languageModel = await LanguageModel.load(device, checkpoint, {
      ...wishes,
      kvDtype,
      signal,
      onProgress: onProgress && ((loaded, total) => onProgress({ phase: 'load', loaded, total })),
      onTensors: (model) => {
        engine = new Engine(model, { maxStreams, maxQueue, context })
        if (device.name === 'cpu') return
        // While the weights are read.
        ready = engine.prepare()
        ready.catch(() => {}) // also when the loading itself fails
      },
    })
    try {
      await ready
      throwIfAborted(signal)
    } catch (error) {
      engine?.dispose()
      languageModel.dispose()
      throw error
    }
    const cached = values.promptCache || undefined
    const facts = {
      ...found,
      endOfText: endOfText(checkpoint, generation, found.endsOfText),
      chat,
      generationDefaults: values.generationConfig ? generation.defaults : NO_DEFAULTS,
      identity: () => modelIdentity(checkpoint, wishes),
      promptCache: cached && { ...cached, maxBytes: cached.maxBytes ?? defaultPromptCacheBytes() },
    }
    return new Model(engine!, facts, performance.now() - start)
  } catch (error) {
    device.dispose()
    throw error
  }
}

/** All but those of the device, which checks its own. */
function checkedOptions(options: LoadOptions) {
  checkOptions('loadModel', options, optionNames(LOADING))
  const { promptCache = {} } = options
  return optionValues('loadModel', MODEL_LOADING, { ...withoutBlanks(options), promptCache })
}

/** What a prompt cache may take by default: an eighth of the memory that is available. */
export function defaultPromptCacheBytes(): number {
  return Math.floor(availableMemory() / 8)
}
