// What was verified where, for those who read `info` or a report. README.md has the table.

/** What is known of this package on a machine of this kind, in plain words. */
export function whatWasVerified(platform: string, arch: string): string {
  if (platform === 'darwin') {
    return (
      'The binaries for macOS are compiled on Linux, and no Mac is known to have run them. The Metal kernels ' +
      'were run by an emulator, and once on an NVIDIA GPU. Please send what ' +
      '`ssm-metal verify --report` prints.'
    )
  }
  if (platform === 'linux' && arch === 'x64') {
    return 'The CPU device is tested on this platform before each change: every operation, and models against the official implementations.'
  }
  if (platform === 'linux' && arch === 'arm64') {
    return "The CPU device's code for arm64 was run by an emulator on x64; no arm64 machine is known to have run it."
  }
  return 'Nobody is known to have run this package on such a machine.'
}
