// The recipes that no test can run: their code must fit the package's types. Those of Electron are a few declarations
// of our own.

import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../support/child-process.js'
import { blocksOf } from '../support/recipes.js'

const LIBRARY = join(ROOT, 'lib/index.ts')

/** The errors of TypeScript in modules, as `line: message`. */
function errorsOf(modules: readonly string[]): string[] {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
    paths: { 'ssm-metal': [LIBRARY] },
    baseUrl: ROOT,
  }
  // Files of a folder that is not there: what they import is found from the package's own.
  const texts = new Map(modules.map((text, i) => [join(ROOT, `recipes/recipe-${i}.mts`), text]))
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (name) => texts.has(name) || fileExists(name)
  host.readFile = (name) => texts.get(name) ?? readFile(name)
  const files = [...texts.keys(), join(ROOT, 'test/recipes/electron.d.ts')]
  const program = ts.createProgram(files, options, host)
  return [...texts.keys()].flatMap((name) => {
    const file = program.getSourceFile(name)!
    const found = [
      ...program.getSyntacticDiagnostics(file),
      ...program.getSemanticDiagnostics(file),
    ]
    return found.map(({ start = 0, messageText }) => {
      const line = file.getLineAndCharacterOfPosition(start).line + 1
      return `${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
    })
  })
}

describe('recipes that are type-checked only', () => {
  it('say so, and fit the types', async () => {
    const pages = await Promise.all(
      ['benchmark', 'electron'].map((name) => blocksOf(`docs/recipes/${name}.md`)),
    )
    const modules = pages.flat().filter(({ language }) => language === 'ts')
    expect(modules).toHaveLength(3)
    const wrong = 'import { loadModel } from "ssm-metal"\nawait loadModel(1)'
    const errors = errorsOf([...modules.map(({ text }) => text), wrong])
    expect(errors).toEqual([expect.stringMatching(/^2: .*'number' is not assignable/)])
  }, 120_000)
})
