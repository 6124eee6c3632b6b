// Cases beyond those of `ssm-metal verify`: many sequences, long prompts.

import type { ActivationType } from '../../lib/operations/device.js'
import type { Case } from '../../lib/verify/cases/case.js'
import { largeDeltaScan } from '../../lib/verify/cases/delta.js'
import type { Inputs } from '../../lib/verify/inputs.js'

// A Mamba-2 layer of Rene.
const HEADS = 64
const HEAD_DIM = 64
const D_STATE = 128
const INNER = HEADS * HEAD_DIM
const D_MODEL = 2048
const IN_PROJ = 2 * INNER + 2 * D_STATE + HEADS

const activationType: ActivationType = 'float32'

function ssd(inputs: Inputs, leading: readonly number[]) {
  const places = inputs.places(leading[0]!)
  return {
    x: inputs.activations([...leading, INNER]),
    dt: inputs.activations([...leading, HEADS]),
    A: inputs.floats([HEADS], 0.9, -1),
    B: inputs.activations([...leading, D_STATE], 0.1),
    C: inputs.activations([...leading, D_STATE]),
    D: inputs.floats([HEADS]),
    dtBias: inputs.floats([HEADS], 1, -1),
    state: inputs.state(places, [HEADS, HEAD_DIM, D_STATE], 0.1),
    rows: places.rows,
    out: inputs.activationResult([...leading, INNER]),
  }
}

function update(batch: number): Case {
  return {
    operation: 'ssd_update',
    dtype: activationType,
    activationType,
    large: true,
    shape: `${batch} x ${HEADS} x ${HEAD_DIM} x ${D_STATE}`,
    build(inputs) {
      const tensors = ssd(inputs, [batch])
      return { record: (cl) => cl.ssdUpdate(tensors), outputs: [tensors.out, tensors.state] }
    },
  }
}

function wholeUpdate(batch: number): Case {
  const channels = INNER + 2 * D_STATE
  return {
    operation: 'mamba2_update',
    dtype: activationType,
    activationType,
    large: true,
    shape: `${batch} x ${HEADS} x ${HEAD_DIM} x ${D_STATE}, norm before gate`,
    build(inputs) {
      const places = inputs.places(batch)
      const tensors = {
        zxBCdt: inputs.activations([batch, INNER + channels + HEADS]),
        convWeight: inputs.floats([channels, 4], 0.5),
        convBias: inputs.floats([channels], 0.1),
        convState: inputs.rings(places, [4, channels]),
        A: inputs.floats([HEADS], 0.9, -1),
        D: inputs.floats([HEADS]),
        dtBias: inputs.floats([HEADS], 1, -1),
        ssmState: inputs.state(places, [HEADS, HEAD_DIM, D_STATE], 0.1),
        position: inputs.integers(Array.from({ length: batch }, (_, b) => b)),
        rows: places.rows,
        out: inputs.activationResult([batch, INNER]),
        squares: inputs.result([batch, HEADS]),
      }
      const { out, squares, convState, ssmState } = tensors
      return {
        record: (cl) => cl.mamba2Update(tensors, { normBeforeGate: true }),
        outputs: [out, squares, convState, ssmState],
      }
    },
  }
}

function scan(length: number): Case {
  return {
    operation: 'ssd_chunk_scan',
    dtype: activationType,
    activationType,
    large: true,
    shape: `${length} tokens, 1 x ${HEADS} x ${HEAD_DIM} x ${D_STATE}`,
    build(inputs) {
      const tensors = ssd(inputs, [1, length])
      return { record: (cl) => cl.ssdChunkScan(tensors), outputs: [tensors.out, tensors.state] }
    },
  }
}

function projection(rows: number, cols: number, outputs: number): Case {
  return {
    operation: 'matmul',
    dtype: `${activationType} x float16`,
    activationType,
    large: true,
    shape: `${rows} x ${cols} to ${outputs}, chunk`,
    build(inputs) {
      const weight = inputs.matrix('float16', outputs, cols)
      const x = inputs.activations([rows, cols])
      const out = inputs.activationResult([rows, outputs])
      return { record: (cl) => cl.matmul(x, weight, out, { role: 'chunk' }), outputs: [out] }
    },
  }
}

export function* longCases(): Generator<Case> {
  yield update(16)
  yield wholeUpdate(16)
  for (const length of [1024, 2048, 4096, 8192, 16384]) {
    yield scan(length)
    yield largeDeltaScan(length, activationType)
  }
  yield projection(4096, D_MODEL, IN_PROJ)
  yield projection(4096, INNER, D_MODEL)
}
