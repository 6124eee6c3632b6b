// What the rig writes to SSM_SOFTWARE_METAL_TRACE.

import { readFileSync } from 'node:fs'

export interface TracedBuffer {
  index: number
  /** Bytes, each time that they were read. */
  read: number
  /** Bytes, once. */
  distinctRead: number
  written: number
  distinctWritten: number
}

/** An argument in threadgroup memory: bytes by all threads of all threadgroups. */
export interface TracedThreadgroupMemory {
  index: number
  read: number
  written: number
}

export interface TracedDispatch {
  kernel: string
  threadgroups: [number, number, number]
  threads: [number, number, number]
  barrier: boolean
  buffers: TracedBuffer[]
  threadgroupMemory: TracedThreadgroupMemory[]
}

export interface TracedRun {
  dispatches: TracedDispatch[]
  /** Blocks of device memory that were allocated before the end of this run. */
  allocations: number
}

/** The runs that came to their end. */
export function readTrace(path: string): TracedRun[] {
  const runs: TracedRun[] = []
  let dispatches: TracedDispatch[] = []
  for (const line of readFileSync(path, 'utf8').trim().split('\n')) {
    const entry = JSON.parse(line)
    if (!entry.endOfRun) {
      dispatches.push(entry)
      continue
    }
    runs.push({ dispatches, allocations: entry.allocations })
    dispatches = []
  }
  return runs
}
