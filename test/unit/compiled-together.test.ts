// The files of a folder of operations are compiled as one (scripts/operations.mjs). A function that one of them has
// for itself must not have the name of what another file, or a header, calls: the compiler refuses two functions with
// the same parameters, but of others it would take the better match and say nothing.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The files of a folder and all of our headers that they include. */
function compiledTogether(folder: string): Map<string, string> {
  const texts = new Map<string, string>()
  const read = (file: string) => {
    if (texts.has(file) || !existsSync(ROOT + file)) return
    const text = readFileSync(ROOT + file, 'utf8')
    texts.set(file, text)
    for (const [, name] of text.matchAll(/^#include "([^"]+)"/gm)) read(name!)
  }
  for (const name of readdirSync(ROOT + folder)) {
    if (name.endsWith('.cpp')) read(`${folder}/${name}`)
  }
  return texts
}

/** Functions in a namespace without a name. They begin a line: clang-format indents nothing there. */
function ownFunctions(text: string): string[] {
  const parts = [...text.matchAll(/^namespace \{\n([\s\S]*?)^\} {2}\/\/ namespace$/gm)]
  return parts.flatMap(([, part]) =>
    [...part!.matchAll(/^(?:[A-Za-z_][\w:<>,&*\s]*?[\s&*])?(\w+)\((?!.*\);$)/gm)].map(
      ([, name]) => name!,
    ),
  )
}

/** What a file has for itself and another one calls, as `name: one file, the other`. */
function mixedUp(texts: ReadonlyMap<string, string>): string[] {
  const calls = new Map(
    [...texts].map(([file, text]) => {
      const code = text.replaceAll(/\/\/.*|"(?:\\.|[^"\\])*"/g, '')
      return [file, new Set([...code.matchAll(/(?<![\w.:]|->)\w+(?=[(<])/g)].map(([name]) => name))]
    }),
  )
  return [...texts].flatMap(([file, text]) =>
    ownFunctions(text).flatMap((name) =>
      [...calls.keys()]
        .filter((other) => other !== file && calls.get(other)!.has(name))
        .map((other) => `${name}: ${file}, ${other}`),
    ),
  )
}

describe.each(['cpu', 'cpu/fast', 'metal'])('native/%s/operations', (device) => {
  const texts = compiledTogether(`native/${device}/operations`)

  test('are read', () => {
    expect(texts.size).toBeGreaterThan(40)
    expect([...texts.values()].flatMap(ownFunctions).length).toBeGreaterThan(2)
  })

  test("call nothing by the name of another file's own function", () => {
    expect(mixedUp(texts)).toEqual([])
  })
})

test('what is planted is found', () => {
  const own = (text: string) => `namespace {\n\n${text}\n}  // namespace\n`
  const texts = new Map([
    [
      'a.cpp',
      own('template <class T>\nstd::vector<T> scaled(T x,\n        T y) {\n  return {x};\n}\n'),
    ],
    ['b.cpp', own('float own(float x) {\n  return scaled(x) + c.own(x);\n}\n')],
    ['c.h', 'inline float halved(float x) { return own<float>(x); }  // scaled(x)\n'],
  ])
  expect(mixedUp(texts)).toEqual(['scaled: a.cpp, b.cpp', 'own: b.cpp, c.h'])
})
