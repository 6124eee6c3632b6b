// What a report says of a machine besides lib/machine/machine.ts. Asks other programs, so only where somebody wants it.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface MachineDetails {
  /** Such as "MacBookAir10,1". */
  model?: string
  /** Of a processor with cores of two kinds, as in "4 performance, 4 efficiency". */
  coreKinds?: string
  gpuCores?: number
}

/** What the system tells; what it does not tell is absent. Blocks for some tens of milliseconds. */
export function machineDetails(): MachineDetails {
  if (process.platform === 'darwin') {
    const sysctl = ask('/usr/sbin/sysctl', ['hw.model', 'hw.perflevel0', 'hw.perflevel1'])
    const graphics = ask('/usr/sbin/ioreg', ['-rc', 'AGXAccelerator', '-d', '1'])
    return parseMacDetails(sysctl, graphics)
  }
  try {
    const model = readFileSync('/sys/devices/virtual/dmi/id/product_name', 'utf8').trim()
    return model ? { model } : {}
  } catch {
    return {} // a container, or a board without such a table
  }
}

function ask(program: string, words: readonly string[]): string {
  try {
    // sysctl exits with 1 where one of several names is unknown, and still prints the others.
    return execFileSync(program, words, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5000,
    })
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? '')
  }
}

/** From what `sysctl` and `ioreg` print on a Mac. */
export function parseMacDetails(sysctl: string, graphics: string): MachineDetails {
  const value = (name: string) =>
    new RegExp(`^${name.replaceAll('.', '\\.')}: (.+)$`, 'm').exec(sysctl)?.[1]?.trim()
  const details: MachineDetails = {}
  const model = value('hw.model')
  if (model) details.model = model
  const [fast, small] = [value('hw.perflevel0.physicalcpu'), value('hw.perflevel1.physicalcpu')]
  if (fast && small) details.coreKinds = `${fast} performance, ${small} efficiency`
  const gpuCores = Number(/"gpu-core-count" = (\d+)/.exec(graphics)?.[1])
  if (gpuCores > 0) details.gpuCores = gpuCores
  return details
}
