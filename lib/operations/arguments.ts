// What operations take, one interface where there are more than four tensors. recorder.ts has a method for each.

import type { Tensor } from './tensor.js'

/** Bits of a value of an affine matrix. */
export const AFFINE_BITS = [4, 5, 6, 8] as const
export type AffineBits = (typeof AFFINE_BITS)[number]

/** Columns of an affine matrix that share a scale and a bias. */
export const AFFINE_GROUP_SIZES = [32, 64, 128] as const
export type AffineGroupSize = (typeof AFFINE_GROUP_SIZES)[number]

/** What MLX calls the quantised formats; in the order of native (metal/types.h: QuantizedMode). */
export const QUANTIZED_MODES = ['affine', 'mxfp4', 'nvfp4'] as const
export type QuantizedMode = (typeof QUANTIZED_MODES)[number]

/**
 * A matrix in a quantised format of MLX. `affine`: w = scale * q + bias, a scale and a bias for each group of columns.
 * `mxfp4` and `nvfp4`: w = scale * q, where q is a float of four bits (e2m1) and a scale a byte (e8m0 for each 32 columns,
 * or e4m3 for each 16).
 */
export interface QuantizedMatrix {
  /** Defaults to `affine`. */
  mode?: QuantizedMode | undefined
  /** Packed values, uint32 (rows, cols * bits / 32), a row one stream of bits, the lowest first. */
  words: Tensor
  /** (rows, cols / groupSize): of `affine` any float type, else uint8. */
  scales: Tensor
  /** As scales, in `affine` alone. */
  biases?: Tensor | undefined
  bits: number
  groupSize: number
}

/** A matrix in the affine format. */
export interface AffineMatrix extends QuantizedMatrix {
  mode?: 'affine' | undefined
  biases: Tensor
  bits: AffineBits
  groupSize: AffineGroupSize
}

/** Takes x / rms(x) * weight instead of x. */
export interface LinearNorm {
  /** (inputs). */
  weight: Tensor
  eps: number
  /** Each of so many equal parts of a row is normed by itself. Defaults to 1. */
  groups?: number
  /** Sums of squares to norm by instead of those of x, of equal parts of each row: float32 (…, parts), where the groups divide the parts. */
  squares?: Tensor
}

/**
 * What the rows of a matrix product are.
 *
 * `step`: tokens of sequences that do not know of one another. The bits of a row's result depend on that row's
 * inputs alone, not on how many rows there are and where among them it stands; of a GPU with
 * `batchInvariant: false` that does not hold.
 * `chunk`: many tokens at once, of a prompt or of a text that is scored. As fast as can be; the bits of a row
 * may depend on the rows beside it.
 */
export type LinearRole = 'step' | 'chunk'

/** Exact (erf) `gelu`, `silu`: x * sigmoid(x), `relu2`: max(x, 0)². */
export const ACTIVATIONS = ['gelu', 'silu', 'relu2'] as const
export type Activation = (typeof ACTIVATIONS)[number]

/** What a matrix product does besides: out = activation(scale ∘ (norm(x) · weightᵀ) + bias) * gate + residual. */
export interface LinearOptions {
  /** A factor for each output: (outputs). */
  scale?: Tensor | undefined
  /** (outputs). */
  bias?: Tensor | undefined
  norm?: LinearNorm | undefined
  activation?: Activation | undefined
  /** As out. */
  gate?: Tensor | undefined
  /** As out; may be out. */
  residual?: Tensor | undefined
  /** Defaults to `chunk` where x is (batch, length, inputs), else to `step`. */
  role?: LinearRole | undefined
}

/** The experts that tokens are sent to. */
export interface RouteExpertsTensors {
  /** (…, experts), float32. */
  logits: Tensor
  /** Added to scores for the choice alone: (experts), float32. */
  bias?: Tensor | undefined
  /** The chosen experts of each token, the best first: uint32 (…, k). */
  experts: Tensor
  /** Their weights: float32 (…, k). */
  weights: Tensor
}

