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

test.each(kernelFiles)('%s is embedded as it is', (name) => {
  const text = new RegExp(`\\{"${name}", .*R"metal\\(\\n([^]*?)\\)metal"`).exec(sources)?.[1]
  // Token by token, macros expanded comments gone; Metal's own header is empty.
  const tokens = (input: string, ...args: string[]) => {
    const output = execFileSync(
      process.env.CXX ?? 'clang++-19',
      [
        '-E',
        '-P',
        '-nostdinc',
        '-D__METAL_VERSION__=310',
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
  expect(tokens(text ?? '', '-')).toEqual(tokens('', '-I', 'metal', `metal/${name}`))
})
