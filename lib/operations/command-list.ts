// A recorded list of operations, and running it.

import { onAbort, reasonOf, throwIfAborted, type Signal } from '../support/abort.js'
import { addon, type KernelText, RUN_STATUS } from './addon.js'
import type { Device } from './device.js'
import { DeviceLostError, DisposedError } from '../support/errors.js'
import { checkOptions, checkSignal } from '../support/option-checks.js'
import type { Recorder } from './recorder.js'
import type { RunData, RunLayout } from './run-block.js'
import type { TensorData } from './tensor.js'

const forgotten = new FinalizationRegistry<number>((handle) => addon().disposeList(handle))

export interface ListRunOptions {
  signal?: Signal | undefined
  /** An array for each `input` of the list, by name. Copied before `run` returns. */
  inputs?: RunData | undefined
}

export interface ListRunResult {
  /** An array for each `output` of the list, by name. */
  outputs: Record<string, TensorData>
}

/**
 * Operations recorded once by `device.record`, to be run any number of times, also before an earlier run
 * has ended. Native threads do the work; runs of one device finish in the order in which they were started.
 *
 * @example
 * const list = device.record((cl) => cl.add(a, b, out))
 * await list.run()
 * out.read()
 */
export class CommandList {
  readonly device: Device
  /** Number of operations. */
  readonly length: number
  readonly #inputs: RunLayout
  readonly #outputs: RunLayout
  #handle: number

  /** @internal Use `device.record`. */
  constructor(device: Device, handle: number, recorder: Recorder) {
    this.device = device
    this.length = recorder.length
    this.#inputs = recorder.inputs
    this.#outputs = recorder.outputs
    this.#handle = handle
    forgotten.register(this, handle, this)
  }

  /**
   * Runs the list; resolves with its outputs when its results are there. Rejects with the operation's message
   * when one fails, and with `signal.reason` when aborted: work then stops inside the operation at hand, and
   * buffers that the list writes hold an unfinished mixture. When the device itself fails, they cannot be used
   * before they are written whole; `DeviceLostError` says that it takes no more runs.
   *
   * @example
   * const { outputs } = await list.run({ inputs: { token: Uint32Array.of(7) } })
   */
  async run(options: ListRunOptions = {}): Promise<ListRunResult> {
    checkOptions('run', options, ['signal', 'inputs'])
    const { signal, inputs = {} } = options
    checkSignal('run', signal)
    if (this.#handle === 0) throw new DisposedError('[run] this command list was disposed')
    const bytes = this.#inputs.pack(inputs)
    throwIfAborted(signal)
    // The frames of the caller, which are gone when native calls back.
    const caller: { stack?: string } = {}
    Error.captureStackTrace(caller, this.run)
    return new Promise((resolve, reject) => {
      let isOver = false
      let forget = () => {}
      const run = addon().run(
        this.device.handle,
        this.#handle,
        bytes,
        this.#outputs.bytes,
        (status, error, outputs) => {
          isOver = true
          forget()
          if (status === RUN_STATUS.done) resolve({ outputs: this.#outputs.unpack(outputs) })
          else if (status === RUN_STATUS.cancelled && signal?.aborted) reject(reasonOf(signal))
          else reject(withStack(caller, errorOf('run', status, error)))
        },
      )
      if (!isOver) forget = onAbort(signal, () => addon().cancel(run))
    })
  }

  /** @internal */
  get handle(): number {
    if (this.#handle === 0) throw new DisposedError('this command list was disposed')
    return this.#handle
  }

  /**
   * Makes ready what runs of the list need, on native threads: a GPU's kernels are compiled, several
   * at a time. Resolves when they are; at once on the CPU. Rejects with what is wrong with the list.
   * `run` works without it, but waits for what is not ready.
   *
   * @example
   * const ready = list.prepare()
   * await readWeights()
   * await ready
   */
  async prepare(): Promise<void> {
    if (this.#handle === 0) throw new DisposedError('[prepare] this command list was disposed')
    const caller: { stack?: string } = {}
    Error.captureStackTrace(caller, this.prepare)
    return new Promise((resolve, reject) => {
      addon().prepare(this.device.handle, this.#handle, (status, error) => {
        if (status === RUN_STATUS.done) resolve()
        else reject(withStack(caller, errorOf('prepare', status, error)))
      })
    })
  }

  /**
   * Which kernels a GPU runs for the list, and how, as text; empty on the CPU.
   *
   * @internal
   */
  dispatches(): string {
    if (this.#handle === 0) throw new DisposedError('[dispatches] this command list was disposed')
    return addon().listDispatches(this.device.handle, this.#handle)
  }

  /**
   * The kernels that an Apple GPU compiles for the list, each once, and their texts. Needs no GPU.
   *
   * @internal
   */
  kernelTexts(): KernelText[] {
    if (this.#handle === 0) throw new DisposedError('[kernelTexts] this command list was disposed')
    return addon().kernelTexts(this.#handle)
  }

  /** Releases the list and the memory that only it still holds. Calling it again does nothing. */
  dispose(): void {
    if (this.#handle === 0) return
    forgotten.unregister(this)
    addon().disposeList(this.#handle)
    this.#handle = 0
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const mixtures = new WeakSet<Error>()

/**
 * Whether a run that was rejected with `error` left what it writes half written, so that nothing may read it
 * before it is written whole: the device failed.
 */
export function leavesAMixture(error: unknown): boolean {
  return error instanceof Error && mixtures.has(error)
}

function errorOf(operation: 'run' | 'prepare', status: number, message: string): Error {
  if (status === RUN_STATUS.failed) return new Error(message)
  if (status === RUN_STATUS.deviceFailed || status === RUN_STATUS.deviceLost) {
    const isLost = status === RUN_STATUS.deviceLost
    const error = isLost ? new DeviceLostError(message) : new Error(message)
    mixtures.add(error)
    return error
  }
  const unfinished = operation === 'run' ? 'the run ended' : 'the list was ready'
  return new DisposedError(`[${operation}] the device was disposed before ${unfinished}`)
}

function withStack(caller: { stack?: string }, error: Error): Error {
  const frames = caller.stack?.slice(caller.stack.indexOf('\n')) ?? ''
  error.stack = `${error.name}: ${error.message}${frames}`
  return error
}
