// Attention over all positions so far, in pages, and what stands before it.

import { NO_PAGE, PAGE_SIZE } from '../../operations/arguments.js'
import type { ActivationType } from '../../operations/device.js'
import type { Inputs } from '../inputs.js'
import { type Case, EPS, type Recordable, writing } from './case.js'

export interface PagedShape {
  /** Tokens that each sequence has seen before. */
  positions: readonly number[]
  heads: number
  kvHeads: number
  headDim: number
  /** Columns of a head that turn; 0: none. */
  rotaryDim: number
  normed: boolean
  gated: boolean
  /** Of keys and values. */
  stored: ActivationType
}

const PLAIN = { rotaryDim: 0, normed: false, gated: false, stored: 'float32' } as const
const SHAPES: readonly PagedShape[] = [
  { ...PLAIN, positions: [0], heads: 1, kvHeads: 1, headDim: 1 },
  { ...PLAIN, positions: [255, 0, 256], heads: 6, kvHeads: 2, headDim: 20, rotaryDim: 20 },
  { positions: [40, 700], heads: 3, kvHeads: 1, headDim: 65, ...PLAIN, stored: 'float16' },
  {
    ...{ positions: [4500], heads: 2, kvHeads: 1, headDim: 16 },
    ...{ rotaryDim: 8, normed: true, gated: true, stored: 'float16' },
  },
]
const LARGE: PagedShape = {
  ...{ positions: [2047], heads: 16, kvHeads: 4, headDim: 128 },
  ...{ rotaryDim: 64, normed: true, gated: false, stored: 'float16' },
}

/** Pages for `length` more tokens of each sequence, not in order. */
function pagesOf(
  inputs: Inputs,
  { positions, kvHeads, headDim, stored }: PagedShape,
  length: number,
) {
  const { slots, rows } = inputs.places(positions.length)
  const counts = positions.map((position) => Math.ceil((position + length) / PAGE_SIZE))
  const width = Math.max(...counts) + 1
  const table = new Array<number>(slots * width).fill(NO_PAGE)
  let next = 0
  for (const [b, count] of counts.entries()) {
    const slot = positions.length - b // as `places` gives them
    for (let i = count - 1; i >= 0; i--) table[slot * width + i] = next++
  }
  return {
    keys: inputs.typed(stored, [next, PAGE_SIZE, kvHeads * headDim]),
    values: inputs.typed(stored, [next, PAGE_SIZE, kvHeads * headDim]),
    pages: inputs.integers(table, [slots, width]),
    position: inputs.integers(positions),
    rows,
  }
}

/** How heads are normed and turned: tensors, which take `rotary` and decode by their names, and options. */
function turnOf(inputs: Inputs, { headDim, rotaryDim, normed }: PagedShape) {
  const norm = () => (normed ? inputs.floats([headDim], 0.5, 1) : undefined)
  return {
    norms: { qNorm: norm(), kNorm: norm() },
    frequencies: rotaryDim ? inputs.floats([rotaryDim / 2], 0.5, 0.5) : undefined,
    options: { headDim, eps: normed ? EPS : undefined },
  }
}

function decode(inputs: Inputs, shape: PagedShape): Recordable {
  const { positions, heads, kvHeads, headDim, gated } = shape
  const batch = positions.length
  const { norms, frequencies, options } = turnOf(inputs, shape)
  const tensors = {
    ...pagesOf(inputs, shape, 1),
    ...norms,
    frequencies,
    q: inputs.activations([batch, heads * headDim * (gated ? 2 : 1)]),
    k: inputs.activations([batch, kvHeads * headDim]),
    v: inputs.activations([batch, kvHeads * headDim]),
    out: inputs.activationResult([batch, heads * headDim]),
  }
  return {
    record: (cl) => cl.pagedAttentionDecode(tensors, { ...options, gated }),
    outputs: [tensors.out, tensors.keys, tensors.values],
  }
}

function prefill(inputs: Inputs, shape: PagedShape, length: number): Recordable {
  const { positions, heads, headDim, gated } = shape
  const leading = [positions.length, length]
  const tensors = {
    ...pagesOf(inputs, shape, length),
    q: inputs.activations([...leading, heads * headDim * (gated ? 2 : 1)]),
    out: inputs.activationResult([...leading, heads * headDim]),
  }
  return writing(tensors.out, (cl) => cl.pagedAttentionPrefill(tensors, { headDim, gated }))
}

function write(inputs: Inputs, shape: PagedShape, length: number): Recordable {
  const { positions, kvHeads, headDim } = shape
  const tokens = [positions.length, length, kvHeads * headDim]
  const tensors = {
    ...pagesOf(inputs, shape, length),
    k: inputs.activations(tokens),
    v: inputs.activations(tokens),
  }
  return { record: (cl) => cl.kvPagesWrite(tensors), outputs: [tensors.keys, tensors.values] }
}

function rotary(inputs: Inputs, shape: PagedShape, length: number): Recordable {
  const { positions, heads, headDim } = shape
  const { norms, frequencies, options } = turnOf(inputs, shape)
  const x = inputs.activations([positions.length, length, heads * headDim])
  const out = inputs.activationResult(x.shape)
  const position = frequencies && inputs.integers(positions)
  const tensors = { x, normWeight: norms.qNorm, frequencies, position, out }
  return writing(out, (cl) => cl.rotary(tensors, options))
}

const sizeOf = ({ positions, heads, kvHeads, headDim, stored }: PagedShape) =>
  `${positions.length} x ${heads}/${kvHeads} x ${headDim} at ${positions.join(', ')}, ${stored} pages`

/** One token of each sequence. */
export function pagedDecodeCase(shape: PagedShape, activationType: ActivationType): Case {
  return {
    operation: 'paged_attention_decode',
    dtype: activationType,
    activationType,
    shape: sizeOf(shape),
    build: (inputs) => decode(inputs, shape),
  }
}

/** The tokens of a prompt. */
export function pagedPrefillCase(
  shape: PagedShape,
  activationType: ActivationType,
  length: number,
): Case {
  return {
    operation: 'paged_attention_prefill',
    dtype: activationType,
    activationType,
    shape: `${length} tokens, ${sizeOf(shape)}`,
    build: (inputs) => prefill(inputs, shape, length),
  }
}

/** What norms and turns the heads of a prompt. */
export function rotaryCase(
  shape: PagedShape,
  activationType: ActivationType,
  length: number,
): Case {
  return {
    operation: 'rotary',
    dtype: activationType,
    activationType,
    shape: `${length} tokens, ${sizeOf(shape)}`,
    build: (inputs) => rotary(inputs, shape, length),
  }
}

export function* pagedAttentionCases(activationType: ActivationType): Generator<Case> {
  for (const shape of [...SHAPES, LARGE]) {
    const large = shape === LARGE
    yield { ...pagedDecodeCase(shape, activationType), large }
    for (const length of large ? [64] : [1, 40]) {
      yield { ...pagedPrefillCase(shape, activationType, length), large }
      if (shape.normed || shape.rotaryDim) {
        yield { ...rotaryCase(shape, activationType, length), large }
      }
      yield {
        operation: 'kv_pages_write',
        dtype: activationType,
        activationType,
        large,
        shape: `${length} tokens, ${sizeOf(shape)}`,
        build: (inputs) => write(inputs, shape, length),
      }
    }
  }
}
