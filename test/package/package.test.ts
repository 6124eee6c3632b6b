// The package as a user gets it: packed, installed in an empty folder, compiled there, used. Also
// with a prebuilt binary only, and with none at all.

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const fixture = join(root, 'test/fixtures/reference/rene')
const minutes = 60_000

let folder: string
let files: string[]
let installed: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-package-'))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: root,
  })
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  files = packed.files.map(({ path }: { path: string }) => path)
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  // Compile even where this checkout holds a prebuilt binary.
  const env = { ...process.env, JOBS: 'max', npm_config_build_from_source: 'true' }
  await run('npm', ['install', '--no-audit', '--no-fund', `./${packed.filename}`], {
    cwd: folder,
    env,
  })
  installed = join(folder, 'node_modules/ssm-metal')
  // npm 12 blocks install scripts: then this is the command that our error message names.
  if (!(await readdir(installed)).includes('build')) {
    await run('npm', ['rebuild', 'ssm-metal'], { cwd: folder, env })
  }
}, 10 * minutes)

afterAll(() => rm(folder, { recursive: true, force: true }))

const script = `
  import { loadModel } from 'ssm-metal'
  const model = await loadModel(${JSON.stringify(fixture)})
  const { tokens } = await model.generate([1, 2, 3], { maxTokens: 4 })
  console.log(JSON.stringify({ tokens, device: model.device.name }))
  model.dispose()
`

describe('the packed package', () => {
  it('holds what a user needs and nothing else', () => {
    const folders = new Set(files.map((file) => file.split('/')[0]))
    const allowed = [
      'prebuilds',
      'LICENSE',
      'README.md',
      'binding.gyp',
      'scripts',
      'package.json',
      'dist',
      'native',
      'metal',
      'models',
    ]
    for (const name of folders) expect(allowed).toContain(name)
    expect(files).toContain('dist/index.js')
    expect(files).toContain('dist/index.d.ts')
    expect(files).toContain('dist/cli.js')
    expect(files).toContain('native/addon.cpp')
    expect(files).toContain('metal/ssd_update.h')
    expect(files.filter((file) => file.startsWith('scripts/'))).toEqual(['scripts/embed-metal.mjs'])
    expect(files.filter((file) => /\.(test|spec)\.|fixtures/.test(file))).toEqual([])
  })

  it('imports, loads a model and generates', async () => {
    const { stdout } = await run('node', ['--input-type=module', '-e', script], { cwd: folder })
    const result = JSON.parse(stdout)
    expect(result.tokens).toHaveLength(4)
    expect(result.device).toBe('cpu')
  })

  it('can be required from CommonJS', async () => {
    const { stdout } = await run(
      'node',
      ['--input-type=commonjs', '-e', 'console.log(typeof require("ssm-metal").loadModel)'],
      { cwd: folder },
    )
    expect(stdout.trim()).toBe('function')
  })

  it('has a command line', async () => {
    const { stdout } = await run('npx', ['ssm-metal', 'show', fixture, '--json'], { cwd: folder })
    expect(JSON.parse(stdout).architecture).toBe('rene')
  })

  it(
    'type-checks in a strict project',
    async () => {
      await writeFile(
        join(folder, 'use.ts'),
        `import { loadModel } from 'ssm-metal'
       const model = await loadModel('x', { quantize: { bits: 4 } })
       const { data }: { data: Float32Array } = await model.logits([1])
       for await (const { text, token } of model.stream('x', { maxTokens: 1 })) {
         const both: [string, number | undefined] = [text, token]
         void both
       }
       // @ts-expect-error: a misspelt option
       await model.generate('x', { temprature: 1 })
       void data`,
      )
      const tsc = join(root, 'node_modules/typescript/bin/tsc')
      const options =
        '--noEmit --strict --module nodenext --target es2023 --lib es2023,esnext.disposable'
      const types = join(root, 'node_modules/@types')
      await run(
        'node',
        [tsc, ...options.split(' '), '--typeRoots', types, '--types', 'node', 'use.ts'],
        {
          cwd: folder,
        },
      )
    },
    2 * minutes,
  )
})

describe('the native addon', () => {
  it('loads from a prebuilt binary alone', async () => {
    await rm(join(installed, 'prebuilds'), { recursive: true, force: true })
    const prebuilds = join(installed, 'prebuilds', `${process.platform}-${process.arch}`)
    await mkdir(prebuilds, { recursive: true })
    await cp(join(installed, 'build/Release/ssm.node'), join(prebuilds, 'ssm-metal.node'))
    await rm(join(installed, 'build'), { recursive: true })
    const env = { ...process.env, PREBUILDS_ONLY: '1' }
    const { stdout } = await run('node', ['--input-type=module', '-e', script], {
      cwd: folder,
      env,
    })
    expect(JSON.parse(stdout).tokens).toHaveLength(4)
  })

  it('says what to do when there is no binary', async () => {
    await rm(join(installed, 'prebuilds'), { recursive: true })
    const failure = await run('node', ['--input-type=module', '-e', script], { cwd: folder }).then(
      () => undefined,
      (error) => error,
    )
    expect(failure?.code).toBe(1)
    expect(failure.stderr).toContain('Could not load the native addon')
    expect(failure.stderr).toContain('npm rebuild ssm-metal')
    expect(failure.stderr).toContain('ERR_ADDON_NOT_FOUND')
  })
})
