// Devices, where tensors live and command lists run, and those lists. Both are here because each names the other.

import { onAbort, reasonOf, throwIfAborted, type Signal } from '../support/abort.js'
import { callerOf, shownFrom } from '../support/caller.js'
import { type KernelText, RUN_STATUS } from '../addon/contract.js'
import { addon } from './addon.js'
import { DisposedError } from '../support/errors.js'
import { checkOptions, checkSignal, describe } from '../support/option-checks.js'
import { Recorder } from './recorder.js'
import { isThenable } from '../support/realms.js'
import type { RunData, RunLayout } from './run-block.js'
import { errorOf, type RecordedPlaces } from './run-errors.js'
import {
  bytesPerElement,
  checkShape,
  type DType,
  DTYPE_NUMBERS,
  elementCount,
  formatShape,
  Memory,
  Tensor,
  type TensorData,
} from './tensor.js'
import { type Tuning, tunables } from './tuning.js'

/** What a device computes in between weights and results. */
export type ActivationType = 'float32' | 'float16'

/** Where a GPU's tuning comes from: the table of its family, what `tune` saved, or the caller. */
export type TuningSource = 'table' | 'saved' | 'options'

/** In bytes. */
export interface DeviceMemory {
  budget: number
  inUse: number
  largestBuffer: number
}

/** A compute device. `dispose()` cancels what is running and joins its threads. */
export class Device {
  readonly name: 'cpu' | 'metal'
  /** Threads that work on an operation. */
  readonly threads: number
  /** Instruction set that the CPU device uses: `reference` (plain loops), `avx2`, `avx512` or `neon`; undefined for Metal. */
  readonly cpuLevel: string | undefined
  /** The GPU's name; undefined for the CPU device. */
  readonly gpu: string | undefined
  /** What a GPU's kernels are dispatched with: a value for each of `tunables()`. */
  readonly tuning: Tuning | undefined
  readonly tuningSource: TuningSource | undefined
  /** Whether the bits of a sequence in a decode step do not depend on the sequences beside it. */
  readonly batchInvariant: boolean
  /** Element types that operations may hand to one another here. */
  readonly activationTypes: readonly ActivationType[]
  #handle: number

  /** @internal Use `createDevice`. */
  constructor(name: 'cpu' | 'metal', handle: number, tuningSource?: TuningSource) {
    this.name = name
    this.#handle = handle
    this.activationTypes = name === 'cpu' ? ['float32'] : ['float32', 'float16']
    this.threads = addon().deviceThreads(handle)
    this.cpuLevel = addon().deviceLevel(handle)
    this.gpu = addon().deviceGpu(handle)
    const values = addon().deviceTuning(handle)
    this.batchInvariant = true
    if (values.length === 0) return
    this.tuning = Object.freeze(
      Object.fromEntries(tunables().map(({ name }, i) => [name, values[i]!])),
    )
    this.tuningSource = tuningSource
    this.batchInvariant = this.tuning.batch_invariant === 1
  }

  /**
   * A GPU's memory, in bytes: what its driver recommends that a process uses at most, what this process
   * uses now, and the most that one operation can use in one piece. Undefined for the CPU device.
   */
  get memory(): DeviceMemory | undefined {
    const [budget, inUse, largestBuffer] = addon().deviceMemory(this.handle)
    if (budget === undefined) return undefined
    return { budget, inUse: inUse!, largestBuffer: largestBuffer! }
  }

