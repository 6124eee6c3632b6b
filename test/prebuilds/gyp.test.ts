// What a Mac does to build the addon, read from the very makefiles that node-gyp writes for it. They
// are not what binding.gyp seems to say: Node's own settings come after ours.

import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LEAST_MACOS } from '../../scripts/prebuilds/targets.js'
import { type MakeCommands, macCommands, root } from './make.js'

const filesOf = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.cpp'))
    .map((name) => `${folder}/${name}`)
const listed = ['native', 'native/addon', 'native/cpu'].flatMap(filesOf)
const metal = readdirSync(join(root, 'native/metal'), { encoding: 'utf8', recursive: true })
  .filter((name) => /^(?!operations\/).*\.(cpp|mm)$/.test(name))
  .map((name) => `native/metal/${name}`)
// The tables include them (test/ops/operations-table.test.ts).
const operations = ['cpu', 'cpu/fast', 'metal'].flatMap((folder) =>
  filesOf(`native/${folder}/operations`),
)
const gen = 'Release/obj/gen'
const tables = ['', 'cpu_', 'fast_'].map((name) => `${gen}/${name}operations.cpp`)
const metalTables = [`${gen}/kernel_sources.cpp`, `${gen}/metal_operations.cpp`]

const avx2 = ['-mavx2', '-mfma', '-mf16c']
const avx512 = [...avx2, '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq']
const macs = {
  arm64: {
    sources: [...listed, ...metal, ...tables, ...metalTables],
    levels: { neon: [] as string[] },
    frameworks: ['Accelerate', 'CoreGraphics', 'Foundation', 'Metal'],
  },
  // Intel, and Node for Intel under Rosetta: the CPU device only.
  x64: { sources: [...listed, ...tables], levels: { avx2, avx512 }, frameworks: ['Accelerate'] },
} as const

