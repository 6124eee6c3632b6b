// The tools that the makefiles of a platform call: zig and, for macOS, LLVM's linker.

import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tool } from './node-gyp.js'
import { EXPORTS, type Target } from './targets.js'

/** Of the declarations in test/metal-device/sdk. */
const SDK_VERSION = '15.0'
const LINKER = 'ld64.lld-19'

export interface Tools {
  /** The checkout. */
  root: string
  /** Of the build: scripts/prebuilds/node-gyp.ts. */
  folder: string
  /** The folder of zig. */
  zig: string
}

/** Writes compiler, linker and archiver for a target into the build's folder. */
export function writeTools(tools: Tools, target: Target): void {
  mkdirSync(join(tools.folder, 'tools'), { recursive: true })
  tool(tools.folder, 'ar', `exec '${program(tools)}' ar "$@"`)
  if (target.os === 'mac') macTools(tools, target)
  else linuxTools(tools, target)
}

/** What zig is called with for an addon for macOS: the SDK is ours (test/metal-device/sdk). */
export function macCompiler({ root, zig }: Omit<Tools, 'folder'>, { triple }: Target): string[] {
  return [join(zig, 'zig'), 'c++', '-target', triple, '-isystem', sdk(root)]
}

const program = ({ zig }: Tools) => join(zig, 'zig')
const sdk = (root: string) => join(root, 'test/metal-device/sdk')
const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(' ')

function linuxTools(tools: Tools, { triple }: Target): void {
  // Without it the operators new and delete of zig's C++ library are exported too.
  const exported = join(tools.folder, 'tools/exports')
  writeFileSync(exported, `{ global: ${EXPORTS.join('; ')}; local: *; };\n`)
  const compiler = quoted([program(tools), 'c++', '-target', triple])
  const options = quoted(['-O3', '-s', `-Wl,--version-script=${exported}`])
  tool(tools.folder, 'cxx', `exec ${compiler} "$@"`)
  tool(tools.folder, 'link', `exec ${compiler} ${options} "$@"`)
}

// zig's own linker for macOS makes no bundles, ignores lists of exports and exports weak operators, so
// LLVM's links, with zig's C++ library. It strips at once: to strip later would break the signature.
function macTools(tools: Tools, target: Target): void {
  const { folder } = tools
  tool(folder, 'cxx', `exec ${quoted(macCompiler(tools, target))} "$@"`)
  // libtool -static -o archive objects
  const archive = `exec '${program(tools)}' ar rcs "$@"`
  tool(folder, 'libtool', `while [ "$1" != -o ]; do shift; done\nshift\n${archive}`)
  const exported = join(folder, 'tools/exports')
  writeFileSync(exported, EXPORTS.map((name) => `_${name}\n`).join(''))
  const strip = ['-dead_strip', '-x', '-S', '-adhoc_codesign', '-exported_symbols_list', exported]
  const system = ['-syslibroot', libraries(tools), '-F/System/Library/Frameworks', '-L/usr/lib']
  const links = ['-lSystem', '-lobjc', ...runtime(tools, target)]
  tool(
    folder,
    'link',
    `# What clang makes of its arguments for the linker.
for word do
  shift
  case $word in
    -stdlib=*) continue ;;
    -mmacosx-version-min=*)
      set -- "$@" -platform_version macos "\${word#*=}" ${SDK_VERSION}
      continue ;;
    -Wl,*) word=\${word#-Wl,} ;;
  esac
  set -- "$@" "$word"
done
exec ${LINKER} "$@" ${quoted([...strip, ...system, ...links])}`,
  )
}

/** Where the linker finds what a Mac has: our lists of symbols, and zig's for the C library. */
function libraries({ root, folder, zig }: Tools): string {
  const path = join(folder, 'libraries')
  rmSync(path, { recursive: true, force: true })
  cpSync(join(sdk(root), 'lib'), path, { recursive: true })
  const system = join(path, 'usr/lib/libSystem.tbd')
  copyFileSync(join(zig, 'lib/libc/darwin/libSystem.tbd'), system)
  // An architecture that lld 19 does not know.
  const text = readFileSync(system, 'utf8')
  writeFileSync(system, text.replaceAll(/,? *arm64e\.x1-\w+/g, ''))
  return path
}

/** zig's C++ library for a target and what that needs, built at first use; linking says where it is. */
function runtime(tools: Tools, { triple }: Target): string[] {
  const output = join(tools.folder, 'tools/none')
  const empty = ['-O3', '-s', '-dynamiclib', '-x', 'c++', '/dev/null', '-o', output]
  const args = ['c++', '-target', triple, ...empty, '--verbose']
  const { status, stdout, stderr } = spawnSync(program(tools), args, { encoding: 'utf8' })
  const found = stderr.match(/\S+\/lib(c\+\+|c\+\+abi|compiler_rt)\.a/g) ?? []
  const files = [...new Set(found)]
  if (status !== 0 || files.length !== 3) {
    throw new Error(`[prebuilds] zig does not say where its C++ library is: ${stdout}${stderr}`)
  }
  return files
}
