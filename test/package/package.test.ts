// The package as a user gets it: packed, installed in an empty folder under each package manager with
// install scripts blocked and no compiler, used; and compiled where no prebuilt binary fits.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { examineBinary } from '../../lib/addon/binary.js'
import { thisHost } from '../../lib/addon/host.js'
import { prebuiltPath } from '../../lib/addon/load.js'
import { ROOT } from '../support/child-process.js'
import { barePath, fetchPackage, packageManagers } from './package-managers.js'
import { releaseCommands } from './release-commands.js'

const execute = promisify(execFile)
const minutes = 60_000
const MOST_BYTES = 15e6

const own = prebuiltPath('/', thisHost()).slice(1)
const mac = 'prebuilds/darwin-arm64/ssm-metal.node'

/** Runs a program; resolves to both outputs and the exit code, whatever it is. */
async function run(file: string, words: readonly string[], cwd: string, env = process.env) {
  const options = { cwd, env, timeout: 9 * minutes, maxBuffer: 1e8 }
  return execute(file, [...words], options).then(
    (output) => ({ code: 0, ...output }),
    ({ code, stdout, stderr, message }) => ({ code, stdout, stderr: stderr || message }),
  )
}

async function runWell(...given: Parameters<typeof run>) {
  const result = await run(...given)
  expect(result.code, `${given[0]} ${given[1].join(' ')}: ${result.stdout}${result.stderr}`).toBe(0)
  return result
}

/** Packs a folder; resolves to the tarball and what is in it. */
async function pack(
  from: string,
  ...words: string[]
): Promise<{ tarball: string; files: string[] }> {
  const all = ['pack', '--json', '--pack-destination', folder, ...words]
  const { stdout } = await runWell('npm', all, from)
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n')))
  const files = packed.files.map(({ path }: { path: string }) => path)
  return { tarball: join(folder, packed.filename), files }
}

let folder: string
let tarball: string
let files: string[]
/** The folder of the package in the tarball. */
let unpacked: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-package-'))
  ;({ tarball, files } = await pack(ROOT))
  await runWell('tar', ['xzf', tarball], folder)
  unpacked = join(folder, 'package')
  if (!files.includes(own)) {
    // A clone in which nobody has made the prebuilt binaries: what was compiled here in the same place.
    expect(process.env.CI, `${own} is missing: npm run prebuilds`).toBeUndefined()
    await mkdir(dirname(join(unpacked, own)), { recursive: true })
    await cp(join(ROOT, 'build/Release/ssm.node'), join(unpacked, own))
    ;({ tarball, files } = await pack(unpacked, '--ignore-scripts'))
  }
}, 5 * minutes)

afterAll(() => rm(folder, { recursive: true, force: true }))

/** Streams from the built-in model; prints one object. */
const streaming = `
  import { loadModel } from 'ssm-metal'
  const model = await loadModel()
  const texts = []
  for await (const { text } of model.stream('The old man looked at the sea', { maxTokens: 12 })) texts.push(text)
  console.log(JSON.stringify({ texts, device: model.device.name }))
  model.dispose()
`
const evaluate = (code: string) => ['--input-type=module', '-e', code]

