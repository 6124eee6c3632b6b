// One documented method an operation: checks shapes and element types, then appends to a command
// list. Kernels trust what passes here.
//
// Activations, what operations hand to one another, are float32, or float16 where the device computes
// in it. Weights of norms, SSM state and logits are float32 everywhere. Arguments stand in the order
// inputs, weights, outputs, options; an operation with more than four tensors takes them by name.
// Rows of an input may lie apart (`tensor.columns`, `tensor.select`); outputs are contiguous.

import { DisposedError } from '../support/errors.js'
import { addon } from './addon.js'
import {
  ACTIVATIONS,
  type Activation,
  type AffineMatrix,
  type QuantizedMatrix,
  type AttentionOptions,
  type AttentionTensors,
  type ConvOptions,
  type ConvTensors,
  type DeltaOptions,
  type DeltaScanTensors,
  type DeltaUpdateTensors,
  type EmbeddingOptions,
  type ExpertsOptions,
  type KeepLogitsTensors,
  type KvPagesWriteTensors,
  type LinearOptions,
  type Mamba2Options,
  type Mamba2Tensors,
  type PagedAttentionOptions,
  type PagedDecodeOptions,
  type PagedDecodeTensors,
  type PagedPrefillTensors,
  type ResolveRowsTensors,
  type RotaryOptions,
  type RotaryTensors,
  type RouteExpertsOptions,
  type RouteExpertsTensors,
  type SampleTensors,
  type SsdOptions,
  type SsdTensors,
  type TokenLogprobsTensors,
} from './arguments.js'
import { Checker } from './checker.js'
import { checkAttention, checkRings } from './checks/attention.js'
import { checkDeltaScan, checkDeltaUpdate } from './checks/delta.js'
import { checkExperts, checkGroupExperts, checkRouteExperts } from './checks/experts.js'
import {
  ACTIVATION_NUMBERS,
  checkQuantized,
  checkEmbeddingScale,
  checkLinear,
} from './checks/linear.js'
import {
  checkKvPagesWrite,
  checkPagedDecode,
  checkPagedPrefill,
  checkRotary,
} from './checks/paged-attention.js'
import {
  checkKeepLogits,
  checkResolveRows,
  checkSample,
  checkTokenLogprobs,
} from './checks/sampling.js'
import { checkConvolution, checkMamba2, checkSsd } from './checks/state-space.js'
import { blockOf, RunLayout } from './run-block.js'
import { encodeParams, operationNamed } from './table.js'
import { type DType, DTYPE_NUMBERS, type Memory, type Tensor } from './tensor.js'

const FLOATS: readonly DType[] = ['float32', 'float16', 'bfloat16']
const MAMBA2_OPTIONS = [
  ...['groups', 'dtLimit', 'discrete'],
  ...['activation', 'columns', 'normBeforeGate'],
] as const satisfies readonly (keyof Mamba2Options)[]

/**
 * Appends operations to a command list: what `device.record` hands to its callback.
 * Every method throws a `TypeError` or `RangeError` led by its name when a tensor does not fit.
 *
 * State outlives a list, so it is addressed by slot: a tensor of state is (slots, …), and `rows`, uint32 (batch), says
 * which slot each row of a batch has. A row whose slot is not below the number of slots, `NO_SLOT` by convention, does
 * nothing: it touches no state, and its part of `out` keeps what it had. No slot may stand in `rows` twice: rows run at
 * the same time, and would race for its state.
 */
export class Recorder {
  readonly #list: number
  readonly #activationTypes: readonly DType[]
  /** @internal What a run of the list is given. */
  readonly inputs = new RunLayout('input')
  /** @internal What a run of the list gives. */
  readonly outputs = new RunLayout('output')
  /** @internal What errors of a run say of an operation. */
  readonly places = {
    operations: [] as string[],
    layers: [] as (string | undefined)[],
  }
  #block: Memory | undefined
  #layer: string | undefined
  #closed = false

