// What all layers of a model have in common.

import type { ActivationType, Device } from '../../device.js'
import type { LinearOptions, Recorder } from '../../recorder.js'
import type { Tensor } from '../../tensor.js'
import type { Linear, Weight } from '../../weights/loader.js'
import type { Workspace } from '../workspace.js'

/** The tensors in which a layer keeps what it remembers of a sequence; by name, each (batch, ...). */
export type LayerState = Readonly<Record<string, Tensor>>

/** What a forward pass gives to every layer. */
export interface Pass {
  cl: Recorder
  workspace: Workspace
  /** Tokens that each sequence has seen before this pass: uint32 (batch). */
  position: Tensor
}

/** The norm before a layer or the head: x / rms(x) * weight. */
export interface Norm {
  weight: Tensor
  eps: number
}

/** A layer with its norm and its residual: hidden = hidden + layer(norm(hidden)), in place. */
export interface Layer {
  /** The state of `batch` sequences that have seen nothing: zeros. */
  createState(device: Device, batch: number, activationType: ActivationType): LayerState
  /** One token a sequence: hidden float32 (batch, dModel). */
  decode(pass: Pass, hidden: Tensor, norm: Norm, state: LayerState): void
  /** A chunk: hidden float32 (batch, length, dModel). */
  prefill(pass: Pass, hidden: Tensor, norm: Norm, state: LayerState): void
}

/** out = x · weightᵀ (+ bias), whatever form the weight has, and what else the options say. */
export function recordLinear(
  cl: Recorder,
  x: Tensor,
  linear: Linear,
  out: Tensor,
  options: Omit<LinearOptions, 'bias'> = {},
): void {
  const { weight, bias } = linear
  if (weight.kind === 'plain') cl.matmul(x, weight.matrix, out, { bias, ...options })
  else cl.affineMatmul(x, weight.matrix, out, { bias, ...options })
}

/** out = rows of the table at the token ids, whatever form the table has. */
export function recordEmbedding(cl: Recorder, tokens: Tensor, table: Weight, out: Tensor): void {
  if (table.kind === 'plain') cl.embedding(tokens, table.matrix, out)
  else cl.affineEmbedding(tokens, table.matrix, out)
}
