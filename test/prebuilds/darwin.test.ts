// The binaries for macOS (npm run prebuilds), read as the loader of macOS reads them: none has run on a Mac.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { EXPORTS, LEAST_MACOS, prebuiltFile } from '../../scripts/prebuilds/targets.js'
import { readMachO } from './mach-o.js'
import { LIBSYSTEM, SINCE_MACOS_15 } from './macos-names.js'
import { root } from './make.js'

const framework = (name: string, version: string) =>
  `/System/Library/Frameworks/${name}.framework/Versions/${version}/${name}`
const accelerate = framework('Accelerate', 'A')
const [foundation, metal] = [framework('Foundation', 'C'), framework('Metal', 'A')]
const [system, objc] = ['/usr/lib/libSystem.B.dylib', '/usr/lib/libobjc.A.dylib']

// Ours list what macOS 14 has (test/metal-device/sdk/lib), as far as we use it.
const listed = new Map(
  [
    [accelerate, 'System/Library/Frameworks/Accelerate.framework/Accelerate.tbd'],
    [foundation, 'System/Library/Frameworks/Foundation.framework/Foundation.tbd'],
    [metal, 'System/Library/Frameworks/Metal.framework/Metal.tbd'],
    [objc, 'usr/lib/libobjc.tbd'],
  ].map(([library, file]) => {
    const path = join(root, 'test/metal-device/sdk/lib', file!)
    return [library!, readFileSync(path, 'utf8')] as const
  }),
)

const macs = [
  {
    name: 'darwin-arm64',
    architecture: 'arm64',
    libraries: [accelerate, foundation, metal, framework('CoreGraphics', 'A'), system, objc],
    isExpected: Boolean(process.env.CI),
  },
  // The CPU device only. Made by a command of its own (scripts/prebuilds/README.md).
  {
    name: 'darwin-x64',
    architecture: 'x64',
    libraries: [accelerate, system, objc],
    isExpected: false,
  },
] as const

for (const { name, architecture, libraries, isExpected } of macs) {
  const path = prebuiltFile(root, name)
  const skipped = !isExpected && !existsSync(path)
  if (skipped) console.log(`skipped: ${name} (npm run prebuilds -- ${name})`)
  describe.skipIf(skipped)(name, () => {
    const file = skipped ? Buffer.alloc(0) : readFileSync(path)
    const read = skipped ? undefined! : readMachO(file)

    test('is a bundle for its processor and the least macOS', () => {
      expect(read).toMatchObject({ architecture, isBundle: true, leastMacos: LEAST_MACOS })
    })

    test('exports what Node looks for and nothing else', () => {
      expect(read.exports).toEqual(EXPORTS.map((name) => `_${name}`))
    })

    test('has no name for which all of the process chooses one definition', () => {
      expect(read.hasWeakNames).toBe(false)
    })

    test('needs libraries of the system only', () => {
      expect([...read.libraries].sort()).toEqual([...libraries].sort())
      expect(read.searchPaths).toEqual([])
    })

    test('leaves only Node-API to be found anywhere', () => {
      const open = read.imports.filter(({ library }) => library === undefined)
      expect(open.length).toBeGreaterThan(20)
      expect(open.filter(({ name }) => !name.startsWith('_napi_'))).toEqual([])
    })

    test('takes nothing that its least macOS lacks', () => {
      const strong = read.imports.filter(({ weak }) => !weak)
      const lacks = ({ name, library }: { name: string; library: string | undefined }) => {
        if (library === undefined) return false // Node-API
        return library === system ? !LIBSYSTEM.has(name) : !isListed(name, listed.get(library)!)
      }
      expect(strong.filter(lacks)).toEqual([])
      const weak = read.imports.filter((each) => each.weak).map(({ name }) => name)
      expect(SINCE_MACOS_15).toEqual(expect.arrayContaining(weak))
    })

    test('is signed ad hoc, each page of it', () => {
      expect(read.signature).toMatchObject({ adHoc: true, linkerSigned: true, coversFile: true })
      expect(read.signature!.pages).toBeGreaterThan(100)
      expect(read.signature!.wrongPages).toEqual([])
    })

    test('a byte that was changed, added or lost breaks the signature', () => {
      const changed = Buffer.from(file)
      changed[0x5000]! ^= 1
      expect(readMachO(changed).signature!.wrongPages).toEqual([5])
      const longer = Buffer.concat([file, Buffer.from([0])])
      expect(readMachO(longer).signature!.coversFile).toBe(false)
    })

    test('has no path of this machine inside', () => {
      expect(file.includes(root)).toBe(false)
      expect(file.includes('ziglang')).toBe(false)
    })
  })
}

/** Whether a list of symbols has a name; it writes classes without their prefix. */
function isListed(name: string, list: string): boolean {
  const words = list.split(/[\s',[\]-]+/)
  const owner = /^_OBJC_CLASS_\$_(\w+)$/.exec(name)?.[1]
  return words.includes(owner ?? name)
}
