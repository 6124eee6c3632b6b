// The text of the kernels that the addon of a Mac has: what the rig compiles. The rest of that addon is
// held in test/prebuilds.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { root } from './clang.js'

const folder = mkdtempSync(join(tmpdir(), 'embedded-'))
afterAll(() => rmSync(folder, { recursive: true }))
const kernelFiles = readdirSync(join(root, 'metal')).filter((name) => name.endsWith('.metal'))
const embedded = join(folder, 'kernel_sources.cpp')
execFileSync('node', [join(root, 'scripts/embed-metal.mjs'), embedded])
const sources = readFileSync(embedded, 'utf8')

// With constants of each kind: metal/constants.h makes them literals, and buffers absent or not.
test.each(
  kernelFiles.flatMap((name) => [
    [name, 0],
    [name, 1],
  ]) as [string, number][],
)('%s is embedded as it is, constants being %d', (name, value) => {
  const text = new RegExp(`\\{"${name}", .*R"metal\\(([^]*?)\\)metal"`).exec(sources)?.[1]
  const declared = [...(text ?? '').matchAll(/^SSM_CONSTANT\(\w+, (\w+)\);/gm)]
  const constants = declared.map(([, name]) => `-DSSM_VALUE_${name}=${value}`)
  // Token by token, macros expanded, comments gone; Metal's own header is empty.
  const tokens = (input: string, ...args: string[]) => {
    const output = execFileSync(
      process.env.CXX ?? 'clang++-19',
      [
        '-E',
        '-P',
        '-nostdinc',
        '-D__METAL_VERSION__=310',
        '-DSSM_KERNEL=name',
        ...constants,
        '-I',
        'test/software-metal/include-empty',
        '-x',
        'c++',
        ...args,
      ],
      { cwd: root, input, encoding: 'utf8' },
    )
    return output.trim().split(/\s+/)
  }
  expect(text).not.toMatch(/#\s*include\s*"/)
  const embedded = tokens(text ?? '', '-')
  expect(embedded).toEqual(tokens('', '-I', '.', `metal/${name}`))
  expect(embedded.join(' ')).not.toContain('SSM_')
})
