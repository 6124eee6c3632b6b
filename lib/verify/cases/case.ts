// One thing to verify: an operation on one shape, in one element type.

import type { ActivationType } from '../../operations/device.js'
import type { OperationName } from '../../operations/recorder.js'
import type { Recorder } from '../../operations/recorder.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Inputs } from '../inputs.js'

/** An operation on the tensors of one side. */
export interface Recordable {
  record(cl: Recorder): void
  /** What it writes, in a fixed order. */
  outputs: readonly Tensor[]
}

export interface Case {
  operation: OperationName
  /** Of activations, and of weights where there are any. */
  dtype: string
  activationType: ActivationType
  shape: string
  /** A shape of a published model, which takes a while. */
  large?: boolean
  /** Takes what it needs from `inputs`, in the same order on every side. */
  build(inputs: Inputs): Recordable
}

/** An operation with one output. */
export const writing = (out: Tensor, record: (cl: Recorder) => void): Recordable => ({
  record,
  outputs: [out],
})

/** The Mamba-2 layers of published models: what the large shapes are taken from. */
export const MODELS = [
  { name: 'rene-1.3b', dModel: 2048, heads: 64, headDim: 64, dState: 128, groups: 1 },
  { name: 'mamba2-130m', dModel: 768, heads: 24, headDim: 64, dState: 128, groups: 1 },
  { name: 'mamba2-2.7b', dModel: 2560, heads: 80, headDim: 64, dState: 128, groups: 1 },
] as const

export const EPS = 1e-5