export interface RouteExpertsOptions {
  /** What logits become. Weights are scores. */
  scores: 'softmax' | 'sigmoid'
  /** Divides the weights of a token by their sum. Defaults to false. */
  normalised?: boolean | undefined
  /** Added to that sum. Defaults to 0. */
  epsilon?: number | undefined
  /** A factor of weights. Defaults to 1. */
  scale?: number | undefined
  /** Equal parts of the experts, up to 32, of which a token keeps some to choose from: those whose two largest sum up to most. Defaults to 1. */
  groups?: number | undefined
  /** Defaults to all groups. */
  keptGroups?: number | undefined
}

/** Products that a tile of `groupExperts` has. */
export const EXPERT_TILE = 32
/** In place of a product. */
export const NO_PRODUCT = 0xffffffff

/** Tiles that so many products may need. */
export function mostExpertTiles(products: number, experts: number): number {
  const notFull = Math.min(products, experts)
  return Math.floor((products + notFull * (EXPERT_TILE - 1)) / EXPERT_TILE)
}

/** What a product with experts does besides: out = activation(x · weightᵀ) * gate. */
export interface ExpertsOptions {
  activation?: Activation | undefined
  /** As out. */
  gate?: Tensor | undefined
  /** How many experts there are. */
  experts: number
  /** Rows of the weight from one expert to the next. Defaults to the columns of out. */
  expertRows?: number | undefined
  /**
   * What `groupExperts` makes of `chosen`, for tokens of a chunk (`LinearRole`): products with one expert are computed
   * together. Without it tokens are those of a step.
   */
  tiles?: Tensor | undefined
}

export interface EmbeddingOptions {
  /** A factor of all that is looked up. Defaults to 1. */
  scale?: number | undefined
}

export interface SsdTensors {
  /** (batch, heads * headDim), or (batch, length, heads * headDim) for the scan. Rows may lie apart. */
  x: Tensor
  /** (batch, heads), or (batch, length, heads): before bias and softplus. */
  dt: Tensor
  /** (heads), negative. */
  A: Tensor
  /** (batch, groups * dState), or (batch, length, groups * dState). */
  B: Tensor
  /** As B. */
  C: Tensor
  /** (heads): the skip connection. */
  D: Tensor
  /** (heads). */
  dtBias: Tensor
  /** (slots, heads, headDim, dState), updated in place. */
  state: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** As x, contiguous. */
  out: Tensor
}

export interface SsdOptions {
  /** Groups of B and C. Defaults to 1. */
  groups?: number
  /** Bounds of softplus(dt + dtBias). Defaults to [0, Infinity]. */
  dtLimit?: readonly [number, number]
  /** dt decides the decay alone, S = exp(dt·A)·S + x ⊗ B: the discrete Mamba-2 of Llamba and Mohawk. Defaults to false. */
  discrete?: boolean
}

export interface Mamba2Tensors {
  /** What in_proj gives: (batch, 2 * heads * headDim + 2 * groups * dState + heads), columns in the order that `columns` says. */
  zxBCdt: Tensor
  /** (channels, width), where the channels are x | B | C. */
  convWeight: Tensor
  /** (channels). */
  convBias?: Tensor | undefined
  /** Rings of the last inputs of the convolution: (slots, width, channels), updated in place. */
  convState: Tensor
  /** (heads), negative. */
  A: Tensor
  /** (heads): the skip connection. */
  D: Tensor
  /** (heads). */
  dtBias: Tensor
  /** (slots, heads, headDim, dState), updated in place. */
  ssmState: Tensor
  /** Tokens that the sequence of each row has seen before: uint32 (batch). */
  position: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** y * silu(z): (batch, heads * headDim). */
  out: Tensor
  /** Sum of squares of each head, for the norm that follows: of y * silu(z), or of y with `normBeforeGate`. float32 (batch, heads). */
  squares: Tensor
}

