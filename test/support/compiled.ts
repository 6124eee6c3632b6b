// The TypeScript of this clone as JavaScript, for the programs that tests start: hundreds of processes, each of which
// would load a compiler first.

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
// It looks like the clone: code finds what lies beside it by paths from its own file.
const COMPILED = join(ROOT, 'build/compiled')
const WITH_TYPESCRIPT = ['lib', 'scripts', 'test']
const AS_THEY_ARE = ['build', 'fixtures']

/** The words with which Node runs a file: JavaScript where it is TypeScript of this clone. */
export function programWords(file: string): string[] {
  const path = relative(ROOT, file)
  if (!path.endsWith('.ts')) return [file]
  if (path.startsWith('..') || isAbsolute(path)) return ['--import', 'tsx', file]
  return [join(COMPILED, javaScriptOf(path))]
}

/** Compiles what is new, and drops what is no more. Types are checked elsewhere. */
export function compile(): void {
  mkdirSync(COMPILED, { recursive: true })
  const names = readdirSync(ROOT).filter((name) => !name.startsWith('.'))
  for (const name of names) {
    if (WITH_TYPESCRIPT.includes(name)) compileFolder(name)
    else link(name)
  }
}

function compileFolder(folder: string): void {
  const target = join(COMPILED, folder)
  if (isLink(target)) rmSync(target) // or what is written would be in the clone itself
  mkdirSync(target, { recursive: true })
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true })
  const kept = new Set<string>()
  for (const entry of entries) {
    const path = join(folder, entry.name)
    kept.add(entry.name)
    if (entry.isDirectory() && !AS_THEY_ARE.includes(entry.name)) compileFolder(path)
    else link(path)
    if (!/(?<!\.d|\.test)\.ts$/.test(entry.name)) continue
    kept.add(javaScriptOf(entry.name))
    compileFile(path)
  }
  for (const name of readdirSync(target)) {
    if (!kept.has(name)) rmSync(join(target, name), { recursive: true })
  }
}

function compileFile(path: string): void {
  const source = join(ROOT, path)
  const target = join(COMPILED, javaScriptOf(path))
  const { atime, mtime } = statSync(source)
  if (existsSync(target) && statSync(target).mtimeMs === mtime.getTime()) return
  // Only where something is new: it is large.
  const ts: typeof import('typescript') = createRequire(import.meta.url)('typescript')
  const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
    fileName: source,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  })
  // Whole at once: another run of tests may read it.
  const part = `${target}.${process.pid}`
  writeFileSync(part, outputText)
  utimesSync(part, atime, mtime)
  renameSync(part, target)
}

function link(path: string): void {
  const target = join(COMPILED, path)
  if (isLink(target)) return
  rmSync(target, { recursive: true, force: true })
  symlinkSync(join(ROOT, path), target)
}

const isLink = (path: string) =>
  lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true

const javaScriptOf = (path: string) => path.replace(/\.ts$/, '.js')
