// An application in one file: what a bundler makes of the library, what it says about its addon, and how the
// package is kept external. The archives of Electron too.

import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { thisHost } from '../../lib/addon/host.js'
import { loadAddon, prebuiltPath } from '../../lib/addon/load.js'
import { isInArchive, onDisk, packageFolder, scriptOf } from '../../lib/support/location.js'
import { Memory } from '../../lib/operations/tensor.js'
import { VERSION } from '../../lib/support/version.js'
import { bundle } from '../support/bundle.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { ROOT } from '../support/child-process.js'

const execute = promisify(execFile)
const ADDON = join(ROOT, 'build/Release/ssm.node')

/** Runs a file as a user would, in its folder; fails the test when it writes anything to standard error. */
async function run(file: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { SSM_METAL_ADDON: _, NODE_OPTIONS: __, ...others } = process.env
  const options = { cwd: dirname(file), env: { ...others, ...env } }
  const { stdout, stderr } = await execute(process.execPath, [file], options)
  expect(stderr).toBe('')
  return stdout
}

const report = (expression: string) => `
  import * as library from 'ssm-metal'
  Promise.resolve().then(() => ${expression}).then(
    (value) => console.log(JSON.stringify({ value })),
    ({ name, code, reason, message }) => console.log(JSON.stringify({ name, code, reason, message })),
  )`

describe.each(['cjs', 'esm'] as const)('bundled as %s', (format) => {
  it('is imported without its files', async () => {
    const file = await bundle(
      "import { loadModel } from 'ssm-metal'; console.log(typeof loadModel)",
      format,
    )
    expect(await run(file)).toBe('function\n')
  })

  it('says that it was bundled, into which file, and how to keep it external', async () => {
    const file = await bundle(report("library.createDevice('cpu')"), format, { minify: true })
    const error = JSON.parse(await run(file))
    expect(error).toMatchObject({
      name: 'AddonNotFoundError',
      code: 'ERR_ADDON_NOT_FOUND',
      reason: 'bundled',
    })
    const text = error.message.replaceAll(/\s+/g, ' ')
    expect(text).toContain(`bundled into ${file}`)
    for (const word of [
      '--external:ssm-metal',
      'webpack',
      'serverExternalPackages',
      'docs/bundling.md',
    ]) {
      expect(text).toContain(word)
    }
    expect(text).not.toContain('Tried:')
  })

  it('says so about the built-in model and about the benchmark', async () => {
    const model = JSON.parse(await run(await bundle(report('library.loadModel()'), format)))
    expect(model).toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' })
    expect(model.message).toMatch(/built-in.*bundled.*--external:ssm-metal/)
    const options = JSON.stringify({ models: [fixture('rene')], device: 'cpu' })
    const trial = JSON.parse(await run(await bundle(report(`library.bench(${options})`), format)))
    expect(trial.message).toMatch(/^\[bench\] .*bundled.*--external:ssm-metal/)
  })

  it('computes with an addon that is named, and its version is its own', async () => {
    const expression = `library.loadModel(${JSON.stringify(fixture('rene'))}).then((m) => m.generate([1], { maxTokens: 2 })).then((r) => r.tokens.length)`
    const file = await bundle(report(expression), format)
    await writeFile(
      join(dirname(file), 'package.json'),
      '{ "name": "application", "version": "9.9.9" }',
    )
    expect(JSON.parse(await run(file, { SSM_METAL_ADDON: ADDON }))).toEqual({ value: 2 })
    expect(await readFile(file, 'utf8')).toContain(`"${VERSION}"`)
  })
})

