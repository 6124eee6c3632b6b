// Options of loading a model. A new one is a line of an interface, a row of a table, and what it does: the checks, and
// the flag on the command line where the row has one, follow from here.

import type { Signal } from '../support/abort.js'
import { DEVICE, DEVICE_NAME, type DeviceName } from '../operations/device-options.js'
import type { OnNotice } from '../support/notices.js'
import {
  AFFINE_BITS,
  AFFINE_GROUP_SIZES,
  type AffineBits,
  type AffineGroupSize,
} from '../operations/arguments.js'
import type { OptionTable } from '../support/option-table.js'
import { DEFAULT_GROUP_SIZE } from '../weights/formats/affine.js'

export interface LoadProgress {
  /**
   * `download`: files that are not on this machine arrive from the Hub. Then `check`: a GPU is checked, the first time
   * that it computes on this machine. Then `load`: the weights.
   */
  phase: 'download' | 'check' | 'load'
  /** How much is done, of `total`: bytes, or with `unit` checks. */
  loaded: number
  total: number
  unit?: 'checks'
  /** Of a download, over its last seconds. */
  bytesPerSecond?: number | undefined
  /** Of a download, as far as can be told. */
  secondsLeft?: number | undefined
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
  quantize?: { bits: AffineBits; groupSize?: AffineGroupSize | undefined } | undefined
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
  /**
   * The most tokens of a prompt and its text together, for models with attention over all positions. Defaults to what
   * the model is made for, as far as memory reaches. Memory grows with the tokens that there are, not with this number.
   */
  maxContext?: number | undefined
  /** Type of the keys and values that such models keep of each token. Defaults to what layers compute in. */
  kvDtype?: 'float16' | 'float32' | undefined
  /**
   * Whether what is missing of a model on the Hub, or of a tokenizer there, is downloaded. HF_HUB_OFFLINE=1 forbids it,
   * too. Defaults to true.
   */
  download?: boolean | undefined
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

export const QUANTIZATION = {
  bits: {
    type: 'choice',
    choices: AFFINE_BITS,
    required: true,
    description: 'quantise the weights to this many bits while loading',
    flag: { name: 'q-bits' },
  },
  groupSize: {
    type: 'choice',
    choices: AFFINE_GROUP_SIZES,
    default: DEFAULT_GROUP_SIZE,
    description: 'weights that share a scale, with --q-bits',
    flag: { name: 'q-group-size' },
  },
} as const satisfies OptionTable<NonNullable<LoadOptions['quantize']>>

export const PROMPT_CACHE = {
  maxBytes: { type: 'integer', min: 0, description: 'how much memory snapshots may take' },
  exact: {
    type: 'boolean',
    default: false,
    description: 'use only snapshots that leave the bits as they would be without',
  },
} as const satisfies OptionTable<PromptCacheOptions>

const { threads, gpuTimeout, batchInvariant, onNotice } = DEVICE

const OF_DEVICE = { device: DEVICE_NAME, threads, gpuTimeout, batchInvariant }

/** All but those of the device, which `createDevice` checks. */
export const MODEL_LOADING = {
  dtype: {
    type: 'choice',
    choices: ['auto', 'float32', 'float16', 'bfloat16'],
    default: 'auto',
    description: 'type of the weights; auto keeps that of the file',
    flag: { name: 'dtype', placeholder: 'DTYPE', saysDefault: true },
  },
  tokenizer: {
    type: 'string',
    description: 'folder, tokenizer.json or Hub name of the tokenizer, where the model has none',
    flag: { name: 'tokenizer', placeholder: 'TOKENIZER' },
  },
  chatTemplate: {
    type: 'string',
    description: "text of a chat template, instead of the checkpoint's",
  },
  quantize: {
    type: 'group',
    rows: QUANTIZATION,
    description: 'quantise the weights while loading',
  },
  generationConfig: {
    type: 'boolean',
    default: true,
    description: "with the sampling options of the model's generation_config.json",
    flag: {
      name: 'no-generation-config',
      negates: true,
      description: "without the sampling options of the model's generation_config.json",
    },
  },
  memory: {
    type: 'choice',
    choices: ['checked', 'unchecked'],
    default: 'checked',
    description: 'unchecked loads a model that does not seem to fit all the same',
    flag: { name: 'memory', placeholder: 'WHETHER', saysDefault: true },
  },
  maxStreams: {
    type: 'integer',
    min: 1,
    max: MOST_STREAMS,
    default: 32,
    description: 'calls that run at once',
  },
  maxQueue: {
    type: 'integer',
    min: 0,
    max: 2 ** 20,
    default: 1024,
    description: 'calls that wait for a place',
  },
  promptCache: {
    type: 'group',
    rows: PROMPT_CACHE,
    orFalse: true,
    description: 'snapshots of prompts and turns that are kept for later prompts; false for none',
  },
  maxContext: {
    type: 'integer',
    min: 1,
    max: 2 ** 32 - 1,
    description: 'tokens that a prompt and its text may have, of models with attention over all',
    flag: { name: 'max-context' },
  },
  kvDtype: {
    type: 'choice',
    choices: ['float16', 'float32'],
    description: 'type of the keys and values of such models',
    flag: { name: 'kv-dtype', placeholder: 'DTYPE' },
  },
  download: {
    type: 'boolean',
    default: true,
    description: 'whether what is missing of a model on the Hub is downloaded',
    flag: {
      name: 'no-download',
      negates: true,
      description: 'use only what is on this machine; nothing is fetched from the Hub',
    },
  },
  revision: { type: 'string', description: 'branch, tag or commit of a Hub name' },
  cacheDir: { type: 'string', description: 'the Hub cache' },
  signal: { type: 'signal', description: 'ends the loading' },
  onProgress: { type: 'function', description: 'called with how much is done' },
  onNotice,
} as const satisfies OptionTable<Omit<LoadOptions, keyof typeof OF_DEVICE>>

/**
 * The options without those that say "none" in another way. Null for `dtype` or `memory`, and anything falsy for
 * `quantize`, stands for an option that is left out, so that callers can write `quantize: wanted && { bits: 4 }`.
 */
export function withoutBlanks<
  Options extends Partial<Pick<LoadOptions, 'dtype' | 'memory' | 'quantize'>>,
>(options: Options) {
  return {
    ...options,
    dtype: options.dtype ?? undefined,
    memory: options.memory ?? undefined,
    quantize: options.quantize || undefined,
  }
}

export const LOADING = { ...OF_DEVICE, ...MODEL_LOADING } satisfies OptionTable<LoadOptions>