  /** @internal */
  get handle(): number {
    if (this.#handle === 0) throw new DisposedError('this device was disposed')
    return this.#handle
  }

  /**
   * Allocates a tensor, zeroed or with the given data (float16 and bfloat16 as raw 16-bit numbers).
   *
   * @example
   * const x = device.tensor('float32', [1, 4], new Float32Array([1, 2, 3, 4]))
   */
  tensor(dtype: DType, shape: readonly number[], data?: TensorData): Tensor {
    if (!Object.hasOwn(DTYPE_NUMBERS, dtype)) {
      throw new TypeError(
        `[tensor] dtype must be one of ${Object.keys(DTYPE_NUMBERS).join(', ')} but is ${describe(dtype)}`,
      )
    }
    checkShape('tensor', shape)
    const elements = elementCount(shape)
    const tensor = new Tensor(Memory.allocate(elements * bytesPerElement(dtype)), dtype, shape)
    if (data) {
      if (data.length !== elements) {
        throw new RangeError(
          `[tensor] shape ${formatShape(shape)} has ${elements} elements but data has ${data.length}`,
        )
      }
      tensor.write(data)
    }
    return tensor
  }

  /**
   * Records a command list: `record` calls one method an operation on what it is given. Nothing is
   * computed before `list.run()`.
   *
   * @example
   * const list = device.record((cl) => {
   *   cl.rmsNorm(x, weight, normed, { eps: 1e-5 })
   *   cl.matmul(normed, projection, out)
   * })
   * await list.run()
   */
  record(record: (cl: Recorder) => void): CommandList {
    const handle = addon().createList()
    try {
      const recorder = new Recorder(handle, this.activationTypes)
      let result: unknown
      try {
        result = record(recorder)
      } finally {
        recorder.close()
      }
      if (isThenable(result)) {
        Promise.resolve(result).catch(() => {}) // what it rejects with comes too late for anybody
        throw new TypeError('[record] the callback must not be async: it only records')
      }
      return new CommandList(this, handle, recorder)
    } catch (error) {
      addon().disposeList(handle)
      throw error
    }
  }

  /**
   * Reads all elements of a tensor behind the runs that are in flight, and before later ones: `tensor.read()`
   * of memory that a run writes throws. The tensor must be contiguous.
   *
   * @example
   * void list.run()
   * const after = await device.read(out)
   */
  async read(tensor: Tensor, options: { signal?: Signal | undefined } = {}): Promise<TensorData> {
    checkOptions('read', options, ['signal'])
    const copy = this.tensor(tensor.dtype, tensor.shape)
    try {
      using list = this.record((cl) => cl.copy(tensor, copy))
      await list.run(options)
      return copy.read()
    } finally {
      copy.dispose()
    }
  }

  /**
   * Writes all elements of a tensor behind the runs that are in flight, and before later ones. `data` is
   * copied before this returns. The tensor must be contiguous.
   *
   * @example
   * void list.run()
   * await device.write(x, new Float32Array([1, 2, 3]))
   */
  async write(
    tensor: Tensor,
    data: TensorData,
    options: { signal?: Signal | undefined } = {},
  ): Promise<void> {
    checkOptions('write', options, ['signal'])
    const source = this.tensor(tensor.dtype, tensor.shape, data)
    try {
      using list = this.record((cl) => cl.copy(source, tensor))
      await list.run(options)
    } finally {
      source.dispose()
    }
  }

  /** Cancels runs in flight (they reject with `DisposedError`) and frees the threads. */
  dispose(): void {
    if (this.#handle === 0) return
    addon().disposeDevice(this.#handle)
    this.#handle = 0
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

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
  readonly #places: RecordedPlaces
  readonly #inputs: RunLayout
  readonly #outputs: RunLayout
  #handle: number

  /** @internal Use `device.record`. */
  constructor(device: Device, handle: number, recorder: Recorder) {
    this.device = device
    this.length = recorder.length
    this.#places = recorder.places
    this.#inputs = recorder.inputs
    this.#outputs = recorder.outputs
    this.#handle = handle
    forgotten.register(this, handle, this)
  }

  /**
   * Runs the list; resolves with its outputs when its results are there. Rejects with an `OperationError`
   * when an operation fails, and with `signal.reason` when aborted: work then stops inside the operation at hand, and
   * buffers that the list writes hold an unfinished mixture. When the device itself fails or has no memory for the
   * run, they cannot be used before they are written whole; `DeviceLostError` says that it takes no more runs.
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
    const caller = callerOf(this.run)
    return new Promise((resolve, reject) => {
      let isOver = false
      let forget = () => {}
      const run = addon().run(
        this.device.handle,
        this.#handle,
        bytes,
        this.#outputs.bytes,
        (status, failure, outputs) => {
          isOver = true
          forget()
          if (status === RUN_STATUS.done) resolve({ outputs: this.#outputs.unpack(outputs) })
          else if (status === RUN_STATUS.cancelled && signal?.aborted) reject(reasonOf(signal))
          else reject(shownFrom(caller, errorOf('run', this.#places, { status, failure })))
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
    const caller = callerOf(this.prepare)
    return new Promise((resolve, reject) => {
      addon().prepare(this.device.handle, this.#handle, (status, failure) => {
        if (status === RUN_STATUS.done) resolve()
        else reject(shownFrom(caller, errorOf('prepare', this.#places, { status, failure })))
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
