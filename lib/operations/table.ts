// The operations of a device, as JavaScript sees them: for each one the fields of its parameter
// struct in the order of metal/<name>.h, and its buffers in the order of native/operation.h.
// A test compares this table with the headers and with the loaded addon.

type Field = 'uint32' | 'float'

interface OperationLayout {
  readonly params: Readonly<Record<string, Field>>
  readonly buffers: readonly string[]
}

const U = 'uint32' as const
const F = 'float' as const

// What the rows of matmul and affine_matmul are, and what these do besides the product.
const LINEAR = {
  step: U,
  has_bias: U,
  norm_group_cols: U,
  norm_parts: U,
  norm_eps: F,
  activation: U,
  gated: U,
  has_residual: U,
} as const

export const OPERATIONS = {
  embedding: {
    params: { rows: U, cols: U, vocabulary: U },
    buffers: ['tokens', 'table', 'out'],
  },
  affine_embedding: {
    params: { rows: U, cols: U, vocabulary: U, bits: U, group_size: U },
    buffers: ['tokens', 'words', 'scales', 'biases', 'out'],
  },
  rms_norm: {
    params: { rows: U, cols: U, x_stride: U, eps: F },
    buffers: ['x', 'weight', 'out'],
  },
  gated_rms_norm: {
    params: {
      rows: U,
      cols: U,
      group_cols: U,
      x_stride: U,
      z_stride: U,
      norm_before_gate: U,
      eps: F,
    },
    buffers: ['x', 'z', 'weight', 'out'],
  },
  matmul: {
    params: { rows: U, inputs: U, outputs: U, x_stride: U, ...LINEAR },
    buffers: ['x', 'weight', 'bias', 'normWeight', 'squares', 'gate', 'residual', 'out'],
  },
  affine_matmul: {
    params: {
      rows: U,
      inputs: U,
      outputs: U,
      x_stride: U,
      bits: U,
      group_size: U,
      ...LINEAR,
    },
    buffers: [
      'x',
      'words',
      'scales',
      'biases',
      'bias',
      'normWeight',
      'squares',
      'gate',
      'residual',
      'out',
    ],
  },
  conv1d_update: {
    params: { batch: U, slots: U, channels: U, width: U, x_stride: U, has_bias: U },
    buffers: ['x', 'weight', 'bias', 'state', 'position', 'rows', 'out'],
  },
  conv1d_prefill: {
    params: { batch: U, slots: U, length: U, channels: U, width: U, x_stride: U, has_bias: U },
    buffers: ['x', 'weight', 'bias', 'state', 'position', 'rows', 'out'],
  },
  ssd_update: {
    params: {
      batch: U,
      slots: U,
      heads: U,
      head_dim: U,
      d_state: U,
      groups: U,
      x_stride: U,
      dt_stride: U,
      b_stride: U,
      c_stride: U,
      dt_min: F,
      dt_max: F,
    },
    buffers: ['x', 'dt', 'A', 'B', 'C', 'D', 'dtBias', 'state', 'rows', 'out'],
  },
  ssd_chunk_scan: {
    params: {
      batch: U,
      slots: U,
      length: U,
      heads: U,
      head_dim: U,
      d_state: U,
      groups: U,
      chunk_size: U,
      x_stride: U,
      dt_stride: U,
      b_stride: U,
      c_stride: U,
      dt_min: F,
      dt_max: F,
    },
    buffers: ['x', 'dt', 'A', 'B', 'C', 'D', 'dtBias', 'state', 'rows', 'out'],
  },
  mamba2_update: {
    params: {
      batch: U,
      slots: U,
      heads: U,
      head_dim: U,
      d_state: U,
      groups: U,
      width: U,
      has_bias: U,
      norm_before_gate: U,
      dt_min: F,
      dt_max: F,
    },
    buffers: [
      'zxBCdt',
      'convWeight',
      'convBias',
      'convState',
      'A',
      'D',
      'dtBias',
      'ssmState',
      'position',
      'rows',
      'out',
      'squares',
    ],
  },
  mlp_activation: {
    params: { count: U, activation: U, gated: U },
    buffers: ['x', 'gate', 'out'],
  },
  attention_decode: {
    params: {
      batch: U,
      slots: U,
      heads: U,
      kv_heads: U,
      head_dim: U,
      window: U,
      q_stride: U,
      k_stride: U,
      v_stride: U,
      scale: F,
    },
    buffers: ['q', 'k', 'v', 'keys', 'values', 'position', 'rows', 'out'],
  },
  attention_prefill: {
    params: {
      batch: U,
      slots: U,
      length: U,
      heads: U,
      kv_heads: U,
      head_dim: U,
      window: U,
      q_stride: U,
      k_stride: U,
      v_stride: U,
      scale: F,
    },
    buffers: ['q', 'k', 'v', 'keys', 'values', 'position', 'rows', 'out'],
  },
  kv_cache_write: {
    params: {
      batch: U,
      slots: U,
      length: U,
      kv_heads: U,
      head_dim: U,
      window: U,
      k_stride: U,
      v_stride: U,
    },
    buffers: ['k', 'v', 'keys', 'values', 'position', 'rows'],
  },
  add: { params: { count: U }, buffers: ['a', 'b', 'out'] },
  argmax: { params: { rows: U, cols: U }, buffers: ['x', 'out'] },
  keep_logits: {
    params: { batch: U, slots: U, vocabulary: U },
    buffers: ['logits', 'rows', 'kept'],
  },
  sample: {
    params: {
      batch: U,
      slots: U,
      vocabulary: U,
      stops: U,
      biases: U,
      history_length: U,
      has_logits: U,
    },
    buffers: [
      'logits',
      'rows',
      'settings',
      'selection',
      'stops',
      'biases',
      'mask',
      'counts',
      'history',
      'position',
      'remaining',
      'kept',
      'out',
      'report',
    ],
  },
  token_logprobs: {
    params: { batch: U, slots: U, vocabulary: U, places: U, has_logits: U },
    buffers: ['logits', 'rows', 'selection', 'token', 'kept', 'reported', 'logprobs'],
  },
  cross_entropy: { params: { rows: U, vocabulary: U }, buffers: ['logits', 'targets', 'out'] },
  affine_quantize: {
    params: { rows: U, cols: U, bits: U, group_size: U },
    buffers: ['weight', 'words', 'scales', 'biases'],
  },
  affine_dequantize: {
    params: { rows: U, cols: U, bits: U, group_size: U },
    buffers: ['words', 'scales', 'biases', 'out'],
  },
  cast: { params: { count: U }, buffers: ['x', 'out'] },
  resolve_rows: {
    params: { batch: U, slots: U, count: U, has_tokens: U },
    buffers: ['slots', 'remaining', 'token', 'position', 'rows', 'positions', 'tokens'],
  },
  copy: { params: { count: U }, buffers: ['x', 'out'] },
} as const satisfies Record<string, OperationLayout>

export type OperationName = keyof typeof OPERATIONS

/** The values of an operation's parameter struct. Booleans are passed as 0 and 1. */
export type OperationParams<Name extends OperationName> = {
  [Key in keyof (typeof OPERATIONS)[Name]['params']]: number
}

/** Position of each operation in native's list. */
export const OPERATION_NUMBERS = Object.fromEntries(
  Object.keys(OPERATIONS).map((name, number) => [name, number]),
) as Record<OperationName, number>

/** The bytes of an operation's parameter struct, little-endian like every machine Node runs on here. */
export function encodeParams<Name extends OperationName>(
  name: Name,
  params: OperationParams<Name>,
): Uint8Array {
  const fields = Object.entries(OPERATIONS[name].params)
  const view = new DataView(new ArrayBuffer(4 * fields.length))
  for (const [index, [field, type]] of fields.entries()) {
    const value = (params as Record<string, number>)[field]!
    if (type === 'float') view.setFloat32(4 * index, value, true)
    else if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) {
      view.setUint32(4 * index, value, true)
    } else throw new RangeError(`[${name}] ${field} must be below 2^32 but is ${value}`)
  }
  return new Uint8Array(view.buffer)
}