export interface Mamba2Options extends SsdOptions, ConvOptions {
  /** The columns of `zxBCdt`: z | x | B | C | dt, or x | B | C | z | dt. Defaults to `zxBCdt`. */
  columns?: 'zxBCdt' | 'xBCzdt'
  /** Defaults to false. */
  normBeforeGate?: boolean
}

export interface DeltaUpdateTensors {
  /** (batch, 2 * keyHeads * keyDim + heads * valueDim), columns in the order q | k | v, before the convolution. Rows may lie apart. */
  qkv: Tensor
  /** The gate: (batch, heads * valueDim). Rows may lie apart. */
  z: Tensor
  /** (batch, heads): sigmoid(b) is how much of the old value for k is replaced. Rows may lie apart. */
  b: Tensor
  /** (batch, heads): exp(A * softplus(a + dtBias)) is what is left of the state. Rows may lie apart. */
  a: Tensor
  /** (channels, width), where the channels are q | k | v. */
  convWeight: Tensor
  /** Rings of the last inputs of the convolution: (slots, width, channels), updated in place. */
  convState: Tensor
  /** (heads), negative. */
  A: Tensor
  /** (heads). */
  dtBias: Tensor
  /** (slots, heads, valueDim, keyDim), updated in place. */
  state: Tensor
  /** Tokens that the sequence of each row has seen before: uint32 (batch). */
  position: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** o * silu(z): (batch, heads * valueDim). */
  out: Tensor
  /** Sum of squares of each head of o, for the norm that comes before the gate: float32 (batch, heads). */
  squares: Tensor
}

export interface DeltaScanTensors {
  /** (batch, length, keyHeads * keyDim), after convolution and silu. Rows may lie apart. */
  q: Tensor
  /** As q. */
  k: Tensor
  /** (batch, length, heads * valueDim), after convolution and silu. Rows may lie apart. */
  v: Tensor
  /** (batch, length, heads), as that of `deltaUpdate`. Rows may lie apart. */
  b: Tensor
  /** As b. */
  a: Tensor
  /** (heads), negative. */
  A: Tensor
  /** (heads). */
  dtBias: Tensor
  /** (slots, heads, valueDim, keyDim), updated in place. */
  state: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** As v, contiguous. */
  out: Tensor
}

export interface DeltaOptions {
  /** Added to the sum of squares of each head of q and k, which are brought to length 1. Defaults to 1e-6. */
  eps?: number
}

export interface AttentionTensors {
  /** (batch, heads * headDim), or (batch, length, heads * headDim). Rows may lie apart. */
  q: Tensor
  /** (batch, kvHeads * headDim), or (batch, length, kvHeads * headDim). */
  k: Tensor
  /** As k. */
  v: Tensor
  /** Rings of the last keys: (slots, window, kvHeads * headDim). */
  keys: Tensor
  /** Rings of the last values, as keys. */
  values: Tensor
  /** Tokens that the sequence of each row has seen before: uint32 (batch). */
  position: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** As q, contiguous. */
  out: Tensor
}

export interface AttentionOptions {
  headDim: number
  /** Of the scores. Defaults to 1 / sqrt(headDim). */
  scale?: number
}

/** Positions of a sequence whose keys and values are in one page (metal/pages.h). */
export const PAGE_SIZE = 256

/** In place of a page: there is none. */
export const NO_PAGE = 0xffffffff

/** Pages of keys and values, and which of them each sequence has. */
export interface KvPages {
  /** (pages, PAGE_SIZE, kvHeads * headDim), float32 or float16 whatever activations are. */
  keys: Tensor
  /** As keys. */
  values: Tensor
  /**
   * The page of each PAGE_SIZE positions of each slot: uint32 (slots, pagesPerSlot), `NO_PAGE` beyond those that a sequence
   * has. Slots may share pages that nobody writes.
   */
  pages: Tensor
  /** Tokens that the sequence of each row has seen before: uint32 (batch). */
  position: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
}

