// Nothing imports upwards: no TypeScript, type imports included, and no C++. And nothing imports itself on a way round.

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { posix } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** What each file imports. */
type Imports = ReadonlyMap<string, readonly string[]>
/** A layer may import itself, and those of lower ranks. */
interface Layer {
  rank: number
  name: string
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

// Lowest first. Folders on one line may import one another.
const LIB_RANKS = [
  ['support'],
  ['machine', 'addon'],
  ['operations'],
  ['hub', 'weights', 'tokenizer'],
  ['models'],
  ['engine'],
  [], // everything else of the API
  ['cli'],
]
const API = LIB_RANKS.findIndex((folders) => folders.length === 0)

function libLayer(file: string): Layer {
  const [, folder = ''] = file.replace(/\.ts$/, '').split('/')
  const rank = LIB_RANKS.findIndex((folders) => folders.includes(folder))
  return { rank: rank < 0 ? API : rank, name: 'lib' }
}

function nativeLayer(file: string): Layer {
  if (file.startsWith('metal/')) return { rank: 0, name: 'kernels' }
  if (file.startsWith('native/cpu/')) return { rank: 2, name: 'the CPU device' }
  if (file.startsWith('native/metal/')) return { rank: 2, name: 'the Metal device' }
  const isTop = file.startsWith('native/addon/') || file === 'native/create_device.cpp'
  return isTop ? { rank: 3, name: 'the addon' } : { rank: 1, name: 'the core' }
}

/** Imports of a higher rank, or of another layer of the same one. */
function againstTheDirection(imports: Imports, layerOf: (file: string) => Layer): string[] {
  const wrong: string[] = []
  for (const [file, targets] of imports) {
    const own = layerOf(file)
    for (const target of targets) {
      const other = layerOf(target)
      if (other.rank > own.rank || (other.rank === own.rank && other.name !== own.name)) {
        wrong.push(`${file} -> ${target}`)
      }
    }
  }
  return wrong.sort()
}

/** The files that import themselves over others, each circle as the way around it. */
function circles(imports: Imports): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, way: readonly string[]) => {
    const begin = way.indexOf(file)
    if (begin >= 0) found.push([...way.slice(begin), file].join(' -> '))
    if (begin >= 0 || done.has(file)) return
    for (const target of imports.get(file) ?? []) visit(target, [...way, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return found.sort()
}

function filesOf(folder: string, ends: RegExp): string[] {
  const names = readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => ends.test(name)).map((name) => posix.join(folder, name))
}

function readImports(files: readonly string[], targetsIn: (file: string) => string[]): Imports {
  const known = new Set(files)
  return new Map(
    files.map((file) => [file, [...new Set(targetsIn(file))].filter((name) => known.has(name))]),
  )
}

function libImports(): Imports {
  return readImports(filesOf('lib', /\.ts$/), (file) => {
    const { importedFiles } = ts.preProcessFile(readFileSync(`${ROOT}${file}`, 'utf8'))
    return importedFiles
      .filter(({ fileName }) => fileName.startsWith('.'))
      .map(({ fileName }) => posix.join(posix.dirname(file), fileName).replace(/\.js$/, '.ts'))
  })
}

function nativeIncludes(): Imports {
  const sources = /\.(?:h|cpp|mm|metal)$/
  return readImports([...filesOf('native', sources), ...filesOf('metal', sources)], (file) => {
    const text = readFileSync(`${ROOT}${file}`, 'utf8')
    return [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)].map(([, name]) => name!)
  })
}

describe('lib', () => {
  const imports = libImports()

  it('is read', () => {
    expect(imports.size).toBeGreaterThan(200)
    expect(imports.get('lib/cli.ts')).toContain('lib/cli/program.ts')
    // A type import, and one for several lines.
    expect(imports.get('lib/operations/arguments.ts')).toEqual(['lib/operations/tensor.ts'])
    expect(imports.get('lib/operations/device.ts')).toContain('lib/operations/tensor.ts')
  })

  it('imports nothing upwards', () => {
    expect(againstTheDirection(imports, libLayer)).toEqual([])
  })

  it('has no circles', () => {
    expect(circles(imports)).toEqual([])
  })
})

describe('native and metal', () => {
  const includes = nativeIncludes()

  it('are read', () => {
    expect(includes.size).toBeGreaterThan(150)
    expect(includes.get('native/create_device.cpp')).toContain('native/device.h')
  })

  it('include nothing upwards, and no device another one', () => {
    expect(againstTheDirection(includes, nativeLayer)).toEqual([])
  })

  it('have no circles', () => {
    expect(circles(includes)).toEqual([])
  })
})

describe('what is planted is found', () => {
  const imports = (entries: Record<string, string[]>): Imports => new Map(Object.entries(entries))
  const existing = [...libImports().keys(), ...nativeIncludes().keys()]

  it.each([
    ['lib/support/json.ts', 'lib/weights/checkpoint.ts'],
    ['lib/operations/device.ts', 'lib/tune/cases.ts'],
    ['lib/weights/loader.ts', 'lib/models/checkpoint.ts'],
    ['lib/models/language-model.ts', 'lib/engine/engine.ts'],
    ['lib/engine/engine.ts', 'lib/model.ts'],
    ['lib/model.ts', 'lib/cli/options.ts'],
    ['lib/chat/chat.ts', 'lib/cli.ts'],
  ])('%s importing %s', (file, target) => {
    expect(existing).toEqual(expect.arrayContaining([file, target]))
    const planted = imports({ [file]: [target], [target]: [] })
    expect(againstTheDirection(planted, libLayer)).toEqual([`${file} -> ${target}`])
    expect(againstTheDirection(imports({ [target]: [file] }), libLayer)).toEqual([])
  })

  it.each([
    ['metal/types.h', 'native/operation.h'],
    ['native/device.h', 'native/metal/tuning.h'],
    ['native/command_list.cpp', 'native/cpu/operations.h'],
    ['native/cpu/ssd.h', 'native/metal/grid.h'],
    ['native/metal/operations/sample.cpp', 'native/cpu/token.h'],
    ['native/metal/program.h', 'native/addon/addon.cpp'],
  ])('%s including %s', (file, target) => {
    expect(existing).toEqual(expect.arrayContaining([file, target]))
    const planted = imports({ [file]: [target] })
    expect(againstTheDirection(planted, nativeLayer)).toEqual([`${file} -> ${target}`])
  })

  it('a circle, over any number of files', () => {
    expect(circles(imports({ a: ['b'], b: ['c'], c: ['d', 'b'], d: [] }))).toEqual(['b -> c -> b'])
    expect(circles(imports({ a: ['a'] }))).toEqual(['a -> a'])
    expect(circles(imports({ a: ['b', 'c'], b: ['c'], c: [] }))).toEqual([])
  })
})
