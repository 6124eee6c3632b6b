// Checks of attention over pages and of rotary embedding.

import {
  type KvPages,
  type KvPagesWriteTensors,
  PAGE_SIZE,
  type PagedAttentionOptions,
  type PagedDecodeOptions,
  type PagedDecodeTensors,
  type PagedPrefillTensors,
  type RotaryOptions,
  type RotaryTensors,
} from '../arguments.js'
import type { Checker } from '../checker.js'
import type { Tensor } from '../tensor.js'

export function checkRotary(check: Checker, tensors: RotaryTensors, options: RotaryOptions) {
  const { x, normWeight, frequencies, position, out = x } = tensors
  const { headDim, headStride = headDim } = options
  if (!normWeight && !frequencies) check.fail('needs normWeight or frequencies')
  check.activations({ x, out })
  if (x.shape.length !== 2) check.dimensions('x', x, 3)
  check.positive('headDim', headDim)
  check.divides('headStride', headStride, 'the columns of x', x.cols)
  if (headStride < headDim) check.fail(`headStride ${headStride} is less than headDim ${headDim}`)
  const [batch, length] = x.shape.length === 3 ? [x.shape[0]!, x.shape[1]!] : [x.shape[0]!, 1]
  const heads = x.cols / headStride
  if (out !== x) check.output('out', out, [...x.shape.slice(0, -1), heads * headDim])
  const params = checkTurn(check, { normWeight, frequencies }, options)
  if (frequencies) {
    if (!position) check.fail('frequencies need position')
    check.integers('position', position, [batch])
  } else if (position) check.fail('position has no effect without frequencies')
  return {
    ...params,
    batch,
    length,
    heads,
    head_dim: headDim,
    x_stride: x.rowStride,
    x_head_stride: headStride,
    out_stride: out === x ? x.rowStride : out.cols,
    out_head_stride: out === x ? headStride : headDim,
  }
}

/** The norm of a head and how it turns. Options that would have no effect are refused. */
function checkTurn(
  check: Checker,
  {
    frequencies,
    ...norms
  }: { frequencies?: Tensor | undefined } & Record<string, Tensor | undefined>,
  { headDim, eps, attentionFactor, interleaved }: RotaryOptions,
) {
  check.float32({ ...norms, frequencies })
  const [name, norm] = Object.entries(norms)[0]!
  for (const [each, weight] of Object.entries(norms)) {
    if (weight) check.output(each, weight, [headDim])
  }
  if (norm) check.notNegative('eps', eps as number)
  else if (eps !== undefined) check.fail(`eps has no effect without ${name}`)
  if (frequencies) {
    check.dimensions('frequencies', frequencies, 1)
    check.output('frequencies', frequencies, frequencies.shape)
    if (2 * frequencies.elements > headDim) {
      check.fail(`frequencies are ${frequencies.elements}, more than half of headDim ${headDim}`)
    }
    if (attentionFactor !== undefined) check.notNegative('attentionFactor', attentionFactor)
  } else if (attentionFactor !== undefined || interleaved !== undefined) {
    const option = attentionFactor === undefined ? 'interleaved' : 'attentionFactor'
    check.fail(`${option} has no effect without frequencies`)
  }
  return {
    rotary_dim: frequencies ? 2 * frequencies.elements : 0,
    interleaved: interleaved ? 1 : 0,
    eps: eps ?? 0,
    attention_factor: attentionFactor ?? 1,
  }
}

export function checkKvPagesWrite(check: Checker, tensors: KvPagesWriteTensors) {
  const { k, v } = tensors
  check.activations({ k, v })
  if (k.shape.length !== 2) check.dimensions('k', k, 3)
  check.shape('v', v, k.shape)
  return {
    ...checkPages(check, tensors, k.shape[0]!, k.cols),
    length: k.shape.length === 3 ? k.shape[1]! : 1,
    cols: k.cols,
    k_stride: k.rowStride,
    v_stride: v.rowStride,
  }
}

export function checkPagedDecode(
  check: Checker,
  tensors: PagedDecodeTensors,
  options: PagedDecodeOptions,
) {
  const { q, k, v, qNorm, kNorm, frequencies, out } = tensors
  check.activations({ q, k, v, out })
  if (!qNorm !== !kNorm) check.fail('qNorm and kNorm go together')
  check.dimensions('q', q, 2)
  check.shape('k', k, [q.shape[0]!, k.cols])
  check.shape('v', v, k.shape)
  return {
    ...checkHeads(check, tensors, k.cols, options),
    ...checkPages(check, tensors, q.shape[0]!, k.cols),
    ...checkTurn(check, { qNorm, kNorm, frequencies }, options),
    k_stride: k.rowStride,
    v_stride: v.rowStride,
  }
}

export function checkPagedPrefill(
  check: Checker,
  tensors: PagedPrefillTensors,
  options: PagedAttentionOptions,
) {
  const { q, keys, out } = tensors
  check.activations({ q, out })
  check.dimensions('q', q, 3)
  check.dimensions('keys', keys, 3)
  return {
    ...checkHeads(check, tensors, keys.cols, options),
    ...checkPages(check, tensors, q.shape[0]!, keys.cols),
    length: q.shape[1]!,
  }
}

function checkHeads(
  check: Checker,
  { q, out }: { q: Tensor; out: Tensor },
  keyCols: number,
  { headDim, scale, gated }: PagedAttentionOptions,
) {
  if (scale !== undefined) check.notNegative('scale', scale)
  check.positive('headDim', headDim)
  const queryCols = gated ? 2 * headDim : headDim
  check.divides(gated ? 'twice headDim' : 'headDim', queryCols, 'the columns of q', q.cols)
  check.divides('headDim', headDim, 'the columns of keys', keyCols)
  const heads = q.cols / queryCols
  const kvHeads = keyCols / headDim
  check.divides('the number of key/value heads', kvHeads, 'the query heads', heads)
  check.output('out', out, [...q.shape.slice(0, -1), heads * headDim])
  return {
    heads,
    kv_heads: kvHeads,
    head_dim: headDim,
    gated: gated ? 1 : 0,
    q_stride: q.rowStride,
    scale: scale ?? 1 / Math.sqrt(headDim),
  }
}

/** Pages of keys and values and the table of them. */
function checkPages(check: Checker, tensors: KvPages, batch: number, cols: number) {
  const { keys, values, pages } = tensors
  check.type('keys', keys, ['float32', 'float16'])
  check.type('values', values, [keys.dtype])
  check.dimensions('keys', keys, 3)
  check.output('keys', keys, [keys.shape[0]!, PAGE_SIZE, cols])
  check.output('values', values, keys.shape)
  check.type('pages', pages, ['uint32'])
  const [slots, pagesPerSlot] = check.matrix('pages', pages)
  check.rows(tensors, batch)
  return { batch, slots, page_count: keys.shape[0]!, pages_per_slot: pagesPerSlot }
}