export interface KvPagesWriteTensors extends KvPages {
  /** (batch, kvHeads * headDim), or (batch, length, kvHeads * headDim). Rows may lie apart. */
  k: Tensor
  /** As k. */
  v: Tensor
}

export interface PagedPrefillTensors extends KvPages {
  /** (batch, length, heads * headDim), normed and turned. Rows may lie apart. `gated` says of twice as many columns. */
  q: Tensor
  /** (batch, length, heads * headDim), contiguous. */
  out: Tensor
}

export interface PagedDecodeTensors extends KvPages {
  /** (batch, heads * headDim). Rows may lie apart. `gated` says of twice as many columns. */
  q: Tensor
  /** (batch, kvHeads * headDim). */
  k: Tensor
  /** As k. */
  v: Tensor
  /** Weight of the norm of each head of q: (headDim). */
  qNorm?: Tensor | undefined
  /** The same of k. */
  kNorm?: Tensor | undefined
  /** As those of `rotary`. */
  frequencies?: Tensor | undefined
  /** (batch, heads * headDim), contiguous. */
  out: Tensor
}

export interface PagedAttentionOptions {
  headDim: number
  /** Of the scores. Defaults to 1 / sqrt(headDim). */
  scale?: number | undefined
  /** Each head of q is followed by as many numbers of its gate: out is multiplied by their sigmoid. Defaults to false. */
  gated?: boolean | undefined
}

export interface RotaryTensors {
  /** (batch, heads * headDim), or (batch, length, heads * headDim). Rows may lie apart. */
  x: Tensor
  /** Weight of the norm of each head: (headDim). */
  normWeight?: Tensor | undefined
  /** Radians a position, of each pair of columns that turns: (rotaryDim / 2). */
  frequencies?: Tensor | undefined
  /** Tokens that the sequence of each row has seen before: uint32 (batch). Goes with `frequencies`. */
  position?: Tensor | undefined
  /** (…, heads * headDim), contiguous. Left out, the result takes the place of x. */
  out?: Tensor | undefined
}

export interface TurnOptions {
  /** Of the norm. */
  eps?: number | undefined
  /** Of sine and cosine. Defaults to 1. */
  attentionFactor?: number | undefined
  /** Columns 2i and 2i + 1 turn together, instead of i and i + rotaryDim / 2. Defaults to false. */
  interleaved?: boolean | undefined
}

export interface RotaryOptions extends TurnOptions {
  headDim: number
  /** Columns from one head of x to the next; those behind the head stay as they are. Defaults to headDim. */
  headStride?: number | undefined
}

export interface PagedDecodeOptions extends PagedAttentionOptions, TurnOptions {}

export interface ConvTensors {
  /** (batch, channels), or (batch, length, channels). Rows may lie apart. */
  x: Tensor
  /** What x is multiplied by before the convolution; as x. Only with `outputGate`. */
  inputGate?: Tensor | undefined
  /** What the result is multiplied by; as x. Only with `inputGate`. */
  outputGate?: Tensor | undefined
  /** (channels, width). */
  weight: Tensor
  /** (channels). */
  bias?: Tensor | undefined
  /** Rings of the last inputs, times their gate: (slots, width, channels), updated in place. */
  state: Tensor
  /** Tokens that the sequence of each row has seen before: uint32 (batch). */
  position: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** As x, contiguous. */
  out: Tensor
}

export interface ConvOptions {
  /** After the convolution. Defaults to `silu`. */
  activation?: 'silu' | 'none'
}

