// What `tune` measures: the operations of decoding and prefill at the shapes of published models.

import type { OperationName } from '../operations/recorder.js'
import { type LinearOptions, PAGE_SIZE } from '../operations/arguments.js'
import type { Recorder } from '../operations/recorder.js'
import type { Tensor } from '../operations/tensor.js'
import { FORMAT_KINDS, kindOf, type WeightFormat } from '../weights/formats/formats.js'
import { EPS, MODELS } from '../verify/cases/case.js'
import type { Tensors } from './tensors.js'

/** An operation that is ready to be recorded, on one of several copies of its large tensors. */
export type Record = (cl: Recorder, copy: number) => void

export interface TuneCase {
  operation: OperationName
  /** Of activations, and of weights where there are any. */
  dtype: string
  shape: string
  /**
   * Takes tensors of its own for each copy, so that a run of many finds none of them in a cache; the
   * result is the same tensor for all, so that one waits for the one before, as layers do.
   */
  build(tensors: Tensors, copies: number): Record
}

/** The sizes of a model, and of what is run on it. */
export interface TuneModel {
  name: string
  dModel: number
  heads: number
  headDim: number
  dState: number
  groups: number
  vocabulary: number
  attention?: { heads: number; kvHeads: number; headDim: number; window: number }
  /** Attention over all of so many positions. */
  fullAttention?: { heads: number; kvHeads: number; headDim: number; positions: number }
  /** Of a prompt. */
  tokens: number
}

const FORMATS: readonly WeightFormat[] = FORMAT_KINDS.flatMap<WeightFormat>(({ usual }) => usual)

const SEQUENCES = [1, 16]
const WIDTH = 4 // taps of the convolution
// Of a step: sequences that are decoded together.
const STEP_ROWS = [1, 2, 4, 8, 16, 32]

// Rene has an attention layer; the other models are here for their other sizes.
const PUBLISHED: readonly TuneModel[] = MODELS.map((model) => ({
  ...model,
  vocabulary: 50288,
  tokens: 512,
  ...(model.name === 'rene-1.3b' && {
    attention: { heads: 16, kvHeads: 1, headDim: 128, window: 2048 },
  }),
  // As many heads as Granite 4.0 H Tiny has.
  ...(model.name === 'mamba2-2.7b' && {
    fullAttention: { heads: 12, kvHeads: 4, headDim: 128, positions: 8192 },
  }),
}))

/** Everything, or with `quick` only what Rene runs. */
export function publishedCases(quick: boolean): TuneCase[] {
  return PUBLISHED.slice(0, quick ? 1 : undefined).flatMap(casesOf)
}

/** The operations of all cases. */
export function measuredOperations(): OperationName[] {
  return [...new Set(publishedCases(false).map(({ operation }) => operation))]
}

/** Everything that one model runs. */
export function casesOf(model: TuneModel): TuneCase[] {
  const { name, dModel, heads, headDim, dState, groups, vocabulary, attention, tokens } = model
  const inner = heads * headDim
  const inProj = 2 * inner + 2 * groups * dState + heads
  const cases: TuneCase[] = []
  for (const format of FORMATS) {
    for (const rows of STEP_ROWS) {
      cases.push(
        projection(`${name} in_proj`, format, [rows], dModel, inProj, 'norm'),
        projection(`${name} out_proj`, format, [rows], inner, dModel, 'squares'),
      )
    }
    cases.push(
      projection(`${name} in_proj`, format, [1, tokens], dModel, inProj, 'norm'),
      projection(`${name} out_proj`, format, [1, tokens], inner, dModel, 'squares'),
      projection(`${name} head`, format, [1], dModel, vocabulary, 'norm'),
    )
  }
  for (const batch of SEQUENCES) {
    const sizes = `${batch} x ${heads} x ${headDim} x ${dState}`
    const shape = `${name} ${sizes}`
    const given = { dtype: 'float32', shape } as const
    cases.push(
      {
        ...given,
        operation: 'mamba2_update',
        build: (t, copies) => update(t, copies, model, batch),
      },
      { ...given, operation: 'ssd_update', build: (t, copies) => ssd(t, copies, model, [batch]) },
    )
  }
  cases.push({
    operation: 'ssd_chunk_scan',
    dtype: 'float32',
    shape: `${name} ${tokens} tokens, 1 x ${heads} x ${headDim} x ${dState}`,
    build: (t, copies) => ssd(t, copies, model, [1, tokens]),
  })
  if (model.fullAttention) cases.push(...fullAttentionCases(model, model.fullAttention))
  if (!attention) return cases
  const window = `${attention.heads}/${attention.kvHeads} x ${attention.headDim}, window ${attention.window}`
  for (const batch of SEQUENCES) {
    cases.push({
      operation: 'attention_decode',
      dtype: 'float32',
      shape: `${name} ${batch} x ${window}`,
      build: (t, copies) => attend(t, copies, attention, [batch]),
    })
  }
  cases.push({
    operation: 'attention_prefill',
    dtype: 'float32',
    shape: `${name} ${tokens} tokens, 1 x ${window}`,
    build: (t, copies) => attend(t, copies, attention, [1, tokens]),
  })
  return cases
}