  /** @internal */
  constructor(list: number, activationTypes: readonly DType[]) {
    this.#list = list
    this.#activationTypes = activationTypes
  }

  #check(operation: string): Checker {
    return new Checker(operation, this.#activationTypes)
  }

  /** @internal Ends the recording: every method throws from now on. */
  close(): void {
    this.#closed = true
    this.#block?.dispose()
  }

  /** Operations so far. */
  get length(): number {
    return this.places.operations.length
  }

  /**
   * A tensor that each run of the list is given anew: `list.run({ inputs: { [name]: data } })`. Operations of
   * this list read it; it is of no use elsewhere. All inputs together take at most 4 KB.
   *
   * @example
   * const list = device.record((cl) => cl.embedding(cl.input('tokens', 'uint32', [2]), table, out))
   * await list.run({ inputs: { tokens: Uint32Array.of(3, 5) } })
   */
  input(name: string, dtype: DType, shape: readonly number[]): Tensor {
    if (this.#closed) throw closedError('input')
    return this.inputs.add(this.#runBlock(), name, dtype, shape)
  }

  /**
   * A tensor of zeros that operations of this list write, and later ones may read; its elements come with
   * the end of each run. All outputs together take at most 4 KB.
   *
   * @example
   * const list = device.record((cl) => cl.argmax(logits, cl.output('token', 'uint32', [1])))
   * const { outputs } = await list.run()
   * outputs.token // Uint32Array of 1
   */
  output(name: string, dtype: DType, shape: readonly number[]): Tensor {
    if (this.#closed) throw closedError('output')
    return this.outputs.add(this.#runBlock(), name, dtype, shape)
  }

  /** @internal What `record` appends belongs to that layer of a model: errors of a run name it. */
  layer(name: string, record: () => void): void {
    const outer = this.#layer
    this.#layer = name
    try {
      record()
    } finally {
      this.#layer = outer
    }
  }

  #runBlock(): Memory {
    this.#block ??= blockOf(this.#list)
    return this.#block
  }

  /** out[i] = scale * table[tokens[i]]: tokens uint32 (…), table (vocabulary, cols) of any float type, out (…, cols). */
  embedding(tokens: Tensor, table: Tensor, out: Tensor, options: EmbeddingOptions = {}): void {
    const check = this.#check('embedding')
    const scale = checkEmbeddingScale(check, options)
    check.type('table', table, FLOATS)
    const [vocabulary, cols] = check.matrix('table', table)
    check.tokens(tokens, out, cols)
    this.#add(
      'embedding',
      { tokens, table, out },
      { rows: tokens.elements, cols, vocabulary, scale },
    )
  }

  /** `embedding` from a quantised table (vocabulary, cols). */
  quantizedEmbedding(
    tokens: Tensor,
    table: QuantizedMatrix,
    out: Tensor,
    options: EmbeddingOptions = {},
  ): void {
    const check = this.#check('quantizedEmbedding')
    const scale = checkEmbeddingScale(check, options)
    const { rows: vocabulary, cols, tensors, params } = checkQuantized(check, table)
    check.tokens(tokens, out, cols)
    const rows = tokens.elements
    this.#add(
      'quantized_embedding',
      { tokens, ...tensors, out },
      { rows, cols, vocabulary, ...params, scale },
    )
  }

  /** out = x / rms(x) * weight over the last dimension: x and out (…, cols), weight (cols). */
  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, options: { eps: number }): void {
    const { eps } = options
    const check = this.#check('rmsNorm')
    check.options(options, ['eps'])
    check.notNegative('eps', eps)
    check.activations({ x })
    check.activations({ out })
    check.float32({ weight })
    check.shape('weight', weight, [x.cols])
    check.output('out', out, x.shape)
    this.#add(
      'rms_norm',
      { x, weight, out },
      { rows: x.rows, cols: x.cols, x_stride: x.rowStride, eps },
    )
  }

  /** out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias over the last dimension: x and out (…, cols), weight and bias (cols). */
  layerNorm(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    options: { eps: number; bias?: Tensor | undefined },
  ): void {
    const { eps, bias } = options
    const check = this.#check('layerNorm')
    check.options(options, ['eps', 'bias'])
    check.notNegative('eps', eps)
    check.activations({ x })
    check.activations({ out })
    check.float32({ weight, bias })
    check.shape('weight', weight, [x.cols])
    if (bias) check.output('bias', bias, [x.cols])
    check.output('out', out, x.shape)
    this.#add(
      'layer_norm',
      { x, weight, bias, out },
      { rows: x.rows, cols: x.cols, x_stride: x.rowStride, has_bias: bias ? 1 : 0, eps },
    )
  }

  /**
   * The norm after a Mamba-2 scan, with x, z and out (…, cols), weight (cols): rms(x * silu(z)) * weight, or with
   * `normBeforeGate` rms(x) * weight * silu(z). Each of `groups` equal parts of a row is normed by itself. `out` may be x.
   */
  gatedRmsNorm(
    x: Tensor,
    z: Tensor,
    weight: Tensor,
    out: Tensor,
    options: { eps: number; groups?: number; normBeforeGate?: boolean },
  ): void {
    const check = this.#check('gatedRmsNorm')
    check.options(options, ['eps', 'groups', 'normBeforeGate'])
    check.notNegative('eps', options.eps)
    const groups = options.groups ?? 1
    check.activations({ x, z, out })
    check.float32({ weight })
    check.shape('z', z, x.shape)
    check.shape('weight', weight, [x.cols])
    check.output('out', out, x.shape)
    check.divides('groups', groups, 'the columns', x.cols)
    this.#add(
      'gated_rms_norm',
      { x, z, weight, out },
      {
        rows: x.rows,
        cols: x.cols,
        group_cols: x.cols / groups,
        x_stride: x.rowStride,
        z_stride: z.rowStride,
        norm_before_gate: options.normBeforeGate ? 1 : 0,
        eps: options.eps,
      },
    )
  }

  /**
   * out = activation(scale ∘ (norm(x) · weightᵀ) + bias) * gate + residual, each of them only when given: x (…, inputs),
   * weight (outputs, inputs) of any float type, out (…, outputs). An x of two dimensions is a step, (batch, inputs), one
   * of three a chunk, (batch, length, inputs), unless `role` says otherwise.
   */
  matmul(x: Tensor, weight: Tensor, out: Tensor, options: LinearOptions = {}): void {
    const check = this.#check('matmul')
    check.type('weight', weight, FLOATS)
    const [outputs, inputs] = check.matrix('weight', weight)
    const linear = checkLinear(check, x, inputs, outputs, out, options)
    this.#add(
      'matmul',
      { x, weight, ...linear.tensors, out },
      { rows: x.rows, inputs, outputs, x_stride: x.rowStride, ...linear.params },
    )
  }

  /** `matmul` with a quantised weight (outputs, inputs). */
  quantizedMatmul(
    x: Tensor,
    weight: QuantizedMatrix,
    out: Tensor,
    options: LinearOptions = {},
  ): void {
    const check = this.#check('quantizedMatmul')
    const { rows: outputs, cols: inputs, tensors, params } = checkQuantized(check, weight)
    const linear = checkLinear(check, x, inputs, outputs, out, options)
    this.#add(
      'quantized_matmul',
      { x, ...tensors, ...linear.tensors, out },
      { rows: x.rows, inputs, outputs, x_stride: x.rowStride, ...params, ...linear.params },
    )
  }

  /** The experts that each token is sent to, and how much each of them counts. */
  routeExperts(tensors: RouteExpertsTensors, options: RouteExpertsOptions): void {
    const params = checkRouteExperts(this.#check('routeExperts'), tensors, options)
    const { logits, bias, experts, weights } = tensors
    this.#add('route_experts', { logits, bias, experts, weights }, params)
  }

  /**
   * Puts the products of tokens with their experts in order, for products of a chunk: chosen uint32 (…, k), tiles uint32
   * (mostExpertTiles(products, experts), EXPERT_TILE). Each tile has products of one expert, by their numbers in chosen, and
   * NO_PRODUCT in the places behind them.
   */
  groupExperts(chosen: Tensor, tiles: Tensor, options: { experts: number }): void {
    const params = checkGroupExperts(this.#check('groupExperts'), chosen, tiles, options)
    this.#add('group_experts', { chosen, tiles }, params)
  }

  /**
   * out = activation(x · weightᵀ) * gate of the experts that each token has chosen: chosen uint32 (…, k), out (…, k,
   * outputs); x (…, inputs), which a token's experts share, or (…, k, inputs). The weight (rows, inputs), of any float
   * type, has the rows of one expert after the other.
   */
  expertsMatmul(
    x: Tensor,
    weight: Tensor,
    chosen: Tensor,
    out: Tensor,
    options: ExpertsOptions,
  ): void {
    const check = this.#check('expertsMatmul')
    check.type('weight', weight, FLOATS)
    const [rows, inputs] = check.matrix('weight', weight)
    const params = checkExperts(check, x, { rows, inputs }, chosen, out, options)
    this.#add(
      'experts_matmul',
      { x, weight, chosen, tiles: options.tiles, gate: options.gate, out },
      params,
    )
  }

  /** `expertsMatmul` with a quantised weight. */
  quantizedExpertsMatmul(
    x: Tensor,
    weight: QuantizedMatrix,
    chosen: Tensor,
    out: Tensor,
    options: ExpertsOptions,
  ): void {
    const check = this.#check('quantizedExpertsMatmul')
    const { rows, cols: inputs, tensors, params: format } = checkQuantized(check, weight)
    const params = checkExperts(check, x, { rows, inputs }, chosen, out, options)
    this.#add(
      'quantized_experts_matmul',
      { x, ...tensors, chosen, tiles: options.tiles, gate: options.gate, out },
      { ...params, ...format },
    )
  }

  /**
   * out = scale * sum over the experts of a token of their weight times what they gave, plus residual: x (…, k, cols),
   * weights float32 (…, k), out and residual (…, cols). `out` may be the residual.
   */
  mixExperts(
    x: Tensor,
    weights: Tensor,
    out: Tensor,
    options: { scale?: number | undefined; residual?: Tensor | undefined } = {},
  ): void {
    const check = this.#check('mixExperts')
    check.options(options, ['scale', 'residual'])
    const { scale = 1, residual } = options
    check.activations({ x })
    check.activations({ out, residual })
    check.float32({ weights })
    check.finite('scale', scale)
    check.output('x', x, [...weights.shape, x.cols])
    check.output('weights', weights, weights.shape)
    check.output('out', out, [...weights.shape.slice(0, -1), x.cols])
    if (residual) check.output('residual', residual, out.shape)
    this.#add(
      'mix_experts',
      { x, weights, residual, out },
      {
        rows: weights.rows,
        chosen: weights.cols,
        cols: x.cols,
        has_residual: residual ? 1 : 0,
        scale,
      },
    )
  }

  /**
   * One token of the causal depthwise convolution, then SiLU; x enters the ring `state`. With gates, as in short convolutions:
   * x * inputGate is convolved and enters the ring, and the result is multiplied by outputGate.
   */
  conv1dUpdate(tensors: ConvTensors, options: ConvOptions = {}): void {
    const params = checkConvolution(this.#check('conv1dUpdate'), tensors, options, 2)
    this.#addGiven('conv1d_update', tensors, params)
  }

  /** `conv1dUpdate` for a chunk, continuing from the ring `state` and leaving its last inputs there. */
  conv1dPrefill(tensors: ConvTensors, options: ConvOptions = {}): void {
    const params = checkConvolution(this.#check('conv1dPrefill'), tensors, options, 3)
    this.#addGiven('conv1d_prefill', tensors, { ...params, length: tensors.x.shape[1]! })
  }

  /** One token of the Mamba-2 recurrence: S = exp(dt·A)·S + (dt·x) ⊗ B, y = S·C + D·x. */
  ssdUpdate(tensors: SsdTensors, options: SsdOptions = {}): void {
    const check = this.#check('ssdUpdate')
    check.options(options, ['groups', 'dtLimit', 'discrete'])
    const params = checkSsd(check, tensors, options, 2)
    this.#addGiven('ssd_update', tensors, params)
  }

  /** The recurrence of `ssdUpdate` over many tokens, in the chunked SSD form; continues from `state` and leaves the last one there. */
  ssdChunkScan(tensors: SsdTensors, options: SsdOptions & { chunkSize?: number } = {}): void {
    const check = this.#check('ssdChunkScan')
    check.options(options, ['groups', 'dtLimit', 'discrete', 'chunkSize'])
    const params = checkSsd(check, tensors, options, 3)
    const chunkSize = options.chunkSize ?? 64
    check.positive('chunkSize', chunkSize)
    this.#addGiven('ssd_chunk_scan', tensors, {
      ...params,
      length: tensors.x.shape[1]!,
      chunk_size: chunkSize,
    })
  }

  /**
   * One token between the projections of a Mamba-2 layer: `conv1dUpdate`, then `ssdUpdate`, then the gate, in one pass over the
   * state. `gatedRmsNorm` and out_proj follow as one `matmul` of `out` whose norm is given `squares`.
   */
  mamba2Update(tensors: Mamba2Tensors, options: Mamba2Options = {}): void {
    const check = this.#check('mamba2Update')
    check.options(options, MAMBA2_OPTIONS)
    const params = checkMamba2(check, tensors, options)
    this.#addGiven('mamba2_update', tensors, params)
  }

  /**
   * One token between the projections of a gated DeltaNet layer: `conv1dUpdate` of q, k and v, the gated delta rule of
   * `deltaChunkScan`, then the gate, in one pass over the state. The norm of each head, which comes before the gate, and
   * out_proj follow as one `matmul` of `out` whose norm is given `squares`.
   */
  deltaUpdate(tensors: DeltaUpdateTensors, options: DeltaOptions = {}): void {
    const params = checkDeltaUpdate(this.#check('deltaUpdate'), tensors, options)
    this.#addGiven('delta_update', tensors, params)
  }

  /**
   * The gated delta rule over many tokens. For each head, with its state S (valueDim, keyDim), q and k brought to length 1 and
   * q divided by sqrt(keyDim): S = exp(A softplus(a + dtBias)) S, then S = S + sigmoid(b) (v - S k) kᵀ, out = S q. Head h reads q
   * and k of head h / (heads / keyHeads) (Yang, Kautz and Hatamizadeh, "Gated delta networks", 2024; Qwen3.5).
   */
  deltaChunkScan(tensors: DeltaScanTensors, options: DeltaOptions = {}): void {
    const params = checkDeltaScan(this.#check('deltaChunkScan'), tensors, options)
    this.#addGiven('delta_chunk_scan', tensors, params)
  }

  /** out = activation(x), times `gate` when given; all of one shape, rows of x may lie apart. `gelu` is exact (erf). `out` may be x or gate. */
  mlpActivation(
    x: Tensor,
    out: Tensor,
    options: { activation: Activation; gate?: Tensor | undefined },
  ): void {
    const { activation, gate } = options
    const check = this.#check('mlpActivation')
    check.options(options, ['activation', 'gate'])
    check.oneOf('activation', activation, ACTIVATIONS)
    check.activations({ x, gate, out })
    if (gate) check.output('gate', gate, x.shape)
    check.output('out', out, x.shape)
    this.#add(
      'mlp_activation',
      { x, gate, out },
      {
        rows: x.rows,
        cols: x.cols,
        x_stride: x.rowStride,
        activation: ACTIVATION_NUMBERS[activation],
        gated: gate ? 1 : 0,
      },
    )
  }

  /** One token of causal sliding-window attention: k and v enter the rings, then q attends to the last `window` keys, its own included. */
  attentionDecode(tensors: AttentionTensors, options: AttentionOptions): void {
    const check = this.#check('attentionDecode')
    check.options(options, ['headDim', 'scale'])
    const params = checkAttention(check, tensors, options, 2)
    this.#addGiven('attention_decode', tensors, params)
  }

  /** A chunk of causal sliding-window attention over the rings and this chunk's own k and v. Follow with `kvCacheWrite`. */
  attentionPrefill(tensors: AttentionTensors, options: AttentionOptions): void {
    const check = this.#check('attentionPrefill')
    check.options(options, ['headDim', 'scale'])
    const params = checkAttention(check, tensors, options, 3)
    this.#addGiven('attention_prefill', tensors, {
      ...params,
      length: tensors.q.shape[1]!,
    })
  }

  /** Puts a chunk's k and v, (batch, length, kvHeads * headDim), into the rings; of more than `window` tokens the last. */
  kvCacheWrite(tensors: Omit<AttentionTensors, 'q' | 'out'>, options: { headDim: number }): void {
    const { headDim } = options
    const { k, v, keys, values, position, rows } = tensors
    const check = this.#check('kvCacheWrite')
    check.options(options, ['headDim'])
    check.activations({ k, v, keys, values })
    check.dimensions('k', k, 3)
    const [batch, length, cols] = k.shape as [number, number, number]
    check.divides('headDim', headDim, 'the columns of k', cols)
    const window = checkRings(check, tensors, batch, cols)
    this.#add(
      'kv_cache_write',
      { k, v, keys, values, position, rows },
      {
        batch,
        slots: keys.shape[0]!,
        length,
        kv_heads: cols / headDim,
        head_dim: headDim,
        window,
        k_stride: k.rowStride,
        v_stride: v.rowStride,
      },
    )
  }

  /**
   * Norms each head of x, then turns the first 2 * frequencies of its columns by position (RoPE), each of them only when
   * given: queries or keys before `kvPagesWrite` and `pagedAttentionPrefill`.
   */
  rotary(tensors: RotaryTensors, options: RotaryOptions): void {
    const check = this.#check('rotary')
    check.options(options, ['headDim', 'headStride', 'eps', 'attentionFactor', 'interleaved'])
    const params = checkRotary(check, tensors, options)
    this.#addGiven('rotary', { ...tensors, out: tensors.out ?? tensors.x }, params)
  }

  /** Puts k and v of a step or of a chunk into the pages, from `position` on. A token that has no page is not written. */
  kvPagesWrite(tensors: KvPagesWriteTensors): void {
    const params = checkKvPagesWrite(this.#check('kvPagesWrite'), tensors)
    this.#addGiven('kv_pages_write', tensors, params)
  }

  /**
   * One token of causal attention over all positions so far: q and k are normed and turned as `rotary` does it, k and v enter
   * the pages, then q attends to positions 0 to `position`, its own. A row that lacks a page of these does nothing.
   */
  pagedAttentionDecode(tensors: PagedDecodeTensors, options: PagedDecodeOptions): void {
    const check = this.#check('pagedAttentionDecode')
    const turn = ['eps', 'attentionFactor', 'interleaved']
    check.options(options, ['headDim', 'scale', 'gated', ...turn])
    const params = checkPagedDecode(check, tensors, options)
    this.#addGiven('paged_attention_decode', tensors, params)
  }

  /**
   * A chunk of causal attention over all positions so far. Its own keys and values are in the pages already (`kvPagesWrite`).
   * A row that lacks a page of these positions does nothing.
   */
  pagedAttentionPrefill(tensors: PagedPrefillTensors, options: PagedAttentionOptions): void {
    const check = this.#check('pagedAttentionPrefill')
    check.options(options, ['headDim', 'scale', 'gated'])
    const params = checkPagedPrefill(check, tensors, options)
    this.#addGiven('paged_attention_prefill', tensors, params)
  }

  /** out = a + b, all of one shape. `out` may be a or b. */
  add(a: Tensor, b: Tensor, out: Tensor): void {
    const check = this.#check('add')
    check.activations({ a, b, out })
    for (const [name, tensor] of Object.entries({ a, b, out })) check.output(name, tensor, a.shape)
    this.#add('add', { a, b, out }, { count: a.elements })
  }

  /** out = a ‖ b, row by row: a (…, m), b (…, n), out (…, m + n). Rows of a and b may lie apart. */
  concatenate(a: Tensor, b: Tensor, out: Tensor): void {
    const check = this.#check('concatenate')
    check.activations({ a, b, out })
    check.shape('b', b, [...a.shape.slice(0, -1), b.cols])
    check.output('out', out, [...a.shape.slice(0, -1), a.cols + b.cols])
    this.#add(
      'concatenate',
      { a, b, out },
      {
        rows: a.rows,
        a_cols: a.cols,
        b_cols: b.cols,
        a_stride: a.rowStride,
        b_stride: b.rowStride,
      },
    )
  }

  /** out = index of the largest element of each row, of equal ones the first: x (…, cols), out uint32 (…). A row that holds NaN gives 0xffffffff. */
  argmax(x: Tensor, out: Tensor): void {
    const check = this.#check('argmax')
    check.float32({ x })
    check.output('x', x, x.shape)
    check.type('out', out, ['uint32'])
    check.output('out', out, x.shape.slice(0, -1))
    this.#add('argmax', { x, out }, { rows: x.rows, cols: x.cols })
  }

  /** kept[rows[b]] = logits[b]: for a later `sample` or `tokenLogprobs` without logits. */
  keepLogits(tensors: KeepLogitsTensors): void {
    const params = checkKeepLogits(this.#check('keepLogits'), tensors)
    const { logits, rows, kept } = tensors
    this.#add('keep_logits', { logits, rows, kept }, params)
  }

  /**
   * Draws one token a row: repetition penalty, presence and frequency penalty, biases, mask, temperature, top-k, top-p,
   * min-p, in that order. A row with bad logits draws none, says so in `report`, and its sequence is done; the others
   * do not suffer. Logits that the mask rules out may be anything.
   */
  sample(tensors: SampleTensors): void {
    const params = checkSample(this.#check('sample'), tensors)
    this.#addGiven('sample', tensors, params)
  }

  /**
   * Log-probabilities of the token that each slot drew last and of the most probable ones, by the logits as they are:
   * no penalty, bias, mask or temperature changes them. Places beyond what a slot asks for keep what they had.
   */
  tokenLogprobs(tensors: TokenLogprobsTensors): void {
    const params = checkTokenLogprobs(this.#check('tokenLogprobs'), tensors)
    this.#addGiven('token_logprobs', tensors, params)
  }

  /** out = -log softmax(logits)[target] in nats: logits (…, vocabulary), targets uint32 (…), out (…). */
  crossEntropy(logits: Tensor, targets: Tensor, out: Tensor): void {
    const check = this.#check('crossEntropy')
    check.float32({ logits, out })
    check.type('targets', targets, ['uint32'])
    check.output('logits', logits, logits.shape)
    check.output('targets', targets, logits.shape.slice(0, -1))
    check.output('out', out, targets.shape)
    this.#add(
      'cross_entropy',
      { logits, targets, out },
      { rows: logits.rows, vocabulary: logits.cols },
    )
  }

  /** Turns a float matrix (rows, cols) into the affine format, with scales of the type of `out.scales`. The run fails on NaN and infinity. */
  affineQuantize(weight: Tensor, out: AffineMatrix): void {
    const check = this.#check('affineQuantize')
    check.type('weight', weight, FLOATS)
    const { mode = 'affine' } = out
    check.oneOf('mode', mode, ['affine'])
    const { rows, cols, tensors, params } = checkQuantized(check, out)
    check.output('weight', weight, [rows, cols])
    const { bits, group_size } = params
    this.#add('affine_quantize', { weight, ...tensors }, { rows, cols, bits, group_size })
  }

  /** out = the numbers that a quantised matrix stands for: out (rows, cols) of any float type. */
  dequantize(matrix: QuantizedMatrix, out: Tensor): void {
    const check = this.#check('dequantize')
    check.type('out', out, FLOATS)
    const { rows, cols, tensors, params } = checkQuantized(check, matrix)
    check.output('out', out, [rows, cols])
    this.#add('dequantize', { ...tensors, out }, { rows, cols, ...params })
  }

  /** out = x in another float type, of the same shape; to nearest, ties to even. */
  cast(x: Tensor, out: Tensor): void {
    const check = this.#check('cast')
    check.type('x', x, FLOATS)
    check.type('out', out, FLOATS)
    check.output('x', x, x.shape)
    check.output('out', out, x.shape)
    this.#add('cast', { x, out }, { count: x.elements })
  }

  /** out = x, bit by bit, of the same type and shape, any but uint8. */
  copy(x: Tensor, out: Tensor): void {
    const check = this.#check('copy')
    check.type('x', x, [...FLOATS, 'uint32'])
    check.output('x', x, x.shape)
    check.type('out', out, [x.dtype])
    check.output('out', out, x.shape)
    this.#add('copy', { x, out }, { count: x.elements })
  }

  /**
   * The first operation of a list: which slots its rows have, where their sequences stand, and the tokens that they drew
   * last; then position += count, the tokens that the list consumes of each row. A row that asks for no slot, or for one
   * whose sequence is done (remaining 0), gets `NO_SLOT`, position 0 and token 0. No slot may be asked for twice.
   */
  resolveRows(tensors: ResolveRowsTensors, options: { count: number }): void {
    const check = this.#check('resolveRows')
    check.options(options, ['count'])
    const params = checkResolveRows(check, tensors, options.count)
    this.#addGiven('resolve_rows', tensors, params)
  }

  /** Of the tensors that a caller gave by name those that the operation takes. */
  #addGiven(name: string, given: object, params: Readonly<Record<string, number>>): void {
    const all = given as Readonly<Record<string, Tensor | undefined>>
    const names = operationNamed(name).buffers.map((buffer) => buffer.name)
    this.#add(name, Object.fromEntries(names.map((each) => [each, all[each]])), params)
  }

  /** By the names that the operation's header gives its buffers and its parameters. */
  #add(
    name: string,
    tensors: Readonly<Record<string, Tensor | undefined>>,
    params: Readonly<Record<string, number>>,
  ): void {
    const operation = operationNamed(name)
    if (this.#closed) throw closedError(operation.apiName)
    const unknown = Object.keys(tensors).find((key) =>
      operation.buffers.every((buffer) => buffer.name !== key),
    )
    if (unknown) throw new Error(`[${operation.apiName}] there is no buffer ${unknown}`)
    const bindings = operation.buffers.flatMap((buffer) => {
      const tensor = tensors[buffer.name]
      return tensor
        ? [tensor.memory.handle, tensor.byteOffset, tensor.byteSpan, DTYPE_NUMBERS[tensor.dtype]]
        : [0, 0, 0, 0]
    })
    addon().record(this.#list, operation.number, bindings, encodeParams(operation, params))
    this.places.operations.push(operation.apiName)
    this.places.layers.push(this.#layer)
  }
}

function closedError(operation: string): Error {
  return new DisposedError(`[${operation}] the recording has ended: record a new command list`)
}

type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${Lowercase<First>}${Rest extends Uncapitalize<Rest> ? '' : '_'}${SnakeCase<Rest>}`
  : Name
type NoOperation = 'close' | 'input' | 'output' | 'layer'

/** The name of an operation as files and tables have it: `rms_norm` for the method `rmsNorm`. */
export type OperationName = {
  [Method in keyof Recorder]: Recorder[Method] extends (...args: never[]) => unknown
    ? SnakeCase<Exclude<Method, NoOperation>>
    : never
}[keyof Recorder]
