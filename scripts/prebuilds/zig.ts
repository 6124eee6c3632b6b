// zig, which brings compilers, C libraries and a C++ library for every platform. From PyPI.

import { join } from 'node:path'
import { installPackages } from '../python-packages.js'

const VERSION = '0.17.1'
// Of the two wheels that can run here: binaries that users get are made with nothing else.
const HASHES = [
  'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54', // x86-64
  'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e', // arm64
]

/**
 * The folder of zig, with the program `zig` and its library `lib/`. Installs it at first use, about
 * 100 MB, into a folder below `cache`. Throws what failed.
 *
 *     join(zigFolder('.cache'), 'lib/libc/include/any-darwin-any')
 */
export function zigFolder(cache: string): string {
  const installed = join(cache, `zig-${VERSION}`)
  const hashes = HASHES.map((hash) => `--hash=sha256:${hash}`).join(' ')
  const lead = `[prebuilds] zig ${VERSION}`
  installPackages(installed, [`ziglang==${VERSION} ${hashes}`], { lead, hashed: true })
  return join(installed, 'ziglang')
}