function fullAttentionCases(
  { name, tokens }: TuneModel,
  attention: NonNullable<TuneModel['fullAttention']>,
): TuneCase[] {
  const { heads, kvHeads, headDim, positions } = attention
  const shape = `1 x ${heads}/${kvHeads} x ${headDim}, ${positions} positions`
  return [
    {
      operation: 'paged_attention_decode',
      dtype: 'float32',
      shape: `${name} ${shape}`,
      build: (t, copies) => attendPages(t, copies, attention, [1]),
    },
    {
      operation: 'paged_attention_prefill',
      dtype: 'float32',
      shape: `${name} ${tokens} tokens, ${shape}`,
      build: (t, copies) => attendPages(t, copies, attention, [1, tokens]),
    },
  ]
}

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)

/**
 * A projection with the norm before it: one that computes its sums of squares, or takes given ones. Of a step for
 * leading dimensions (batch), of a chunk for (batch, tokens).
 */
function projection(
  name: string,
  format: WeightFormat,
  leading: readonly number[],
  inputs: number,
  outputs: number,
  norm: 'norm' | 'squares',
): TuneCase {
  const kind = kindOf(format)
  return {
    operation: kind.product,
    dtype: `float32 x ${kind.labelOf(format)}`,
    shape: `${name} ${leading.at(-1)} x ${inputs} to ${outputs}`,
    build(tensors, copies) {
      const x = tensors.numbers([...leading, inputs])
      const out = tensors.result([...leading, outputs])
      const weight = tensors.numbers([inputs], 0.5, 1.5)
      const options: LinearOptions = { norm: { weight, eps: EPS } }
      if (norm === 'squares') {
        options.norm!.squares = tensors.numbers([...leading, 1], inputs / 4, inputs / 2)
        options.residual = tensors.numbers([...leading, outputs])
      }
      const weights = times(copies, () => tensors.weight(format, outputs, inputs))
      return (cl, copy) => weights[copy]!.multiply(cl, x, out, options)
    },
  }
}

/** What a model learns for each head. */
function headParameters(tensors: Tensors, heads: number) {
  return {
    A: tensors.numbers([heads], -1.9, -0.1),
    D: tensors.numbers([heads]),
    dtBias: tensors.numbers([heads], -2, 0),
  }
}

/** Each row of a batch has the slot of its number. */
const rowsOf = (tensors: Tensors, batch: number) =>
  tensors.integers(Array.from({ length: batch }, (_, b) => b))

function states(tensors: Tensors, copies: number, model: TuneModel, batch: number): Tensor[] {
  const { heads, headDim, dState } = model
  return times(copies, () => tensors.numbers([batch, heads, headDim, dState], -0.1, 0.1))
}