describe('the tarball', () => {
  it('holds what a user needs and nothing else', () => {
    const allowed = [
      'LICENSE',
      'README.md',
      'dist',
      'docs',
      'metal',
      'models',
      'native',
      'package.json',
      'page',
    ]
    const folders = new Set(files.map((file) => file.split('/')[0]!))
    expect([...folders].sort()).toEqual([...allowed, 'prebuilds', 'scripts'])
    for (const name of [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/index.d.cts',
      'dist/cli.js',
      'dist/ai-sdk/index.js',
      'dist/ai-sdk/index.d.ts',
      'dist/ai-sdk/index.d.cts',
      'native/addon/addon.cpp',
    ]) {
      expect(files).toContain(name)
    }
    const recipe = (name: string) => `docs/recipes/${name}.md`
    expect(files.filter((file) => file.startsWith('docs/'))).toEqual([
      'docs/ai-sdk.md',
      'docs/bundling.md',
      'docs/chat.md',
      'docs/convert.md',
      'docs/downloads.md',
      'docs/eval.md',
      'docs/pages.md',
      'docs/prompt-cache.md',
      'docs/published-files.md',
      ...['benchmark', 'chat', 'classify', 'convert', 'electron', 'fork'].map(recipe),
      ...['README', 'script', 'server', 'watch', 'workers'].map(recipe),
      'docs/scoring.md',
      'docs/serve.md',
      'docs/sessions.md',
      'docs/streams.md',
      'docs/structured-output.md',
      'docs/text.md',
    ])
    expect(files.filter((file) => file.startsWith('page/'))).toEqual([
      'page/index.html',
      'page/page.css',
      'page/page.js',
    ])
    expect(files.filter((file) => file.startsWith('scripts/'))).toEqual([
      'scripts/embed-metal.mjs',
      'scripts/kernel-file.mjs',
      'scripts/operations.mjs',
    ])
    expect(files.filter((file) => /\.(test|spec)\.|fixtures/.test(file))).toEqual([])
  })

  // npm 11 compiles at every `npm ci` when there is a binding.gyp, whatever package.json says; pnpm 12
  // fails when there is an install script.
  it('gives no package manager anything to run', async () => {
    const { scripts, gypfile } = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8'))
    for (const name of ['preinstall', 'install', 'postinstall'])
      expect(scripts).not.toHaveProperty(name)
    expect(gypfile).toBe(false)
    expect(files.filter((file) => file.endsWith('.gyp'))).toEqual(['dist/binding.gyp'])
  })

  it(`has at most ${MOST_BYTES / 1e6} MB`, async () => {
    const { size } = await stat(tarball)
    const binaries = files.filter((file) => file.startsWith('prebuilds/'))
    const rows = await Promise.all(
      binaries.map(async (file) => `  ${file}: ${(await stat(join(unpacked, file))).size} bytes`),
    )
    console.log(
      [`${basename(tarball)}: ${size} bytes, ${files.length} files, with`, ...rows].join('\n'),
    )
    expect(size).toBeLessThanOrEqual(MOST_BYTES)
  })

  it('has binaries that are made for the machine that their folder names', () => {
    for (const file of files.filter((each) => each.startsWith('prebuilds/'))) {
      const [platform, arch] = file.split('/')[1]!.split('-')
      const binary = examineBinary(join(unpacked, file))
      expect({ file, ...binary }).toMatchObject({ file, platform, archs: [arch] })
      expect(file).toMatch(
        platform === 'darwin' ? /\/ssm-metal\.node$/ : /\/ssm-metal\.(glibc|musl)\.node$/,
      )
    }
  })

  // Made by .ci/run; elsewhere it may be missing.
  it.skipIf(!existsSync(join(ROOT, mac)) && !process.env.CI)(
    'needs nothing else on the first Mac: the kernels are inside the binary',
    async () => {
      const binary = (await readFile(join(unpacked, mac))).toString('latin1')
      const kernels = (await readdir(join(ROOT, 'metal'))).filter((name) => name.endsWith('.metal'))
      expect(kernels.length).toBeGreaterThan(10)
      for (const name of kernels) expect(binary, name).toContain(`metal/${name}`)
      // What package.json asks for besides is JavaScript, or only for compiling.
      const { dependencies } = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8'))
      expect(Object.keys(dependencies).sort()).toEqual([
        '@huggingface/jinja',
        '@huggingface/tokenizers',
        '@mlc-ai/web-xgrammar',
        'node-addon-api',
      ])
    },
  )
})

describe.each(packageManagers)('installed by $name, scripts blocked, no compiler', (manager) => {
  let project: string
  let env: NodeJS.ProcessEnv
  let command: [string, string[]]
  let output: string

  beforeAll(async () => {
    const modules = await fetchPackage(manager.package, manager.version)
    project = join(folder, manager.name)
    await mkdir(project)
    await writeFile(join(project, 'package.json'), '{ "private": true }')
    const path = await barePath(project)
    const { npm_config_user_agent: _, npm_config_node_gyp: __, ...others } = process.env
    env = { ...others, PATH: path }
    const words = manager.program.map((word) => (word === 'node' ? word : join(modules, word)))
    command = [words[0]!, words.slice(1)]
    const install = [...command[1], ...manager.install, tarball]
    const { stdout, stderr } = await runWell(command[0], install, project, env)
    output = stdout + stderr
  }, 5 * minutes)

  it('has no compiler to compile with', async () => {
    for (const name of ['cc', 'c++', 'gcc', 'g++', 'clang', 'make', 'python3']) {
      expect((await run(name, ['--version'], project, env)).code).toBe('ENOENT')
    }
  })

  it('reports nothing that was blocked', () => {
    expect(output).not.toMatch(/block|ignored|untrusted|approve|allowScripts|install script/i)
  })

  it('streams text from the built-in model', async () => {
    const { stdout } = await runWell('node', evaluate(streaming), project, env)
    const { texts, device } = JSON.parse(stdout)
    expect(texts.length).toBeGreaterThan(3)
    expect(texts.join('').trim().length).toBeGreaterThan(10)
    expect(device).toBe('cpu')
  })

  it('has a command line, which says that it loaded the prebuilt binary', async () => {
    const words = [...command[1], ...manager.run, 'ssm-metal', 'info', '--json']
    const { stdout } = await runWell(command[0], words, project, env)
    expect(JSON.parse(stdout).addon).toBe(own)
  })

  it('names its own command where no prebuilt binary fits', async () => {
    const pretend = "data:text/javascript,Object.defineProperty(process,'arch',{value:'riscv64'})"
    const cli = join(project, 'node_modules/ssm-metal/dist/cli.js')
    const words = ['--import', pretend, cli, 'generate', '-p', 'Once']
    const { code, stderr } = await run('node', words, project, env)
    expect(code).toBe(1)
    const text = stderr.replaceAll(/\s+/g, ' ')
    expect(text).toContain(`no prebuilt binary for ${process.platform}-riscv64`)
    expect(text).toContain(`\`${manager.buildCommand}\``)
  })
})

