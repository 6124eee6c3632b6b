// Brings a model from its files to a device.

import { throwIfAborted, type Signal } from './support/abort.js'
import { defaultModel } from './default-model.js'
import { findChatTemplate } from './chat/find.js'
import type { DeviceName } from './operations/create-device.js'
import { Engine, type EngineOptions } from './engine/engine.js'
import { UnsupportedOptionError } from './support/errors.js'
import { NO_DEFAULTS, readGenerationConfig } from './generation/generation-config.js'
import { resolveModelPath } from './hub/cache.js'
import { availableMemory } from './memory/available.js'
import { checkMemory } from './memory/check.js'
import { Model } from './model.js'
import { modelIdentity } from './models/model-identity.js'
import { openCheckpoint } from './models/checkpoint.js'
import type { Quantization } from './models/config.js'
import { endOfText } from './generation/end-of-text.js'
import { LanguageModel } from './models/language-model.js'
import { checkOnNotice, type OnNotice } from './support/notices.js'
import {
  booleanOption,
  checkOptions,
  checkSignal,
  describe,
  integerOption,
  stringOption,
} from './support/option-checks.js'
import { needsOf } from './self-check/needs.js'
import { createCheckedDevice } from './self-check/self-check.js'
import { findTokenizer } from './tokenizer/find.js'

export interface LoadProgress {
  /** `check`: a GPU is checked, the first time that it computes on this machine. Then `load`: the weights. */
  phase: 'check' | 'load'
  /** How much is done, of `total`: bytes of the checkpoint, or with `unit` checks. */
  loaded: number
  total: number
  unit?: 'checks'
}

export interface LoadOptions {
  /** Where to compute. Defaults to `auto`. */
  device?: DeviceName | undefined
  /** Threads of the CPU device. Defaults to the CPUs that this process may use, as in `createDevice`. */
  threads?: number | undefined
  /** For a GPU: seconds after which one that ends nothing is given up (`DeviceLostError`). Defaults to 30. */
  gpuTimeout?: number | undefined
  /**
   * Whether the bits of a sequence do not depend on those that are decoded beside it, as in `createDevice`:
   * of the CPU always, of a GPU unless this is `false`.
   */
  batchInvariant?: boolean | undefined
  /**
   * Element type of float matrices in memory; `auto` keeps what the file has. With `float16` the Metal
   * device also computes in float16 between the layers' matrices; all else computes in float32. Defaults to `auto`.
   */
  dtype?: 'auto' | 'float32' | 'float16' | 'bfloat16' | undefined
  /** Path of a tokenizer.json or its folder, or a Hub name. Defaults to what lies beside the weights. */
  tokenizer?: string | undefined
  /**
   * Text of a chat template, instead of the checkpoint's: one of your own, or `PLAIN_CHAT_TEMPLATE` for a base
   * model. Defaults to what lies beside the tokenizer or the weights.
   */
  chatTemplate?: string | undefined
  /** Quantise float matrices on load. `groupSize` defaults to 64. */
  quantize?: { bits: 4 | 8; groupSize?: 32 | 64 | 128 | undefined } | undefined
  /**
   * Whether calls have the sampling options of the model's generation_config.json where they give none:
   * `model.generationDefaults`. The ends of a text that it names count either way. Defaults to true.
   */
  generationConfig?: boolean | undefined
  /**
   * `checked` refuses a model that the device has no memory for, before anything is allocated;
   * `unchecked` loads it all the same. Defaults to `checked`.
   */
  memory?: 'checked' | 'unchecked' | undefined
  /**
   * Calls that run at once, each with a state of its own: a pass over the weights serves up to 32 of them. Later ones
   * wait for a place. Memory grows with those that there are, not with this number. Defaults to 32.
   */
  maxStreams?: number | undefined
  /** Calls that wait for a place; further ones reject with `QueueFullError`. Defaults to 1024. */
  maxQueue?: number | undefined
  /**
   * Snapshots of prompts and turns that are kept for later prompts which begin in the same way: `maxBytes` of them,
   * by default an eighth of the memory that is available after loading. With `exact` only those are used that leave
   * the bits as they would be without. `false` keeps none. docs/prompt-cache.md.
   */
  promptCache?: PromptCacheOptions | false | undefined
  /** Branch, tag or commit of a Hub name. Defaults to the name's own (`org/name@v2`), or `main`. */
  revision?: string | undefined
  /** Hub cache. Defaults to that of the environment (HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub). `~` is expanded. */
  cacheDir?: string | undefined
  signal?: Signal | undefined
  onProgress?: ((progress: LoadProgress) => void) | undefined
  /**
   * Called with what the caller should know though nothing failed: which device is not used, and why; that no
   * model was named. Nothing is written anywhere without it.
   */
  onNotice?: OnNotice | undefined
}

export interface PromptCacheOptions {
  maxBytes?: number | undefined
  /** Defaults to false. */
  exact?: boolean | undefined
}

/** The largest `maxStreams`. */
export const MOST_STREAMS = 256

const LOAD_OPTIONS = [
  'device',
  'threads',
  'gpuTimeout',
  'batchInvariant',
  'dtype',
  'tokenizer',
  'chatTemplate',
  'quantize',
  'generationConfig',
  'memory',
  'maxStreams',
  'maxQueue',
  'promptCache',
  'revision',
  'cacheDir',
  'signal',
  'onProgress',
  'onNotice',
] as const satisfies readonly (keyof LoadOptions)[]