/** The recurrence alone: one token for leading dimensions (batch), else (batch, tokens). */
function ssd(
  tensors: Tensors,
  copies: number,
  model: TuneModel,
  leading: readonly number[],
): Record {
  const { heads, headDim, dState, groups } = model
  const state = states(tensors, copies, model, leading[0]!)
  const given = {
    x: tensors.numbers([...leading, heads * headDim]),
    dt: tensors.numbers([...leading, heads]),
    ...headParameters(tensors, heads),
    B: tensors.numbers([...leading, groups * dState], -0.1, 0.1),
    C: tensors.numbers([...leading, groups * dState]),
    rows: rowsOf(tensors, leading[0]!),
    out: tensors.result([...leading, heads * headDim]),
  }
  return (cl, copy) => {
    const all = { ...given, state: state[copy]! }
    if (leading.length === 1) cl.ssdUpdate(all, { groups })
    else cl.ssdChunkScan(all, { groups })
  }
}

/** All of a layer between its projections, for one token. */
function update(tensors: Tensors, copies: number, model: TuneModel, batch: number): Record {
  const { heads, headDim, dState, groups } = model
  const channels = heads * headDim + 2 * groups * dState
  const state = states(tensors, copies, model, batch)
  const given = {
    zxBCdt: tensors.numbers([batch, heads * headDim + channels + heads]),
    convWeight: tensors.numbers([channels, WIDTH], -0.5, 0.5),
    convBias: tensors.numbers([channels], -0.1, 0.1),
    convState: tensors.numbers([batch, WIDTH, channels]),
    ...headParameters(tensors, heads),
    position: tensors.integers(times(batch, () => 5)),
    rows: rowsOf(tensors, batch),
    out: tensors.result([batch, heads * headDim]),
    squares: tensors.result([batch, heads]),
  }
  return (cl, copy) => cl.mamba2Update({ ...given, ssmState: state[copy]! }, { groups })
}

/** Attention over a full window: of one token for leading dimensions (batch), else (batch, tokens). */
function attend(
  tensors: Tensors,
  copies: number,
  { heads, kvHeads, headDim, window }: NonNullable<TuneModel['attention']>,
  leading: readonly number[],
): Record {
  const batch = leading[0]!
  const ring = () => tensors.numbers([batch, window, kvHeads * headDim])
  const rings = times(copies, () => ({ keys: ring(), values: ring() }))
  const given = {
    q: tensors.numbers([...leading, heads * headDim]),
    k: tensors.numbers([...leading, kvHeads * headDim]),
    v: tensors.numbers([...leading, kvHeads * headDim]),
    position: tensors.integers(times(batch, () => 2 * window)),
    rows: rowsOf(tensors, batch),
    out: tensors.result([...leading, heads * headDim]),
  }
  return (cl, copy) => {
    const all = { ...given, ...rings[copy]! }
    if (leading.length === 1) cl.attentionDecode(all, { headDim })
    else cl.attentionPrefill(all, { headDim })
  }
}

/** Attention whose last token is the last of the positions: of one token for leading dimensions (1), else (1, tokens). */
function attendPages(
  tensors: Tensors,
  copies: number,
  { heads, kvHeads, headDim, positions }: NonNullable<TuneModel['fullAttention']>,
  leading: readonly number[],
): Record {
  const count = Math.ceil(positions / PAGE_SIZE)
  const pages = () => tensors.numbers([count, PAGE_SIZE, kvHeads * headDim])
  const stored = times(copies, () => ({ keys: pages(), values: pages() }))
  const given = {
    q: tensors.numbers([...leading, heads * headDim]),
    pages: tensors.integers(
      Array.from({ length: count }, (_, i) => i),
      [1, count],
    ),
    position: tensors.integers([positions - (leading[1] ?? 1)]),
    rows: rowsOf(tensors, 1),
    out: tensors.result([...leading, heads * headDim]),
  }
  if (leading.length > 1) {
    return (cl, copy) => cl.pagedAttentionPrefill({ ...given, ...stored[copy]! }, { headDim })
  }
  const [k, v] = [tensors.numbers([1, kvHeads * headDim]), tensors.numbers([1, kvHeads * headDim])]
  return (cl, copy) => cl.pagedAttentionDecode({ ...given, ...stored[copy]!, k, v }, { headDim })
}
