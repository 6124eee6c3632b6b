// Follows docs/adding-an-operation.md in a copy of the tree, as somebody would who adds l2_norm, and counts what
// that takes. The copy keeps what is compiled: what has to be compiled again is part of the question.

import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const rig = join(root, 'test/software-metal/build')
const copy = mkdtempSync(join(tmpdir(), 'adding-'))
afterAll(() => rmSync(copy, { recursive: true }))

const OBJECTS = 'Release/obj.target/ssm'
const page = readFileSync(join(root, 'docs/adding-an-operation.md'), 'utf8')
/** The texts of the page, by the files that they are for. */
const blocks = new Map(
  [...page.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)].map(([, file, text]) => [file!, text!]),
)
/** Where the page's text goes in a file that is there already: in front of this. */
const PLACES: Record<string, string> = {
  'lib/operations/recorder.ts': '  /**\n   * The norm after a Mamba-2 scan',
  'lib/verify/cases/rows.ts': "    yield {\n      ...given,\n      operation: 'add',",
}

function run(program: string, args: string[], env: Record<string, string> = {}) {
  const clean = Object.entries(process.env).filter(
    ([name]) => !/VITEST|^SSM_|^NODE_ENV$/.test(name),
  )
  const options = { cwd: copy, encoding: 'utf8', maxBuffer: 1 << 28 } as const
  const all = { ...options, env: { ...Object.fromEntries(clean), ...env } }
  const { status, stdout, stderr } = spawnSync(program, args, all)
  expect(status, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`).toBe(0)
  return stdout
}

/** The suite of these files on an addon; the names of what passed come from vitest itself. */
function passing(files: string[], env: Record<string, string> = {}): number {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const words = ['run', '--project', 'shipped', '--reporter=json', ...files]
  const report = JSON.parse(run(process.execPath, [vitest, ...words], env))
  expect(report.numFailedTests + report.numFailedTestSuites).toBe(0)
  return report.numPassedTests
}

const newest = (folder: string): Map<string, number> =>
  new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.o'))
      .map((name) => [name, statSync(join(folder, name)).mtimeMs]),
  )

test('five new files and two edits, and nothing but tables is compiled', () => {
  const parts = ['lib', 'native', 'metal', 'scripts', 'build', 'binding.gyp', 'package.json']
  for (const part of [...parts, 'tsconfig.json', 'vitest.config.ts', 'test']) {
    cpSync(join(root, part), join(copy, part), {
      recursive: true,
      preserveTimestamps: true,
      filter: (path) => path !== rig && !path.startsWith(join(root, 'build/node_gyp_bins')),
    })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  symlinkSync(join(root, 'models'), join(copy, 'models'))

  const edited: string[] = []
  for (const [file, text] of blocks) {
    const path = join(copy, file)
    if (!existsSync(path)) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
      continue
    }
    const [before, after, ...more] = readFileSync(path, 'utf8').split(PLACES[file]!)
    expect([after === undefined, more.length], file).toEqual([false, 0])
    writeFileSync(path, before + text + PLACES[file] + after)
    edited.push(file)
  }
  expect(blocks.size - edited.length).toBeLessThanOrEqual(5)
  expect(edited).toEqual(['lib/operations/recorder.ts', 'lib/verify/cases/rows.ts'])

  const objects = join(copy, 'build', OBJECTS)
  const before = newest(objects)
  // As the addon was compiled here: make compiles again what another command had compiled.
  const made = readFileSync(
    join(copy, 'build/Release/.deps', OBJECTS, 'native/operation.o.d'),
    'utf8',
  )
  const CXX = /:= (.*?) -o /.exec(made)![1]!
  const gyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js')
  const env = { CXX, NODE_OPTIONS: '--preserve-symlinks' }
  run(process.execPath, [gyp, 'configure', 'build', '--jobs', 'max'], env)
  const compiled = [...newest(objects)].filter(([name, time]) => before.get(name) !== time)
  expect(compiled.map(([name]) => name.replace(/^.*?(gen|native)\//, '')).sort()).toEqual([
    'cpu_operations.o',
    'fast_operations.o',
    'operations.o',
  ])

  run(process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    '--noEmit',
    '-p',
    'tsconfig.json',
  ])
  const files = ['l2-norm', 'threads', 'operations-table', 'recorder-checks']
  expect(passing(files.map((name) => `test/ops/${name}.test.ts`))).toBeGreaterThan(100)
  expect(passing(['test/ops/l2-norm.test.ts'], { SSM_METAL_ADDON: onTheRig() })).toBe(19)
})

/** Links the addon of project 'software-metal' anew, with l2_norm; returns its path. */
function onTheRig(): string {
  interface Entry {
    directory: string
    command: string
    file: string
  }
  const entries: Entry[] = JSON.parse(readFileSync(join(rig, 'compile_commands.json'), 'utf8'))
  const folder = join(copy, 'rig')
  mkdirSync(join(folder, 'kernels'), { recursive: true })
  const tables = ['', 'cpu_', 'fast_', 'metal_'].map((name) => `${name}operations.cpp`)
  const scripts = (name: string) => join(copy, `scripts/${name}.mjs`)
  run(process.execPath, [scripts('operations'), ...tables.map((name) => join(folder, name))])
  run(process.execPath, [scripts('embed-metal'), join(folder, 'kernel_sources.cpp')])
  run(process.execPath, [
    join(copy, 'test/software-metal/compile-kernels.mjs'),
    ...[join(copy, 'metal/l2_norm.metal'), join(folder, 'kernels/l2_norm.cpp')],
  ])
  const targets = /\b(arc|stand_in|stand_in_module|rig|shared_host|software_metal_kernels)\.dir/
  const linked: string[] = []
  const compile = (entry: Entry, file: string) => {
    const object = join(folder, `${linked.length}.o`)
    const command = entry.command
      .replaceAll(/-I\S*\/test\/software-metal\/\.\.\/\.\.(?=\s)/g, `-I${copy}`)
      .replace(/-o \S+ -c \S+/, `-o ${object} -c ${file}`)
    run('sh', ['-c', `cd ${entry.directory} && ${command}`])
    linked.push(object)
  }
  for (const entry of entries) {
    const output = / -o (\S+\.o) /.exec(entry.command)?.[1]
    if (output === undefined || !targets.test(output)) continue // a precompiled header, another addon
    const generated = [...tables, 'kernel_sources.cpp'].find(
      (name) => entry.file === join(rig, name),
    )
    if (generated) compile(entry, join(folder, generated))
    else linked.push(join(entry.directory, output))
    // Its kernel beside that of rms_norm.
    if (entry.file === join(rig, 'kernels/rms_norm.cpp')) {
      compile(entry, join(folder, 'kernels/l2_norm.cpp'))
    }
  }
  const addon = join(folder, 'metal_device.node')
  const compiler = entries[0]!.command.split(' ')[0]!
  run(compiler, ['-shared', '-o', addon, ...linked, '-ldl', '-pthread'])
  return addon
}
