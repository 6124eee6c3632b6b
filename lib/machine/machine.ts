// What this machine and this build are.

import { readFileSync } from 'node:fs'
import { arch, cpus, freemem, platform, release, totalmem } from 'node:os'
import { isTranslated } from '../addon/host.js'
import { VERSION } from '../support/version.js'

export interface Machine {
  /** Of this package. */
  version: string
  processor: string
  cores: number
  memoryBytes: number
  freeMemoryBytes: number
  platform: string
  architecture: string
  /** Release of the operating system's kernel. */
  system: string
  /** Name and version of the operating system, such as "macOS 15.1 (24B83)"; empty if it does not tell. */
  systemName: string
  node: string
  /** This Node is an x64 build that Rosetta 2 translates on Apple silicon. */
  translated: boolean
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
    systemName: systemName(),
    node: process.versions.node,
    translated: isTranslated(),
  }
}

function systemName(): string {
  try {
    if (platform() === 'darwin') {
      const text = readFileSync('/System/Library/CoreServices/SystemVersion.plist', 'utf8')
      return macName(text)
    }
    const text = readFileSync('/etc/os-release', 'utf8')
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? ''
  } catch {
    return ''
  }
}

/** From the property list in which macOS says what it is. */
export function macName(propertyList: string): string {
  const value = (key: string) =>
    new RegExp(`<key>${key}</key>\\s*<string>([^<]*)`).exec(propertyList)?.[1] ?? ''
  return `${value('ProductName')} ${value('ProductVersion')} (${value('ProductBuildVersion')})`
}