describe('installed', () => {
  let project: string

  // As on a clean machine of the release workflow: the commands are its own.
  beforeAll(async () => {
    project = join(folder, 'project')
    await mkdir(project)
    await writeFile(join(project, 'package.json'), '{ "private": true }')
    await cp(tarball, join(project, basename(tarball)))
    await runWell('bash', ['-c', releaseCommands()[0]!], project)
  }, 2 * minutes)

  it.each(releaseCommands().slice(1))('%s', async (command) => {
    // All shapes take a minute; they have a suite of their own.
    const quick = command.replace(/verify .*/, '$& --quick')
    const { stdout } = await runWell('bash', ['-c', quick], project)
    expect(stdout.trim()).not.toBe('')
  })

  it('keeps to a format and takes turns: what runs on threads of its own', async () => {
    const program = `
      import { loadModel, PLAIN_CHAT_TEMPLATE } from 'ssm-metal'
      const model = await loadModel(undefined, { device: 'cpu' })
      const responseFormat = { type: 'regex', pattern: 'yes|no' }
      const { text } = await model.generate('Is it?', { responseFormat })
      const chat = model.createChat({ template: PLAIN_CHAT_TEMPLATE })
      const { usage } = await chat.send('Hello', { maxTokens: 3 })
      console.log(JSON.stringify([text, usage.completionTokens]))
      chat.dispose()
      model.dispose()`
    const { stdout } = await runWell('node', evaluate(program), project)
    expect(stdout.trim()).toMatch(/^\["(yes|no)",3\]$/)
  })

  it("runs the README's first program", async () => {
    const readme = await readFile(join(unpacked, 'README.md'), 'utf8')
    const program = /```js\n(.*?)```/s.exec(readme)![1]!
    const lines = program.split('\n').filter((line) => line.trim() !== '')
    expect(lines.length).toBeLessThanOrEqual(5)
    const { stdout } = await runWell('node', evaluate(program), project)
    expect(stdout.length).toBeGreaterThan(100)
  })

  it.runIf(process.platform === 'linux')(
    'says that Node 18 is too old',
    async () => {
      const name = `node-linux-${process.arch}`
      const node = join(await fetchPackage(name, '18.20.8'), name, 'bin/node')
      const cli = join(project, 'node_modules/ssm-metal/dist/cli.js')
      const { stdout } = await runWell(node, [cli, 'info'], project)
      expect(stdout).toContain('Node 18.20.8 is too old: ssm-metal needs 20.19 or newer')
    },
    2 * minutes,
  )

  it('can be required from CommonJS', async () => {
    const code =
      'console.log(typeof require("ssm-metal").loadModel, typeof require("ssm-metal/ai-sdk").ssmMetal)'
    const { stdout } = await runWell('node', ['--input-type=commonjs', '-e', code], project)
    expect(stdout.trim()).toBe('function function')
  })

  it(
    'type-checks in a strict project',
    async () => {
      await writeFile(
        join(project, 'use.mts'),
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
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
      const options =
        '--noEmit --strict --module nodenext --target es2023 --lib es2023,esnext.disposable --types node'
      const types = ['--typeRoots', join(ROOT, 'node_modules/@types')]
      await runWell('node', [tsc, ...options.split(' '), ...types, 'use.mts'], project)
    },
    2 * minutes,
  )

  it(
    'compiles where no prebuilt binary fits, by the command that the message names',
    async () => {
      const installed = join(project, 'node_modules/ssm-metal')
      await rm(join(installed, 'prebuilds'), { recursive: true })
      const before = await run('node', evaluate(streaming), project)
      expect(before.code).toBe(1)
      const text = before.stderr.replaceAll(/\s+/g, ' ')
      for (const part of ['ERR_ADDON_NOT_FOUND', 'nor any other', '`npx ssm-metal build`']) {
        expect(text).toContain(part)
      }
      // Compiled quickly: little is computed. `npm run build:native` has the options of a user.
      const env = { ...process.env, CXXFLAGS: '-O0' }
      const { stdout } = await runWell('npx', ['ssm-metal', 'build'], project, env)
      expect(stdout).toMatch(/^compiled and loaded .*build\/Release\/ssm\.node$/m)
      expect(existsSync(join(installed, 'binding.gyp'))).toBe(false)
      const after = await runWell('node', evaluate(streaming), project)
      expect(JSON.parse(after.stdout).texts.length).toBeGreaterThan(3)
    },
    10 * minutes,
  )

  it('says what compiling needs where it cannot be done', async () => {
    const bare = await barePath(project)
    const cli = join(project, 'node_modules/ssm-metal/dist/cli.js')
    const { npm_config_node_gyp: _, ...others } = process.env
    const { code, stderr } = await run('node', [cli, 'build'], project, { ...others, PATH: bare })
    expect(code).toBe(1)
    expect(stderr).toMatch(/node-gyp was not found|needs Python 3, make and a C\+\+20 compiler/)
  })
})