export interface ResolveRowsTensors {
  /** The slots that are asked for, usually an input of the run: uint32 (batch). `NO_SLOT` fills rows that nobody needs. */
  slots: Tensor
  /** Tokens that each slot may still draw: uint32 (slots). At 0 its sequence is done. */
  remaining: Tensor
  /** Token that each slot has drawn last: uint32 (slots). */
  token: Tensor
  /** Tokens that each slot has seen: uint32 (slots), advanced by `count`. */
  position: Tensor
  /** Slot of each row, `NO_SLOT` where nothing is to be done: uint32 (batch). */
  rows: Tensor
  /** `position` of each row before this list: uint32 (batch). */
  positions: Tensor
  /** `token` of each row: uint32 (batch). Left out by lists whose tokens come from elsewhere. */
  tokens?: Tensor | undefined
}

export interface KeepLogitsTensors {
  /** (batch, vocabulary). */
  logits: Tensor
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** float32 (slots, vocabulary). */
  kept: Tensor
}

export interface SampleTensors {
  /** (batch, vocabulary). Left out, each row draws from what its slot has in `kept`. */
  logits?: Tensor | undefined
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** float32 (slots, 6): temperature, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty. */
  settings: Tensor
  /**
   * uint32 (slots, 8): topK, low and high half of the seed, how many places of the history are in use, 1 to keep the
   * logits, how many biases are in use, 1 where the mask is in use, and what `tokenLogprobs` reports.
   */
  selection: Tensor
  /** uint32 (slots, k): tokens that end the sequence, 0xffffffff where empty. */
  stops: Tensor
  /** uint32 (slots, 2 * n): a token and the bits of the float32 that is added to its score, and so on. No token twice. */
  biases: Tensor
  /** uint32 (slots, ceil(vocabulary / 32)): bit v % 32 of word v / 32 is 1 where token v may be drawn. */
  mask: Tensor
  /** How often each token was generated: uint32 (slots, vocabulary). Where a presence or frequency penalty is in use the new one is counted. */
  counts: Tensor
  /** uint32 (slots, n): recent tokens, 0xffffffff where empty, in a ring of the places in use; the new one is added. */
  history: Tensor
  /** Tokens seen so far: uint32 (slots). With the seed it decides the random numbers, and the place in the ring. */
  position: Tensor
  /** Tokens that may still be drawn: uint32 (slots). One less after each, 0 after a stop and when none can be drawn. */
  remaining: Tensor
  /** float32 (slots, vocabulary): the logits, before any penalty, of slots that keep them. */
  kept: Tensor
  /** Token drawn last: uint32 (slots). A row that draws no token keeps what its slot has. */
  out: Tensor
  /** uint32 (batch, 2): the drawn token and 0, or what was wrong (`SAMPLE_STATUS`). */
  report: Tensor
}

export interface TokenLogprobsTensors {
  /** (batch, vocabulary). Left out, those that each row's slot has in `kept`. */
  logits?: Tensor | undefined
  /** Slot of each row: uint32 (batch). See `Recorder`. */
  rows: Tensor
  /** As that of `sample`. Its last word is k + 1 where the token and k alternatives are reported, 0 where nothing is. */
  selection: Tensor
  /** Token drawn last: uint32 (slots). */
  token: Tensor
  /** float32 (slots, vocabulary). */
  kept: Tensor
  /** uint32 (slots, 1 + n): the token drawn last, then the most probable ones, the best first, of equal ones the one with the lower id. */
  reported: Tensor
  /** float32 (slots, 1 + n): their log-probabilities. */
  logprobs: Tensor
}

/**
 * What `sample` reports of a row besides its token. With `nan` the token is the index of the first logit that is
 * NaN and that the mask allows; `infinite` is a largest score that is infinite, at a temperature above 0; `skipped` is
 * a row without a slot and `noneAllowed` one whose mask leaves no token above -Infinity: their token is 0xffffffff.
 */
export const SAMPLE_STATUS = { drawn: 0, nan: 1, infinite: 2, skipped: 3, noneAllowed: 4 } as const

/** In place of a slot: a row that has none. */
export const NO_SLOT = 0xffffffff