// The recipes of docs/bundling.md, word for word.
describe('kept external', () => {
  it('runs from node_modules beside the bundle', async () => {
    const folder = await temporaryFolder()
    const installed = join(folder, 'node_modules/ssm-metal')
    await mkdir(join(installed, dirname(prebuiltPath('', thisHost()))), { recursive: true })
    await cp(ADDON, prebuiltPath(installed, thisHost()))
    const { outputFiles } = await (await import('esbuild')).build({
      entryPoints: [join(ROOT, 'lib/index.ts')],
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20.19',
      write: false,
    })
    // What tsc makes of lib/index.ts, in one file of the same name.
    await mkdir(join(installed, 'dist/support'), { recursive: true })
    await writeFile(join(installed, 'dist/support/location.js'), outputFiles[0]!.text)
    await writeFile(
      join(installed, 'package.json'),
      '{ "name": "ssm-metal", "type": "module", "exports": "./dist/support/location.js" }',
    )
    await symlink(join(ROOT, 'models'), join(installed, 'models'))
    await writeFile(
      join(folder, 'main.js'),
      report(
        "library.loadModel().then((m) => m.generate('Once', { maxTokens: 3 })).then((r) => r.tokens.length)",
      ),
    )
    const recipe = /^npx esbuild (.*)$/m.exec(
      await readFile(join(ROOT, 'docs/bundling.md'), 'utf8'),
    )![1]!
    expect(recipe).toContain('--external:ssm-metal')
    // A script, or the program itself where npm ran the script of its installation.
    const esbuild = join(ROOT, 'node_modules/esbuild/bin/esbuild')
    await execute(esbuild, recipe.split(' '), { cwd: folder })
    const output = /--outfile=(\S+)/.exec(recipe)![1]!
    expect(JSON.parse(await run(join(folder, output)))).toEqual({ value: 3 })
  })
})

describe('the place of the package', () => {
  // esbuild leaves import.meta.url empty in CommonJS; webpack writes down what it was when it bundles, copies the
  // files of `new URL(…, import.meta.url)`, and takes the calls of an imported createRequire for its own.
  it('is asked for in one file, and bundlers have nothing to rewrite', async () => {
    const names = (await readdir(join(ROOT, 'lib'), { recursive: true })).filter((name) =>
      name.endsWith('.ts'),
    )
    const asking: string[] = []
    for (const name of names) {
      const text = (await readFile(join(ROOT, 'lib', name), 'utf8')).replaceAll(
        /^\s*(\/\/|\*|\/\*).*$/gm,
        '',
      )
      // A text may name them.
      const code = text.replaceAll(/'[^'\n]*'/g, "''")
      if (/import\.meta|__(file|dir)name/.test(code)) asking.push(name)
      expect(text, name).not.toMatch(/import \{[^}]*createRequire|new URL\([^)]*import\.meta/)
    }
    expect(asking).toEqual(['support/location.ts'])
  })

  it('is this clone', () => {
    expect(`${packageFolder()}/`).toBe(ROOT)
    expect(scriptOf('bench/trial-process')).toBe(join(ROOT, 'lib/bench/trial-process.ts'))
  })

  it('has the version of its package.json', async () => {
    expect(VERSION).toBe(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')).version)
  })
})

describe("an archive of Electron's", () => {
  it('is left for what lies unpacked beside it', async () => {
    const folder = await temporaryFolder()
    const inside = 'node_modules/ssm-metal'
    await writeFile(join(folder, 'app.asar'), 'one file')
    const unpacked = join(folder, 'app.asar.unpacked', inside)
    await mkdir(dirname(prebuiltPath(unpacked, thisHost())), { recursive: true })
    await cp(ADDON, prebuiltPath(unpacked, thisHost()))
    await cp(join(fixture('rene'), 'model.safetensors'), join(unpacked, 'model.safetensors'))
    const root = join(folder, 'app.asar', inside)
    const override = process.env.SSM_METAL_ADDON
    delete process.env.SSM_METAL_ADDON
    try {
      const { path, name, addon } = loadAddon(root)
      expect(path).toBe(prebuiltPath(unpacked, thisHost()))
      expect(name).toBe(prebuiltPath('', thisHost()))
      expect(addon.deviceNames()).toContain('cpu')
    } finally {
      if (override !== undefined) process.env.SSM_METAL_ADDON = override
    }
    const weights = Memory.mapFile(join(root, 'model.safetensors'))
    expect(weights.byteLength).toBeGreaterThan(1000)
    weights.dispose()
  })

  it('says how to unpack what the system must open', async () => {
    const path = join(await temporaryFolder(), 'app.asar/models/model.safetensors')
    expect(() => Memory.mapFile(path)).toThrow(/app\.asar.*archive of Electron.*asarUnpack/)
  })

  it.each([
    ['/a/app.asar/b', true],
    ['C:\\a\\app.asar\\b', true],
    ['/a/app.asar.unpacked/b', false],
    ['/a/basar/b', false],
    ['/a/app.asar', false],
  ])('%s', (path, expected) => {
    expect(isInArchive(path)).toBe(expected)
    expect(onDisk(path)).toBe(path)
  })
})
