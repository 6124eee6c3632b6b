// Options of converting.

import type { Signal } from '../support/abort.js'
import { AFFINE_BITS, type AffineBits, type AffineGroupSize } from '../operations/arguments.js'
import type { OnNotice } from '../support/notices.js'
import type { OptionTable } from '../support/option-table.js'
import { LOADING, type LoadProgress } from './loading.js'

export interface ConvertOptions {
  /** Quantise the matrices: those that mlx-lm quantises. Nothing is quantised without it. */
  quantize?: ConvertQuantization | undefined
  /** Element type of what is not quantised, and of scales. Defaults to what the file has. */
  dtype?: 'float32' | 'float16' | 'bfloat16' | undefined
  /** Whether what is missing of a model on the Hub is downloaded. HF_HUB_OFFLINE=1 forbids it, too. Defaults to true. */
  download?: boolean | undefined
  /** Branch, tag or commit of a Hub name. Defaults to the name's own (`org/name@v2`), or `main`. */
  revision?: string | undefined
  /** Hub cache. Defaults to that of the environment. `~` is expanded. */
  cacheDir?: string | undefined
  signal?: Signal | undefined
  onProgress?: ((progress: ConvertProgress) => void) | undefined
  /** Called with what the caller should know though nothing failed, such as tensors that are left out. */
  onNotice?: OnNotice | undefined
}

export interface ConvertQuantization {
  /** As MLX calls them. Defaults to `affine`. */
  mode?: 'affine' | 'mxfp4' | 'nvfp4' | undefined
  /** Of a weight. Defaults to 4. */
  bits?: AffineBits | undefined
  /** Weights that share a scale. Defaults to 64 for `affine`; of the others it is 32 and 16. */
  groupSize?: 16 | AffineGroupSize | undefined
}

export interface ConvertProgress extends Omit<LoadProgress, 'phase' | 'unit'> {
  /** `download`: files that are not on this machine arrive from the Hub. Then `convert`. */
  phase: 'download' | 'convert'
  /** Bytes, of `total`: of files, or of the checkpoint's tensors. */
  loaded: number
}

export const CONVERT_QUANTIZATION = {
  bits: {
    type: 'choice',
    choices: AFFINE_BITS,
    description: 'bits of a weight, with -q; 4 by default',
    flag: { name: 'q-bits' },
  },
  groupSize: {
    type: 'choice',
    choices: [16, 32, 64, 128],
    description: 'weights that share a scale, with -q; by default 64, of mxfp4 32, of nvfp4 16',
    flag: { name: 'q-group-size' },
  },
  mode: {
    type: 'choice',
    choices: ['affine', 'mxfp4', 'nvfp4'],
    description: 'how weights are quantised, with -q; affine by default',
    flag: { name: 'q-mode', placeholder: 'MODE' },
  },
} as const satisfies OptionTable<ConvertQuantization>

const { download, revision, cacheDir, signal, onNotice } = LOADING

export const CONVERT = {
  quantize: { type: 'group', rows: CONVERT_QUANTIZATION, description: 'quantise the weights' },
  dtype: {
    type: 'choice',
    choices: ['float32', 'float16', 'bfloat16'],
    description: 'type of what is not quantised, and of scales; by default that of the file',
    flag: { name: 'dtype', placeholder: 'DTYPE' },
  },
  download,
  revision,
  cacheDir,
  signal,
  onProgress: { type: 'function', description: 'called with how much is done' },
  onNotice,
} as const satisfies OptionTable<ConvertOptions>
