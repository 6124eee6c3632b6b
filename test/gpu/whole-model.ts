// A whole model on the GPU: its logits against those of the plain loops, and the lists that the timers see.

import { appendFileSync } from 'node:fs'
import { pagesOfOne, withPages } from '../../lib/engine/page-pool.js'
import { StatePool } from '../../lib/engine/state-pool.js'
import type { Checkpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel, type PassContext } from '../../lib/models/language-model.js'
import { stateBytes } from '../../lib/models/state-fields.js'
import { Workspace } from '../../lib/models/workspace.js'
import type { Device } from '../../lib/operations/device.js'
import { ForcedTokens } from '../support/forced-tokens.js'
import { unfused } from './unfused.js'

export type Options = Parameters<typeof LanguageModel.load>[2]

/** Tokens of a prompt whose logits are compared: a whole chunk of the scan and some. */
const PROMPT = 70
/** Tokens decoded after it. */
const TOKENS = 3
/** Tokens of a prompt that is timed. */
const CHUNK = 512

/** Logits after a prompt, and after each of some tokens that follow it. */
export async function logitsOf(
  device: Device,
  checkpoint: Checkpoint,
  options: Options,
): Promise<Float32Array[]> {
  process.env.SSM_GPU_LABEL = ''
  const model = await LanguageModel.load(device, checkpoint, options)
  using sequence = new ForcedTokens(model)
  const vocabulary = model.config.paddedVocabSize
  const token = (i: number) => (i * 7919 + 13) % vocabulary
  const result: Float32Array[] = []
  result.push(await sequence.prefill(Uint32Array.from({ length: PROMPT }, (_, i) => token(i))))
  for (let i = 0; i < TOKENS; i++) result.push(await sequence.decode(token(PROMPT + i)))
  model.dispose()
  return result
}

/** What is compared, a line of the table each. */
export interface Comparison {
  model: string
  form: string
  limit: number
}

/** Compares logits and adds rows to the file. Returns how many are further off than the limit. */
export function compare(
  rows: string,
  { model, form, limit }: Comparison,
  actual: Float32Array[],
  expected: Float32Array[],
): number {
  let failed = 0
  for (const [step, logits] of expected.entries()) {
    const error = distance(actual[step]!, logits)
    const what = step === 0 ? `prompt of ${PROMPT} tokens` : `decode step ${step}`
    // NaN is no less than the limit either.
    const passed = error <= limit
    if (!passed) failed += 1
    const said = `${model}, ${form}, ${what}: error ${error.toExponential(1)}`
    console.log(passed ? said : `${said}  FAILED`)
    writeRow(rows, { model, form, what, error, limit, passed })
  }
  return failed
}

/** ‖actual − expected‖ / ‖expected‖. */
function distance(actual: Float32Array, expected: Float32Array): number {
  let difference = 0
  let square = 0
  for (const [i, e] of expected.entries()) {
    difference += (actual[i]! - e) ** 2
    square += e * e
  }
  return Math.sqrt(difference / square)
}

function writeRow(rows: string, row: object): void {
  appendFileSync(rows, `${JSON.stringify(row)}\n`)
}

export interface Timed {
  model: string
  form: string
  options: Options
  /** A decode step in more operations too. Activations are float32 then. */
  takenApart?: boolean
}

/** Runs a decode step and a chunk of a prompt, each as a list of its own with a label. */
export async function time(
  device: Device,
  checkpoint: Checkpoint,
  rows: string,
  { model: name, form, options, takenApart }: Timed,
): Promise<void> {
  const model = await LanguageModel.load(device, checkpoint, options)
  const pool = new StatePool(model, 1)
  const pages = pagesOfOne(model, CHUNK)
  const state = withPages(pool.layers, pages)
  const bytes = stateBytes(model.config, model.activationType)
  const workspace = new Workspace(device, model.activationType)
  const zero = device.tensor('uint32', [1]) // slot 0, position 0
  const record = async (what: string, body: (pass: PassContext) => void) => {
    const label = `${name}, ${form}, ${what}`
    process.env.SSM_GPU_LABEL = label
    writeRow(rows, { label, read: model.weightBytes + bytes, written: bytes })
    const context = { workspace, rows: zero, positions: zero, pages: pages?.table }
    using list = device.record((cl) => body({ cl, ...context }))
    await list.run()
    process.env.SSM_GPU_LABEL = ''
  }
  const one = device.tensor('uint32', [1], Uint32Array.of(1))
  await record('decode step', (pass) => model.decode(pass, one, state))
  if (takenApart) {
    await record('decode step, unfused', (pass) => model.decode(unfused(pass, device), one, state))
  }
  const chunk = device.tensor('uint32', [1, CHUNK])
  await record(`prefill of ${CHUNK} tokens`, (pass) => {
    model.prefill(pass, chunk, state, 'last')
  })
  workspace.dispose()
  pages?.dispose()
  pool.dispose()
  model.dispose()
}
