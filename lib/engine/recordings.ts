// What a command list of the engine records: a step of up to 32 sequences, or a piece of one prompt.

import type { CommandList } from '../command-list.js'
import type { LanguageModel } from '../models/language-model.js'
import type { Workspace } from '../models/workspace.js'
import type { Recorder } from '../recorder.js'
import type { Tensor } from '../tensor.js'
import type { Pools } from './seats.js'
import type { StatePool } from './state-pool.js'

/**
 * Records the first operation of a list, which looks whose turn it is: uint32 (batch) each. `count`: tokens that the
 * list consumes of each row. `tokens`: where those that were drawn last go.
 */
export function resolveRows(
  cl: Recorder,
  workspace: Workspace,
  { position, token, remaining }: StatePool,
  { batch, count, tokens }: { batch: number; count: number; tokens?: Tensor },
): { rows: Tensor; positions: Tensor } {
  const rows = workspace.take('rows', [], batch, 'uint32')
  const positions = workspace.take('positions', [], batch, 'uint32')
  const slots = cl.input('slots', 'uint32', [batch])
  cl.resolveRows({ slots, remaining, token, position, rows, positions, tokens }, { count })
  return { rows, positions }
}

/** Draws a token of each row that is not done: the output `report`, uint32 (batch, 2). */
export function sampleRows(cl: Recorder, logits: Tensor, rows: Tensor, pools: Pools): void {
  const { settings, selection, stops, history, kept } = pools.sampling
  const { position, remaining, token: out } = pools.states
  const report = cl.output('report', 'uint32', [rows.elements, 2])
  cl.sample({
    logits,
    rows,
    settings,
    selection,
    stops,
    history,
    position,
    remaining,
    kept,
    out,
    report,
  })
}

/** One token of each of `width` sequences. Input `slots`: uint32 (width). */
export function recordStep(
  model: LanguageModel,
  workspace: Workspace,
  pools: Pools,
  width: number,
): CommandList {
  return model.device.record((cl) => {
    const tokens = workspace.take('tokens', [], width, 'uint32')
    const wanted = { batch: width, count: 1, tokens }
    const { rows, positions } = resolveRows(cl, workspace, pools.states, wanted)
    const logits = model.decode({ cl, workspace, rows, positions }, tokens, pools.states.layers)
    sampleRows(cl, logits, rows, pools)
  })
}

/**
 * A piece of one sequence's prompt. Inputs: `slots` uint32 (1), `tokens` uint32 (1, length). `isLast`: a token is
 * drawn after it.
 */
export function recordPiece(
  model: LanguageModel,
  workspace: Workspace,
  pools: Pools,
  { length, isLast }: { length: number; isLast: boolean },
): CommandList {
  return model.device.record((cl) => {
    const { rows, positions } = resolveRows(cl, workspace, pools.states, {
      batch: 1,
      count: length,
    })
    const tokens = cl.input('tokens', 'uint32', [1, length])
    const pass = { cl, workspace, rows, positions }
    const logits = model.prefill(pass, tokens, pools.states.layers, isLast ? 'last' : 'none')
    if (logits) sampleRows(cl, logits, rows, pools)
  })
}

/** Draws the token of one slot again, from the logits that it keeps. */
export function recordDrawing(model: LanguageModel, pools: Pools, slot: number): CommandList {
  const rows = model.device.tensor('uint32', [1], Uint32Array.of(slot))
  try {
    return model.device.record((cl) => sampleRows(cl, pools.sampling.kept.at(slot), rows, pools))
  } finally {
    rows.dispose()
  }
}
