// Writes a C++ file that holds the kernels of metal/ as text, their own headers inlined: a Mac
// compiles them at first use, so that building the addon needs no Metal compiler.
//   node scripts/embed-metal.mjs <output>
// binding.gyp runs it. native/metal/kernel_source.h says what the file defines.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { declaredConstants, instantiations, kernelFunctions } from './kernel-file.mjs'

const folder = new URL('../metal/', import.meta.url)
const output = process.argv[2]
if (!output) {
  console.error('usage: node scripts/embed-metal.mjs <output>')
  process.exit(2)
}
const files = readdirSync(fileURLToPath(folder)).filter((name) => name.endsWith('.metal'))
const text = [
  '// Written by scripts/embed-metal.mjs from metal/.',
  '#include "native/metal/kernel_source.h"',
  '',
  'namespace ssm::metal {',
  '',
  'const std::vector<KernelSource>& kernel_sources() {',
  '  // Never destroyed: threads may outlive main().',
  '  static const auto& sources = *new std::vector<KernelSource>{',
  ...files.sort().map(entry),
  '  };',
  '  return sources;',
  '}',
  '',
  '}  // namespace ssm::metal',
  '',
].join('\n')
mkdirSync(dirname(output), { recursive: true })
writeFileSync(output, text)

/** One element of the table. */
function entry(file) {
  const source = inlined(file, new Set())
  const instances = instantiations(source)
  const functions = kernelFunctions(source).map((name) => {
    const lists = instances.find((instance) => instance.name === name)?.arguments ?? []
    const quoted = lists.map((list) => `{${list.map((word) => `"${word}"`).join(', ')}}`)
    return `{"${name}", {${quoted.join(', ')}}}`
  })
  if (functions.length === 0) throw new Error(`metal/${file}: has no kernel`)
  const constants = declaredConstants(source).map(
    ({ name, type }) => `{"${name}", ${type === 'bool'}}`,
  )
  if (constants.length !== (source.match(/^ *SSM_CONSTANT\b/gm) ?? []).length) {
    throw new Error(`metal/${file}: constants are \`SSM_CONSTANT(bool|uint, name);\``)
  }
  return `{"${file}", {${functions.join(', ')}}, {${constants.join(', ')}}, R"metal(${source})metal"},`
}

/** The text with each header of metal/ in the place of its first inclusion. */
function inlined(file, seen) {
  seen.add(file)
  const lines = readFileSync(new URL(file, folder), 'utf8').trimEnd().split('\n')
  if (lines.some((line) => line.includes(')metal"'))) throw new Error(`metal/${file}: has )metal"`)
  const result = [`#line 1 "metal/${file}"`] // so that the compiler's messages name the file
  lines.forEach((line, i) => {
    const header = /^\s*#\s*include\s*"metal\/([^"]*)"/.exec(line)?.[1]
    if (header === undefined) {
      result.push(/^\s*#\s*pragma\s+once/.test(line) ? '' : line)
    } else {
      if (!seen.has(header)) result.push(inlined(header, seen).trimEnd())
      result.push(`#line ${i + 2} "metal/${file}"`)
    }
  })
  return `${result.join('\n')}\n`
}
