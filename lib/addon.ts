// The native contract, and the only file that loads the .node.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { AddonNotFoundError } from './errors.js'

/** What native/addon.cpp exports. Handles are numbers; native checks that they are alive. */
export interface Addon {
  operations(): { name: string; paramBytes: number; buffers: number }[]
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
   * `cpu-reference` is the CPU device with plain loops. `threads` is for the CPU; 0: one for each core.
   * `tuning`, for a GPU: name and value of each tunable that differs from the table of its family.
   */
  createDevice(name: string, threads: number, tuning: (string | number)[]): number
  deviceThreads(device: number): number
  /** Of the CPU device: native/cpu/fast/levels.h. Empty for others. */
  deviceLevel(device: number): string
  /** The GPU's name. Empty for the CPU device. */
  deviceGpu(device: number): string
  /** A value for each of `tunables()`. Empty for the CPU device. */
  deviceTuning(device: number): number[]
  disposeDevice(device: number): void
  /** Zeroed memory. */
  allocate(bytes: number): number
  mapFile(path: string): number
  memorySize(memory: number): number
  readMemory(memory: number, byteOffset: number, target: Uint8Array): void
  writeMemory(memory: number, byteOffset: number, source: Uint8Array): void
  disposeMemory(memory: number): void
  createList(): number
  /** `bindings`: memory, byteOffset, byteLength, type of each buffer in turn; memory 0 is absent. */
  record(list: number, operation: number, bindings: number[], params: Uint8Array): void
  disposeList(list: number): void
  /** Two lists for which it is equal compute in the same way. Empty for the CPU device. */
  listDispatches(device: number, list: number): string
  /** Returns the number of the run; calls back once, on this thread, with '' or the error. */
  run(device: number, list: number, callback: (error: string) => void): number
  cancel(run: number): void
  /** Calls back once, on this thread, with '' and the result, or with the error. */
  measureReadBandwidth(
    threads: number,
    bytes: number,
    callback: (error: string, bytesPerSecond: number) => void,
  ): void
}

let loaded: Addon | undefined

/** Loads the addon on first use. Throws `AddonNotFoundError` when there is no binary for this machine. */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

function load(): Addon {
  // lib/ and dist/ are both one level below the package's root.
  const root = fileURLToPath(new URL('..', import.meta.url))
  const require = createRequire(import.meta.url)
  try {
    // Internal: an addon built another way, such as the test rig (test/software-metal/README.md).
    const path = process.env.SSM_METAL_ADDON
    return path ? require(path) : require('node-gyp-build')(root)
  } catch (cause) {
    throw new AddonNotFoundError(
      [
        `Could not load the native addon for ${process.platform}-${process.arch} (Node ${process.versions.node}).`,
        'No prebuilt binary matches, and none was built at install.',
        '  - npm 12 blocks install scripts. Allow and build it:   npm approve-scripts ssm-metal && npm rebuild ssm-metal',
        '  - Other npm:                                           npm rebuild ssm-metal',
        '  - Building needs Python 3, make and a C++20 compiler (on macOS: xcode-select --install).',
        `Tried ${root}: ${(cause as Error).message}`,
      ].join('\n'),
      { cause },
    )
  }
}