/** What is wrong with the commands of a build on a Mac. */
function faults({ compile, link }: MakeCommands, arch: 'arm64' | 'x64'): string[] {
  const found: string[] = []
  const require = (what: string, actual: unknown, expected: unknown) => {
    const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
    if (a !== b) found.push(`${what}: ${a}, not ${b}`)
  }
  const { sources, levels, frameworks } = macs[arch]
  const levelFiles = Object.keys(levels).map((level) => `native/cpu/levels/${level}.cpp`)
  const expected = new Set([...sources, ...levelFiles])
  require('sources that are missing', [...expected].filter((file) => !compile.has(file)), [])
  require('sources too many', [...compile.keys()].filter((file) => !expected.has(file)), [])
  for (const [file, args] of [...compile, ['the link', link] as const]) {
    const all = (pattern: RegExp) => args.filter((word) => pattern.test(word))
    const least = `-mmacosx-version-min=${LEAST_MACOS}`
    require(`${file}: least macOS`, all(/^-mmacosx-version-min/), [least])
    require(`${file}: architecture`, args[args.indexOf('-arch') + 1], {
      arm64: 'arm64',
      x64: 'x86_64',
    }[arch])
    require(`${file}: library`, all(/^-stdlib/), ['-stdlib=libc++'])
    if (file === 'the link') continue
    require(`${file}: language`, all(/^-std=/), ['-std=c++20'])
    require(`${file}: exceptions`, all(/^-f(no-)?exceptions$/), [])
    require(`${file}: run-time types`, all(/^-f(no-)?rtti$/), ['-fno-rtti'])
    require(`${file}: visibility`, all(/^-fvisibility/), ['-fvisibility=hidden'])
    require(`${file}: optimisation`, all(/^-O/), ['-O3'])
    require(`${file}: mathematics`, all(/fast-math|^-Ofast/), [])
    require(`${file}: ARC`, all(/^-fobjc/), file.endsWith('.mm') ? ['-fobjc-arc'] : [])
    const level = /levels\/(\w+)\.cpp$/.exec(file)?.[1]
    require(`${file}: instructions`, all(/^-m(?!macosx)/), level
      ? levels[level as keyof typeof levels]
      : [])
    require(`${file}: contraction`, all(/^-ffp/), level ? ['-ffp-contract=fast'] : [])
    require(`${file}: Node-API`, all(/NAPI_VERSION|NAPI_CPP|_EXCEPTIONS/), [
      '-DNAPI_VERSION=9',
      '-DNAPI_CPP_EXCEPTIONS',
      '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
      '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    ])
    if (level) continue
    require(`${file}: Metal`, all(/SSM_WITH/), arch === 'arm64' ? ['-DSSM_WITH_METAL'] : [])
    require(`${file}: BLAS`, all(/BLAS|LAPACK/), [
      '-DSSM_BLAS_HEADER=<Accelerate/Accelerate.h>',
      '-DACCELERATE_NEW_LAPACK',
    ])
  }
  const linked = link.flatMap((word, i) => (word === '-framework' ? [link[i + 1]] : []))
  require('frameworks', linked.sort(), frameworks)
  require('undefined names', link.includes('dynamic_lookup'), true)
  require('kind', link.includes('-bundle'), true)
  return found
}

// Each with what is said of it. All are made at once: none hides another.
const mistakes: Record<string, { from: RegExp; to: string; fault: RegExp; only?: string }> = {
  language: {
    from: /"CLANG_CXX_LANGUAGE_STANDARD": "c\+\+20"/,
    to: '"X": ""',
    fault: /addon\.cpp: language: \["-std=gnu\+\+\d\d"\]/,
  },
  exceptions: {
    from: /"GCC_ENABLE_CPP_EXCEPTIONS": "YES"/,
    to: '"X": ""',
    fault: /addon\.cpp: exceptions: \["-fno-exceptions"\]/,
  },
  'the least macOS': {
    from: /"MACOSX_DEPLOYMENT_TARGET": "14\.0"/,
    to: '"MACOSX_DEPLOYMENT_TARGET": "13.0"',
    fault: /the link: least macOS: \["-mmacosx-version-min=13\.0"\]/,
  },
  'hidden names': {
    from: /"GCC_SYMBOLS_PRIVATE_EXTERN": "YES"/,
    to: '"X": ""',
    fault: /addon\.cpp: visibility: \[\]/,
  },
  'the options of a level': {
    from: /"OTHER_CPLUSPLUSFLAGS": \["<@\(level_options\)"\]/g,
    to: '"X": ""',
    fault: /levels\/\w+\.cpp: contraction: \[\]/,
  },
  'the instructions of a level': {
    from: /s\|\^\/\/ options: \|\|p/g,
    to: 's|^// opts: ||p',
    fault: /levels\/avx512\.cpp: instructions: \[\]/,
    only: 'x64',
  },
  'the name of the BLAS': {
    from: /, "ACCELERATE_NEW_LAPACK"/,
    to: '',
    fault: /addon\.cpp: BLAS: \["-DSSM_BLAS_HEADER=<Accelerate\/Accelerate\.h>"\]/,
  },
  'a framework': { from: /"-framework Accelerate"/, to: '', fault: /frameworks: \[.*\], not/ },
  ARC: {
    from: /"CLANG_ENABLE_OBJC_ARC": "YES"/,
    to: '',
    fault: /\.mm: ARC: \[\]/,
    only: 'arm64',
  },
  'a source': {
    from: / native\/metal\/\*\.mm/,
    to: '',
    fault: /sources that are missing: \["native\/metal\/metal_device\.mm"\]/,
    only: 'arm64',
  },
}

describe.each(['arm64', 'x64'] as const)('on a Mac with %s', (arch) => {
  test('node-gyp compiles and links as it must', () => {
    expect(faults(macCommands(arch), arch)).toEqual([])
  })

  test('mistakes are found', () => {
    const made = Object.values(mistakes).filter(({ only }) => (only ?? arch) === arch)
    const commands = macCommands(arch, (gyp) => {
      for (const { from } of made) expect(gyp).toMatch(from)
      return made.reduce((text, { from, to }) => text.replace(from, to), gyp)
    })
    const found = faults(commands, arch).join('\n')
    for (const { fault } of made) expect(found).toMatch(fault)
  })

  test('settings that Node overwrites are found', () => {
    const commands = macCommands(arch, (gyp) =>
      gyp.replace(
        /"target_conditions": \[\["OS=='mac'", (\{.*?\})\s*\]\]/s,
        '"conditions": [["OS==\'mac\'", $1]]',
      ),
    )
    const found = faults(commands, arch).join('\n')
    expect(found).toMatch(/addon\.cpp: exceptions: \["-fno-exceptions"\]/)
    expect(found).toMatch(/levels\/\w+\.cpp: exceptions: \["-fno-exceptions"\]/)
  })
})

test('the package has all that the build on a Mac reads', () => {
  const packed: { files: { path: string }[] }[] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
    }),
  )
  const files = packed[0]!.files.map(({ path }) => path)
  expect(files).toEqual(expect.arrayContaining([...listed, ...metal, ...operations]))
  const kernels = readdirSync(join(root, 'metal')).filter((name) => /\.(metal|h)$/.test(name))
  expect(files).toEqual(expect.arrayContaining(kernels.map((name) => `metal/${name}`)))
  expect(files).toEqual(
    expect.arrayContaining(['scripts/embed-metal.mjs', 'scripts/operations.mjs']),
  )
})
