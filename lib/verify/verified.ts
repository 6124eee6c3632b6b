// What was verified where, for those who read `info` or a report. README.md has the table.

import type { Host } from '../addon/host.js'

/** What is known of this package on a machine of this kind, in plain words. */
export function whatWasVerified({ platform, arch, libc }: Host): string {
  if (platform === 'darwin' && arch === 'arm64') {
    return (
      'The binaries for macOS are cross-compiled on Linux, and nobody has reported yet that a Mac ran them. ' +
      'The Metal kernels are tested by an emulator, and once ran on an NVIDIA GPU. ' +
      'Please send what `ssm-metal verify --report` prints.'
    )
  }
  if (platform === 'darwin') {
    return (
      'The binaries for macOS are cross-compiled on Linux, and nobody has reported yet that an Intel Mac ran them. ' +
      'Please send what `ssm-metal verify --report` prints.'
    )
  }
  if (libc === 'musl') {
    return 'The binaries for musl are cross-compiled, and nobody has reported yet that one ran.'
  }
  if (platform === 'linux' && arch === 'x64') {
    return 'The CPU device is tested on this platform before each change: every operation, and models against the official implementations.'
  }
  if (platform === 'linux' && arch === 'arm64') {
    return "The CPU device's code for arm64 is tested by an emulator on x64; nobody has reported yet that an arm64 machine ran it."
  }
  return 'Nobody has reported yet that this package ran on such a machine.'
}
