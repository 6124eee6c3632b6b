// Devices: where tensors live and command lists run.

import type { Signal } from '../support/abort.js'
import { addon } from './addon.js'
import { CommandList } from './command-list.js'
import {
  DeviceNotAvailableError,
  DisposedError,
  ThreadLimitError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { listed, optionNames, optionValues } from '../support/option-table.js'
import { DEVICE, DEVICE_NAME, type DeviceName, type DeviceOptions } from './device-options.js'
import { Readback } from './readback.js'
import { Recorder } from './recorder.js'
import { isThenable } from '../support/realms.js'
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
import { availableThreads } from '../machine/threads.js'
import { usableSavedTuning } from './saved-tuning.js'
import { checkTuning, type Tuning, tunables } from './tuning.js'

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

/**
 * Creates a device. Throws `DeviceNotAvailableError` when it does not exist here, `UnsupportedOptionError`
 * for an unknown name or option, or a tuning where there is no GPU, and `ThreadLimitError` when the system
 * starts no more threads.
 *
 * @example
 * using device = createDevice('cpu', { threads: 2 })
 * using other = createDevice('metal', { tuning: { vector_outputs: 2 } })
 */
export function createDevice(name: DeviceName = 'auto', options: DeviceOptions = {}): Device {
  checkOptions('createDevice', options, optionNames(DEVICE))
  const { threads, gpuTimeout, batchInvariant } = optionValues('createDevice', DEVICE, options)
  if (options.gpuTimeout !== undefined && name === 'cpu') {
    throw new UnsupportedOptionError(
      "[createDevice] gpuTimeout is for GPUs: leave it out with device 'cpu'",
    )
  }
  checkBatchInvariant(batchInvariant, name)
  if (threads !== undefined && name === 'metal') {
    throw new UnsupportedOptionError(
      "[createDevice] threads is for the CPU: leave it out with device 'metal'",
    )
  }
  if (!DEVICE_NAME.choices.includes(name)) {
    throw new UnsupportedOptionError(
      `[createDevice] device must be ${listed(DEVICE_NAME.choices)} but is ${JSON.stringify(name)}`,
    )
  }
  const names = addon().deviceNames()
  const chosen = name === 'auto' ? names[0]! : name
  if (!names.includes(chosen)) {
    const lack =
      process.platform === 'darwin' && process.arch === 'arm64'
        ? 'this one gives no GPU of Apple family 7 or later (a virtual machine may hide it)'
        : `is not part of this build for ${process.platform}-${process.arch}`
    throw new DeviceNotAvailableError(
      `[createDevice] device 'metal' needs a Mac with Apple silicon and ${lack}: use 'cpu', or 'auto', which takes the CPU here`,
    )
  }
  const invariance = chosen === 'metal' ? invarianceTuning(batchInvariant) : {}
  if (options.tuning !== undefined) {
    const tuning = { ...checkTuning('createDevice', options.tuning), ...invariance }
    if (chosen === 'cpu') {
      throw new UnsupportedOptionError(
        "[createDevice] tuning is for GPUs, but the device here is the CPU: leave it out, or use 'metal' on a Mac with Apple silicon",
      )
    }
    return open(chosen, undefined, tuning, 'options', gpuTimeout)
  }
  const device = open(chosen, threads, invariance, 'table', gpuTimeout)
  if (!device.tuning) return device
  const saved = usableSavedTuning(options.onNotice)
  if (!saved || saved.gpu !== device.gpu) return device
  device.dispose()
  return open(chosen, undefined, { ...saved.tuning, ...invariance }, 'saved', gpuTimeout)
}

function checkBatchInvariant(wanted: boolean | undefined, name: DeviceName): void {
  if (wanted !== false || name !== 'cpu') return
  throw new UnsupportedOptionError(
    "[createDevice] batchInvariant cannot be false on the CPU, where a sequence never depends on those beside it: leave it out with device 'cpu'",
  )
}

/** What the option changes of a GPU's tuning. */
function invarianceTuning(wanted: boolean | undefined): Tuning {
  return wanted === undefined ? {} : { batch_invariant: wanted ? 1 : 0 }
}

function open(
  name: 'cpu' | 'metal',
  threads: number | undefined,
  tuning: Tuning,
  tuningSource: TuningSource,
  timeout: number,
): Device {
  return new Device(name, createNative(name, threads, tuning, timeout), tuningSource)
}

function createNative(
  name: 'cpu' | 'cpu-reference' | 'metal',
  threads: number | undefined,
  tuning: Tuning,
  timeout: number,
): number {
  const count = name === 'metal' ? 0 : (threads ?? availableThreads())
  try {
    return addon().createDevice(name, count, Object.entries(tuning).flat(), timeout)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    const fewer = `ask for fewer with the option threads (--threads): ${count} were ${threads === undefined ? 'taken by default' : 'asked for'}; or `
    throw new ThreadLimitError(
      '[createDevice] the system starts no more threads for this process: ' +
        `${count > 1 ? fewer : ''}raise the limit (ulimit -u; of a container its limit of pids)`,
      { cause: error },
    )
  }
}

/** The plain loops that anyone can check against the papers: what every other device is held against. */
export function referenceDevice(threads?: number): Device {
  return new Device('cpu', createNative('cpu-reference', threads, {}, DEVICE.gpuTimeout.default))
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
    this.cpuLevel = addon().deviceLevel(handle) || undefined
    this.gpu = addon().deviceGpu(handle) || undefined
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
    const readback = new Readback(this, [tensor])
    try {
      const [data] = await readback.read(options)
      return data!
    } finally {
      readback.dispose()
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
