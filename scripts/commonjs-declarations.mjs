// Declarations for CommonJS, beside those of ES modules: the same text under other names.
//
// Node's require() loads ES modules since 20.19, but TypeScript takes a file for a module of the kind that its
// name says, and for `module: node16`, and before 5.8 for all settings, refuses to require an ES module. So
// package.json names .d.cts files for those who require. They are made from what tsc has written to dist, or to
// the folder that is named.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const DIST = process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url))

const done = new Set()
const waiting = ['./index', './ai-sdk/index']
for (const name of waiting) {
  if (done.has(name)) continue
  done.add(name)
  const text = readFileSync(join(DIST, `${name}.d.ts`), 'utf8')
  // tsc quotes the imports that it adds for types in the other way.
  const imports = /((?:from|import)[ (](['"]))(\.[^'"]*)\.js\2/g
  const renamed = text.replaceAll(imports, (_, before, quote, path) => {
    waiting.push(join(name, '..', path))
    return `${before}${path}.cjs${quote}`
  })
  if (/['"]\.[^'"]*\.js['"]/.test(renamed))
    throw new Error(`${name}.d.ts: an import was not recognised`)
  writeFileSync(join(DIST, `${name}.d.cts`), renamed)
}
