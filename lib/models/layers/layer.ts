// What all layers of a model have in common.

import type { Device } from '../../device.js'
import type { Recorder } from '../../recorder.js'
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

/** A layer between its norm and its residual. */
export interface Layer {
  /** The state of `batch` sequences that have seen nothing: zeros. */
  createState(device: Device, batch: number): LayerState
  /** One token a sequence: x (batch, dModel) to a scratch tensor (batch, dModel). */
  decode(pass: Pass, x: Tensor, state: LayerState): Tensor
  /** A chunk: x (batch, length, dModel) to a scratch tensor (batch, length, dModel). */
  prefill(pass: Pass, x: Tensor, state: LayerState): Tensor
}

/** out = x · weightᵀ (+ bias), whatever form the weight has. */
export function recordLinear(cl: Recorder, x: Tensor, linear: Linear, out: Tensor): void {
  const { weight, bias } = linear
  if (weight.kind === 'plain') cl.matmul(x, weight.matrix, out, { bias })
  else cl.affineMatmul(x, weight.matrix, out, { bias })
}

/** out = rows of the table at the token ids, whatever form the table has. */
export function recordEmbedding(cl: Recorder, tokens: Tensor, table: Weight, out: Tensor): void {
  if (table.kind === 'plain') cl.embedding(tokens, table.matrix, out)
  else cl.affineEmbedding(tokens, table.matrix, out)
}
