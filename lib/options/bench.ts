// Options of the benchmark.

import type { Signal } from '../support/abort.js'
import { DEVICE, DEVICE_NAME, type DeviceName } from '../operations/device-options.js'
import type { OnNotice } from '../support/notices.js'
import type { OptionTable } from '../support/option-table.js'
import { LOADING, type LoadOptions, MOST_STREAMS } from './loading.js'

export interface BenchOptions {
  /** Paths or Hub names. Defaults to the model that ships in the package. */
  models?: readonly string[] | undefined
  /** Lengths of prompts to read; 0 for none. Defaults to 512. */
  promptTokens?: readonly number[] | undefined
  /** Numbers of tokens to generate; 0 for none. Defaults to 128. */
  generationTokens?: readonly number[] | undefined
  /** Tokens that a sequence has seen before. Defaults to 0. */
  depths?: readonly number[] | undefined
  /** Streams that run together, each with a sequence of its own: 256 at most. Defaults to 1. */
  batchSizes?: readonly number[] | undefined
  /** Defaults to 5. */
  repetitions?: number | undefined
  /** Walk through depths up to 65,536 along one sequence a repetition. Defaults to false. */
  sweep?: boolean | undefined
  /** Let each process run a few tokens before it measures. Defaults to true. */
  warmup?: boolean | undefined
  device?: DeviceName | undefined
  /** Numbers of threads of the CPU device. Defaults to the CPUs that this process may use. */
  threads?: readonly number[] | undefined
  dtype?: LoadOptions['dtype']
  quantize?: LoadOptions['quantize']
  cacheDir?: string | undefined
  revision?: string | undefined
  /** Of the random prompts, of which every repetition has its own. Defaults to a random one. */
  seed?: number | undefined
  signal?: Signal | undefined
  /** Called before each trial. */
  onProgress?: ((progress: BenchProgress) => void) | undefined
  /** As in `loadModel`. */
  onNotice?: OnNotice | undefined
}

export interface BenchProgress {
  /** What runs now: a model and a test. */
  label: string
  /** The current repetition, from 1. */
  round: number
  rounds: number
  /** Trials done, of `total`. */
  done: number
  total: number
}

// Far more tokens than anybody would wait for.
const LONGEST = 2 ** 24

const { dtype, quantize, cacheDir, revision, onNotice } = LOADING

export const BENCH = {
  models: { type: 'other', description: 'paths or Hub names' },
  promptTokens: {
    type: 'integers',
    min: 0,
    max: LONGEST,
    default: [512],
    description: 'tokens of the prompt; 0 measures none',
    flag: { name: 'n-prompt', short: 'p', aliases: ['prompt-tokens'], placeholder: 'N,N' },
  },
  generationTokens: {
    type: 'integers',
    min: 0,
    max: LONGEST,
    default: [128],
    description: 'tokens to generate; 0 measures none',
    flag: { name: 'n-gen', short: 'n', aliases: ['generation-tokens'], placeholder: 'N,N' },
  },
  depths: {
    type: 'integers',
    min: 0,
    max: LONGEST,
    default: [0],
    description: 'tokens that each stream has seen before',
    flag: { name: 'n-depth', short: 'd', placeholder: 'N,N' },
  },
  batchSizes: {
    type: 'integers',
    min: 1,
    max: MOST_STREAMS,
    default: [1],
    description: 'streams that run together',
    flag: { name: 'batch-size', short: 'b', placeholder: 'N,N' },
  },
  repetitions: {
    type: 'integer',
    min: 1,
    default: 5,
    description: 'how often each test is run, each time in a process of its own',
    flag: { name: 'repetitions', short: 'r', aliases: ['num-trials'], saysDefault: true },
  },
  sweep: {
    type: 'boolean',
    default: false,
    description: 'walk through context lengths up to 65,536, or those of -d, along one sequence',
    flag: { name: 'sweep' },
  },
  warmup: {
    type: 'boolean',
    default: true,
    description: 'let each process run a few tokens before it measures',
    flag: {
      name: 'no-warmup',
      negates: true,
      description: 'measure from the first token of each process on',
    },
  },
  device: DEVICE_NAME,
  threads: {
    type: 'integers',
    min: DEVICE.threads.min,
    max: DEVICE.threads.max,
    description: 'threads of the CPU device; default the CPUs that this process may use',
    flag: { name: 'threads', short: 't', placeholder: 'N,N' },
  },
  dtype,
  quantize,
  cacheDir,
  revision,
  seed: {
    type: 'integer',
    min: 0,
    max: 2 ** 32 - 1,
    description: 'of the random prompts, of which every repetition has its own',
    flag: { name: 'seed' },
  },
  signal: { type: 'signal', description: 'ends the measuring' },
  onProgress: { type: 'function', description: 'called before each trial' },
  onNotice,
} as const satisfies OptionTable<BenchOptions>
