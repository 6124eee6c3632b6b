// What a command list of the engine records: a step of up to 32 sequences, or a piece of one prompt.

import type { CommandList } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import type { Workspace } from '../models/workspace.js'
import type { Recorder } from '../operations/recorder.js'
import type { Tensor } from '../operations/tensor.js'
import type { Pools } from './growing-pool.js'
import { withPages } from './page-pool.js'
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

/**
 * What a list does with the logits of its rows, where it has any. `keep`: leaves them in the slots, which draw in a
 * list of their own (`recordDraw`). `draw`: draws a token each. `report`: and reports the log-probabilities of those
 * that ask for them.
 */
export type Ending = 'keep' | 'draw' | 'report'

/** One token of each of `width` sequences. Input `slots`: uint32 (width). */
export function recordStep(
  model: LanguageModel,
  workspace: Workspace,
  pools: Pools,
  { width, ending }: { width: number; ending: Ending },
): CommandList {
  return model.device.record((cl) => {
    const tokens = workspace.take('tokens', [], width, 'uint32')
    const wanted = { batch: width, count: 1, tokens }
    const { rows, positions } = resolveRows(cl, workspace, pools.states, wanted)
    const pass = { cl, workspace, rows, positions, pages: pools.pages?.table }
    const logits = model.decode(pass, tokens, stateOf(pools))
    end(cl, pools, { logits, rows, ending })
  })
}

/** A piece of one sequence's prompt. Inputs: `slots` uint32 (1), `tokens` uint32 (1, length). `none`: another one follows. */
export function recordPiece(
  model: LanguageModel,
  workspace: Workspace,
  pools: Pools,
  { length, ending }: { length: number; ending: Ending | 'none' },
): CommandList {
  return model.device.record((cl) => {
    const wanted = { batch: 1, count: length }
    const { rows, positions } = resolveRows(cl, workspace, pools.states, wanted)
    const tokens = cl.input('tokens', 'uint32', [1, length])
    const pass = { cl, workspace, rows, positions, pages: pools.pages?.table }
    const outputs = ending === 'none' ? 'none' : 'last'
    const logits = model.prefill(pass, tokens, stateOf(pools), outputs)
    if (logits && ending !== 'none') end(cl, pools, { logits, rows, ending })
  })
}

/**
 * Draws a token of each of `width` slots that are not done, from the logits that they keep. Input `slots`: uint32
 * (width).
 */
export function recordDraw(
  model: LanguageModel,
  workspace: Workspace,
  pools: Pools,
  { width, reports }: { width: number; reports: boolean },
): CommandList {
  return model.device.record((cl) => {
    const { rows } = resolveRows(cl, workspace, pools.states, { batch: width, count: 0 })
    draw(cl, pools, { logits: undefined, rows, reports })
  })
}

const stateOf = ({ states, pages }: Pools) => withPages(states.layers, pages)

function end(
  cl: Recorder,
  pools: Pools,
  { logits, rows, ending }: { logits: Tensor; rows: Tensor; ending: Ending },
): void {
  if (ending === 'keep') cl.keepLogits({ logits, rows, kept: pools.sampling.kept })
  else draw(cl, pools, { logits, rows, reports: ending === 'report' })
}

// The output `report`, uint32 (batch, 2): what was drawn.
function draw(
  cl: Recorder,
  { states, sampling }: Pools,
  { logits, rows, reports }: { logits: Tensor | undefined; rows: Tensor; reports: boolean },
): void {
  const { settings, selection, stops, biases, mask, counts, history, kept } = sampling
  const { position, remaining, token } = states
  const report = cl.output('report', 'uint32', [rows.elements, 2])
  cl.sample({
    logits,
    rows,
    settings,
    selection,
    stops,
    biases,
    mask,
    counts,
    history,
    position,
    remaining,
    kept,
    out: token,
    report,
  })
  const { reported, logprobs } = sampling
  if (reports) cl.tokenLogprobs({ logits, rows, selection, token, kept, reported, logprobs })
}