/**
 * Loads a model: a folder or file in any of the published formats, or a Hub name that is in the local
 * cache; without a name the small trained model that ships in the package. Throws `ModelNotFoundError`, `CorruptFileError`, `UnsupportedArchitectureError`,
 * `UnsupportedOptionError`, `DeviceNotAvailableError` or `InsufficientMemoryError`.
 *
 * @example
 * const model = await loadModel('./mamba2-130m', { tokenizer: './gpt-neox-20b' })
 * for await (const { text } of model.stream('The capital of France is')) process.stdout.write(text)
 */
export async function loadModel(pathOrId?: string, options: LoadOptions = {}): Promise<Model> {
  checkOptions('loadModel', options, LOAD_OPTIONS)
  const { signal, cacheDir, revision, onProgress, onNotice } = options
  checkSignal('loadModel', signal)
  for (const name of ['tokenizer', 'chatTemplate', 'revision', 'cacheDir'] as const) {
    stringOption('loadModel', name, options[name])
  }
  checkOnNotice('loadModel', onNotice)
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw new TypeError(`[loadModel] onProgress must be a function but is ${describe(onProgress)}`)
  }
  if (pathOrId !== undefined && (typeof pathOrId !== 'string' || pathOrId === '')) {
    throw new TypeError(
      `[loadModel] the model must be a path or a Hub name but is ${describe(pathOrId)}`,
    )
  }
  const dtype = options.dtype ?? 'auto'
  if (!['auto', 'float32', 'float16', 'bfloat16'].includes(dtype)) {
    throw new UnsupportedOptionError(
      `[loadModel] dtype must be 'auto', 'float32', 'float16' or 'bfloat16' but is ${describe(dtype)}`,
    )
  }
  const quantize = options.quantize && checkQuantize(options.quantize)
  const memory = options.memory ?? 'checked'
  if (memory !== 'checked' && memory !== 'unchecked') {
    throw new UnsupportedOptionError(
      `[loadModel] memory must be 'checked' or 'unchecked' but is ${describe(memory)}`,
    )
  }
  const hasDefaults = booleanOption('loadModel', 'generationConfig', options.generationConfig)
  const limits = engineOptions(options)
  const promptCache = promptCacheOptions(options.promptCache)
  throwIfAborted(signal)

  const start = performance.now()
  const path = await resolveModelPath(pathOrId ?? defaultModel(onNotice), { cacheDir, revision })
  const checkpoint = await openCheckpoint(path)
  for (const notice of checkpoint.notices) onNotice?.(notice)
  const { folder, config } = checkpoint
  const found = await findTokenizer({ folder, name: config.tokenizerName }, options)
  const chat = await findChatTemplate({ folder, ...found }, options)
  const generation = readGenerationConfig(folder, onNotice)
  const wishes = { dtype: dtype === 'auto' ? undefined : dtype, quantize }
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
    if (memory === 'checked') await checkMemory(device, checkpoint, wishes)
    let engine: Engine | undefined
    let ready: Promise<void> | undefined
    const languageModel = await LanguageModel.load(device, checkpoint, {
      ...wishes,
      signal,
      onProgress: onProgress && ((loaded, total) => onProgress({ phase: 'load', loaded, total })),
      onTensors: (model) => {
        engine = new Engine(model, limits)
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
    const facts = {
      ...found,
      endOfText: endOfText(checkpoint, generation, found.endsOfText),
      chat,
      generationDefaults: hasDefaults === false ? NO_DEFAULTS : generation.defaults,
      identity: () => modelIdentity(checkpoint, wishes),
      promptCache: promptCache && { maxBytes: defaultPromptCacheBytes(), ...promptCache },
    }
    return new Model(engine!, facts, performance.now() - start)
  } catch (error) {
    device.dispose()
    throw error
  }
}

function engineOptions(options: LoadOptions): EngineOptions {
  const integer = (name: 'maxStreams' | 'maxQueue', min: number, max: number) =>
    integerOption('loadModel', name, options[name], { min, max })
  return {
    maxStreams: integer('maxStreams', 1, MOST_STREAMS) ?? 32,
    maxQueue: integer('maxQueue', 0, 2 ** 20) ?? 1024,
  }
}

function promptCacheOptions(
  options: LoadOptions['promptCache'] = {},
): { exact: boolean; maxBytes?: number } | undefined {
  if (options === false) return undefined
  checkOptions('loadModel] [promptCache', options, ['maxBytes', 'exact'])
  const maxBytes = integerOption('loadModel', 'promptCache.maxBytes', options.maxBytes, { min: 0 })
  const exact = booleanOption('loadModel', 'promptCache.exact', options.exact) ?? false
  return { exact, ...(maxBytes === undefined ? {} : { maxBytes }) }
}

/** What a prompt cache may take by default: an eighth of the memory that is available. */
export function defaultPromptCacheBytes(): number {
  return Math.floor(availableMemory() / 8)
}

function checkQuantize(quantize: NonNullable<LoadOptions['quantize']>): Quantization {
  checkOptions('loadModel] [quantize', quantize, ['bits', 'groupSize'])
  const { bits, groupSize = 64 } = quantize
  if (bits !== 4 && bits !== 8) {
    throw new UnsupportedOptionError(
      `[loadModel] quantize.bits must be 4 or 8 but is ${describe(bits)}`,
    )
  }
  if (![32, 64, 128].includes(groupSize)) {
    throw new UnsupportedOptionError(
      `[loadModel] quantize.groupSize must be 32, 64 or 128 but is ${describe(groupSize)}`,
    )
  }
  return { bits, groupSize }
}
