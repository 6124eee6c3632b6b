// What this machine and this build are.

import { arch, cpus, freemem, platform, release, totalmem } from 'node:os'
import { VERSION } from './version.js'

export interface Machine {
  /** Of this package. */
  version: string
  processor: string
  cores: number
  memoryBytes: number
  freeMemoryBytes: number
  platform: string
  architecture: string
  /** Release of the operating system. */
  system: string
  node: string
}

export function describeMachine(): Machine {
  return {
    version: VERSION,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    platform: platform(),
    architecture: arch(),
    system: release(),
    node: process.versions.node,
  }
}
