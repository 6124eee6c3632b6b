// Runs that a device fails, and memory that there is none of.

import { setFlagsFromString } from 'node:v8'
import { setImmediate as turn } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import { expect, onTestFinished, vi } from 'vitest'
import { FAILURE_REASON, RUN_STATUS } from '../../lib/addon/contract.js'
import type { Model } from '../../lib/index.js'
import type { Device } from '../../lib/operations/device.js'
import type { Tensor } from '../../lib/operations/tensor.js'

/** What the error of a run says that was made to fail. */
export const FAILURE = 'the device failed on purpose'

type AddonModule = typeof import('../../lib/operations/addon.js')

let failing: Failure | undefined
let isFailing: () => boolean = () => false
let failingBy: Failure['by']

/**
 * Which run fails: of those with inputs or without; by its device, which fails, or by an operation of its own, that of
 * this index.
 */
interface Failure {
  withInputs: boolean
  by?: 'device' | 'operation'
  operation?: number
}

/** While `work` goes on, those runs fail for which `draw` says so, by their device unless told otherwise. */
export async function whileRunsFail<T>(
  draw: () => boolean,
  work: () => Promise<T>,
  by: Failure['by'] = 'device',
): Promise<T> {
  isFailing = draw
  failingBy = by
  try {
    return await work()
  } finally {
    isFailing = () => false
  }
}

/** The next run of that kind fails, by its device unless told otherwise. Needs `withFailures`. */
export function failNextRun(which: Failure): void {
  failing = which
  onTestFinished(() => {
    const isOver = failing === undefined
    failing = undefined
    expect(isOver, 'the run that was to fail has come').toBe(true)
  })
}

/**
 * The addon with runs that fail when a test says so.
 *
 * @example
 * vi.mock('../../lib/operations/addon.js', async (original) => withFailures(await original()))
 */
export function withFailures(original: AddonModule): AddonModule {
  const run: ReturnType<AddonModule['addon']>['run'] = (device, list, inputs, outputs, ended) => {
    const isNext = failing?.withInputs === inputs.byteLength > 0
    const by = isNext ? failing?.by : failingBy
    const operation = isNext ? failing?.operation : undefined
    const status = by === 'operation' ? RUN_STATUS.failed : RUN_STATUS.deviceFailed
    if (isNext) failing = undefined
    const fails = isNext || isFailing()
    const { run, cancel } = original.addon()
    if (!fails) return run(device, list, inputs, outputs, ended)
    const failure = { reason: FAILURE_REASON.other, operation, message: FAILURE }
    const begun = run(device, list, inputs, outputs, (_, __, data) => ended(status, failure, data))
    // What it writes is left half written.
    cancel(begun)
    return begun
  }
  // Its own properties cannot be written.
  const addon = () => Object.create(original.addon(), { run: { value: run } })
  return { ...original, addon }
}

/**
 * The device is busy until `release`: what is started meanwhile runs after that, one behind the other, and nobody
 * hears of it before.
 *
 * @example
 * const release = occupy(model.device)
 * const call = model.generate(prompt)
 * await release()
 */
export function occupy(device: Device): () => Promise<void> {
  const [from, to] = [0, 1].map(() => device.tensor('float32', [2 ** 22])) as [Tensor, Tensor]
  using list = device.record((cl) => {
    // For minutes.
    for (let i = 0; i < 10_000; i++) cl.copy(from, to)
  })
  const controller = new AbortController()
  const run = list.run({ signal: controller.signal }).catch(() => {})
  return async () => {
    controller.abort()
    await run
    from.dispose()
    to.dispose()
  }
}

/** What the error says where there was no memory. */
export const NO_MEMORY = 'there is no memory on purpose'

/** The next tensor of that shape cannot be made. */
export function refuseTensor(model: Model, isRefused: (shape: readonly number[]) => boolean): void {
  const { device } = model
  const make = device.tensor.bind(device)
  const spy = vi.spyOn(device, 'tensor').mockImplementation((dtype, shape, data) => {
    if (!isRefused(shape)) return make(dtype, shape, data)
    spy.mockRestore()
    throw new Error(NO_MEMORY)
  })
}

/** The pool of a model that has run nothing begins with one slot and grows, as a GPU's does. */
export function growFromOneSlot(model: Model, maxStreams: number): void {
  refuseTensor(model, ([slots, ...rest]) => slots === maxStreams && rest.length > 0)
}

/** Collects garbage, and lets those be told who wait for it. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) {
    await turn()
    collect()
  }
  await turn()
}
