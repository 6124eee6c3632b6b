// The native contract: what native/addon/ exports. `addon()` (lib/operations/addon.ts) gives it.

/** How a run ended, and with it what has become of the memory that it writes: native/device.h has the same numbers. */
export const RUN_STATUS = {
  done: 0,
  failed: 1,
  cancelled: 2,
  deviceFailed: 3,
  deviceLost: 4,
  abandoned: 5,
} as const

/** Why something failed, as far as somebody acts on it: native/failure.h has the same numbers. */
export const FAILURE_REASON = {
  other: 0,
  badData: 1,
  outOfMemory: 2,
} as const

/** What went wrong with a run or a list. */
export interface Failure {
  /** One of `FAILURE_REASON`. */
  reason: number
  /** Index in the list; undefined where it was no operation, or nobody can tell which. */
  operation: number | undefined
  /** For people: nobody compares it. */
  message: string
}

/** One kernel as an Apple GPU compiles it, its constants in the text (native/metal/kernel_source.h). */
export interface KernelText {
  kernel: string
  text: string
  /** Of a threadgroup. */
  threads: number
}

/** What native/addon/ exports. Handles are numbers; native checks that they are alive. */
export interface Addon {
  /** What the headers of metal/ state, in the order of the operations' numbers. */
  operations(): {
    name: string
    apiName: string
    fields: { name: string; isFloat: boolean }[]
    buffers: { name: string; isWritten: boolean; isOptional: boolean }[]
  }[]
  /** What this build has, the fastest first. */
  deviceNames(): ('cpu' | 'metal')[]
  /** Instruction sets of the CPU device that this machine can run, the slowest first. */
  cpuLevels(): string[]
  /** What is tuned for a GPU, in every build: native/metal/tuning.h. */
  tunables(): {
    name: string
    meaning: string
    least: number
    most: number
    candidates: number[]
  }[]
  /**
   * `cpu-reference` is the CPU device with plain loops. `threads` is for the CPU.
   * Throws an error with the code EAGAIN when the system starts no more threads.
   * `tuning`, for a GPU: name and value of each tunable that differs from the table of its family.
   * `timeout`, for a GPU: seconds after which one that ends nothing is given up.
   */
  createDevice(name: string, threads: number, tuning: (string | number)[], timeout: number): number
  deviceThreads(device: number): number
  /** Of the CPU device: native/cpu/levels.h. */
  deviceLevel(device: number): string | undefined
  /** The GPU's name. */
  deviceGpu(device: number): string | undefined
  /** A value for each of `tunables()`. Empty for the CPU device. */
  deviceTuning(device: number): number[]
  /** Of a GPU, in bytes: what a process should use at most, what this one uses, the largest buffer. Empty for the CPU device. */
  deviceMemory(device: number): number[]
  disposeDevice(device: number): void
  /** Zeroed memory. `whole`: all of it will be written at once. */
  allocate(bytes: number, whole: boolean): number
  /**
   * `bytes` of a file from `begin` on, a multiple of 64 KiB; 0 bytes: all of it. No operation reads
   * more than `largestPart` of them in one piece.
   */
  mapFile(path: string, begin: number, bytes: number, largestPart: number): number
  /** Memory without bytes: lists that use it can be recorded but not run. */
  planMemory(bytes: number, isMappedFile: boolean, largestPart: number): number
  /** Bytes that the device needs for a memory. Throws when it cannot use so large a one. */
  memoryFootprint(device: number, memory: number): number
  memorySize(memory: number): number
  readMemory(memory: number, byteOffset: number, target: Uint8Array): void
  writeMemory(memory: number, byteOffset: number, source: Uint8Array): void
  /** Nothing of it stays resident for a GPU until its next use. Does nothing while runs use it. */
  letGoOfMemory(memory: number): void
  disposeMemory(memory: number): void
  createList(): number
  /** The memory whose bytes the operations of this list bind for inputs and outputs of a run: native/run_block.h. */
  listBlock(list: number): number
  /** `bindings`: memory, byteOffset, byteLength, type of each buffer in turn; memory 0 is absent. */
  record(list: number, operation: number, bindings: number[], params: Uint8Array): void
  disposeList(list: number): void
  /** Two lists for which it is equal compute in the same way. Empty for the CPU device. */
  listDispatches(device: number, list: number): string
  /** Bytes that the device allocates for a list itself. */
  listScratch(device: number, list: number): number
  /** The kernels that an Apple GPU compiles for a list, each once. Throws in builds without Metal. */
  kernelTexts(list: number): KernelText[]
  /** Calls back once, on this thread, when runs of the list need not wait for it, or with what is wrong. */
  prepare(
    device: number,
    list: number,
    callback: (status: number, failure: Failure | undefined) => void,
  ): void
  /**
   * Returns the number of the run. `inputs` are copied at once. Calls back once, on this thread; `outputs`
   * has the bytes that were asked for when the run is done, otherwise none. `failure`: of `failed`, `deviceFailed`
   * and `deviceLost`.
   */
  run(
    device: number,
    list: number,
    inputs: Uint8Array,
    outputBytes: number,
    callback: (status: number, failure: Failure | undefined, outputs: ArrayBuffer) => void,
  ): number
  cancel(run: number): void
  /** Calls back once, on this thread. */
  measureReadBandwidth(
    threads: number,
    bytes: number,
    callback: (status: number, failure: Failure | undefined, bytesPerSecond: number) => void,
  ): void
  /** Bytes that the system could give to a process now; 0 where files of the system say it. */
  availableMemory(): number
}
