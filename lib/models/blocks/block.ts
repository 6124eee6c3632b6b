// What all blocks of a model have in common. Each kind has a file of its own in this folder, with all that lib knows
// about it, and a line in the table of blocks.ts.

import type { ActivationType } from '../../operations/device.js'
import type { LinearOptions } from '../../operations/arguments.js'
import type { Recorder } from '../../operations/recorder.js'
import type { DType, Tensor } from '../../operations/tensor.js'
import type { Linear, WeightLoader } from '../../weights/loader.js'
import type { Workspace } from '../workspace.js'

/** A field of the state of one sequence. */
export interface StateField {
  name: string
  dtype: DType
  shape: readonly number[]
}

/**
 * Where a block keeps what it remembers of the sequences: a tensor for each of its fields, (slots, ...shape), and for
 * each of its paged fields, (pages, 256, ...shape).
 */
export type BlockState = Readonly<Record<string, Tensor>>

/** What a forward pass gives to every block. */
export interface Pass {
  cl: Recorder
  workspace: Workspace
  /** The slot of each row; NO_SLOT for one that does nothing: uint32 (batch). */
  rows: Tensor
  /** Tokens that the sequence of each row has seen before this pass: uint32 (batch). */
  positions: Tensor
  /**
   * The page of each 256 positions of each slot, `NO_PAGE` where it has none: uint32 (slots, pagesPerSlot). Undefined for
   * models without paged fields.
   */
  pages?: Tensor | undefined
  /** What the tokens were looked up as, for blocks that read it: float32, as the stream. */
  embedding?: Tensor | undefined
  /** How matrix products run: `step` for decoding and a few tokens, `chunk` for many. */
  role: 'step' | 'chunk'
}

/** The norm before a block or the head: x / rms(x) * weight. */
export interface Norm {
  weight: Tensor
  eps: number
}

/** One with mean and bias: (x - mean) / sqrt(variance + eps) * weight + bias. No product has it within. */
export interface LayerNorm extends Norm {
  bias: Tensor
}

/**
 * What a block reads and writes: float32 (batch, dModel) in decode, (batch, length, dModel) in prefill. Where blocks
 * follow one another the three are one tensor; of blocks side by side the input stays as it was before the first. An
 * input that is normed already is what layers compute in.
 */
export interface Stream {
  input: Tensor
  residual: Tensor
  out: Tensor
}

/** A block owns its norm and its residual: out = residual + layer(norm(input)). */
export interface Block {
  /** The fields that it keeps of one sequence; all zero for one that has seen nothing. */
  readonly state: readonly StateField[]
  /** The fields that it keeps of each position; undefined for none. */
  readonly pagedState?: readonly StateField[]
  /** Whether it reads `Pass.embedding`. */
  readonly readsEmbedding?: boolean
  /** One token a row. */
  decode(pass: Pass, stream: Stream, state: BlockState): void
  /** A chunk of a prompt. */
  prefill(pass: Pass, stream: Stream, state: BlockState): void
}

/** What a block is loaded from. */
export interface BlockSource<Names> {
  loader: WeightLoader
  /** What the family calls the layer's tensors. */
  names: Names
  /** The whole name of a tensor or module of the layer. */
  path(name: string): string
  dModel: number
  /** The norm before the layer; undefined where its input is normed already. */
  norm: Norm | undefined
  /** As `stateFields` says. */
  state: readonly StateField[]
  /** As `pagedFields` says. */
  pagedState: readonly StateField[]
}

/** All blocks of one kind. */
export interface BlockKind<Config extends { kind: string }, Names> {
  readonly kind: Config['kind']
  /** What it keeps of one sequence between tokens: fields of fixed size, of which other sizes are derived. */
  stateFields(config: Config, activationType: ActivationType): readonly StateField[]
  /** What it keeps of each position of one sequence, in pages; undefined for nothing. `type`: of keys and values. */
  pagedFields?(config: Config, type: ActivationType): readonly StateField[]
  /** For people: the sizes that distinguish it. */
  describe(config: Config): string
  /** For people: what its state is needed for. */
  describeState(config: Config): string
  /** The modules among its names that have a matrix. */
  matrices(names: Names, config: Config): readonly string[]
  load(config: Config, source: BlockSource<Names>): Promise<Block>
}

/** out = scale * (x · weightᵀ) + bias, whatever form the weight has, and what else the options say. */
export function recordLinear(
  cl: Recorder,
  x: Tensor,
  linear: Linear,
  out: Tensor,
  options: Omit<LinearOptions, 'scale' | 'bias'> = {},
): void {
  const { weight, scale, bias } = linear
  weight.multiply(cl, x, out, { scale, bias, ...options })
}
