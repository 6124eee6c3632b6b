// What a Mac of CI gives to Apple's compilers (scripts/compile-metal.mjs), with programs of ours in their
// place that keep what they are given.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { builtIn, root, typeCheck } from './clang.js'

const folder = mkdtempSync(join(tmpdir(), 'compile-metal-'))
afterAll(() => rmSync(folder, { recursive: true }))
const [programs, kept] = [join(folder, 'bin'), join(folder, 'kept')]
const program = (name: string, text: string) =>
  writeFileSync(join(programs, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })

beforeAll(() => {
  for (const path of [programs, kept]) mkdirSync(path)
  // The file comes after -c. Refuses one that says so.
  program(
    'xcrun',
    `echo "$@" >> '${folder}/arguments'
while [ "$1" != -c ]; do shift; done
cp "$2" '${kept}'
! grep -q REFUSED "$2"`,
  )
  // Makes a program that counts the texts.
  program(
    'clang++',
    `while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho driver: $# texts\\n' > "$2"
chmod +x "$2"`,
  )
})

// The texts of the addon on a Mac; over the stand-in they are the same.
const addon = builtIn('Release/metal_device.node')

function compileMetal(...args: string[]) {
  const env = { ...process.env, SSM_METAL_ADDON: addon, PATH: `${programs}:${process.env.PATH}` }
  const script = join(root, 'scripts/compile-metal.mjs')
  return spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env })
}

describe('compile-metal', () => {
  test('compiles the very texts that a Mac does for published models', { timeout: 300_000 }, () => {
    const { status, stdout, stderr } = compileMetal()
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const again = join(folder, 'again')
    const env = { ...process.env, SSM_METAL_ADDON: addon }
    const script = join(root, 'scripts/write-kernel-texts.ts')
    spawnSync(process.execPath, ['--import', 'tsx', script, again], { env, cwd: root })
    const names = readdirSync(again)
    expect(names.length).toBeGreaterThan(50)
    expect(stdout).toContain(`xcrun metal: ${names.length} of ${names.length} texts compile`)
    expect(stdout).toContain(`driver: ${names.length} texts`)
    expect(readdirSync(kept).sort()).toEqual(names.sort())
    for (const name of names) {
      const text = readFileSync(join(kept, name), 'utf8')
      expect(text).toMatch(/^#define SSM_KERNEL /)
      expect(text).toBe(readFileSync(join(again, name), 'utf8'))
    }
    const words = readFileSync(join(folder, 'arguments'), 'utf8')
    expect(words).toMatch(/^-sdk macosx metal -std=metal3\.1 -fno-fast-math -c /)
  })

  test('compiles the texts of a folder, and fails with one that is refused', () => {
    const texts = join(folder, 'texts')
    mkdirSync(texts)
    writeFileSync(join(texts, 'right.metal'), 'kernel')
    expect(compileMetal(texts).status).toBe(0)
    writeFileSync(join(texts, 'wrong.metal'), 'REFUSED')
    const { status, stdout } = compileMetal(texts)
    expect(stdout).toContain('xcrun metal: 1 of 2 texts compile')
    expect(status).toBe(1)
  })

  test('fails without a text', () => {
    expect(compileMetal(programs).status).toBe(1)
  })
})

describe('compile-texts.mm', () => {
  const text = readFileSync(join(root, 'test/metal-device/compile-texts.mm'), 'utf8')

  test('is right for a Mac', () => {
    expect(typeCheck(text)).toMatchObject({ status: 0, stderr: '' })
  })

  test('has the options of the device', () => {
    const device = readFileSync(join(root, 'native/metal/apple/pipelines.mm'), 'utf8')
    const options = (source: string) => source.match(/\boptions\.\w+ = \w+;/g)
    expect(options(text)).toEqual(options(device))
    expect(options(text)?.length).toBeGreaterThan(3)
  })
})
