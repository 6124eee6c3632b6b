// A recorded list of operations, and running it.

import { setMaxListeners } from 'node:events'
import { addon } from './addon.js'
import type { Device } from './device.js'
import { DisposedError } from './errors.js'
import { checkOptions } from './options.js'

const forgotten = new FinalizationRegistry<number>((handle) => addon().disposeList(handle))

// What native reports for a run that `cancel` or `device.dispose()` stopped (native/device.h).
const CANCELLED = 'cancelled'

/**
 * Operations recorded once by `device.record`, to be run any number of times. Native threads do the
 * work; runs of one device finish in the order in which they were started.
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
  #handle: number

  /** @internal Use `device.record`. */
  constructor(device: Device, handle: number, length: number) {
    this.device = device
    this.length = length
    this.#handle = handle
    forgotten.register(this, handle, this)
  }

  /**
   * Runs the list; resolves when its results are there. Rejects with the operation's message when one
   * fails, and with `signal.reason` when aborted: work then stops inside the operation at hand, and
   * buffers that the list writes hold an unfinished mixture.
   */
  async run(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    checkOptions('run', options, ['signal'])
    const { signal } = options
    if (this.#handle === 0) throw new DisposedError('[run] this command list was disposed')
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const abort = () => addon().cancel(run)
      const run = addon().run(this.device.handle, this.#handle, (error) => {
        signal?.removeEventListener('abort', abort)
        if (error === '') resolve()
        else if (error !== CANCELLED) reject(new Error(error))
        else if (signal?.aborted) reject(signal.reason)
        else reject(new DisposedError('[run] the device was disposed before the run ended'))
      })
      if (!signal) return
      // One signal may stop any number of runs; Node warns of a leak from the eleventh listener on.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', abort, { once: true })
    })
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
    return new Promise((resolve, reject) => {
      addon().prepare(this.device.handle, this.#handle, (error) => {
        if (error === '') resolve()
        else if (error !== CANCELLED) reject(new Error(error))
        else
          reject(new DisposedError('[prepare] the device was disposed before the list was ready'))
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
