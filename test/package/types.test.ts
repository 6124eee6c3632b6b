// The declarations in projects of users, all of them checked (`skipLibCheck: false`) without the types of Node
// or of the DOM: the oldest TypeScript that is promised and ours, every way to find a module.

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT } from '../support/child-process.js'
import { fetchPackage } from './package-managers.js'

const execute = promisify(execFile)
const minutes = 60_000
const OURS = join(ROOT, 'node_modules/typescript')

let folder: string
let oldest: string

// What tsc says of each project, nothing where all is well. In one process: half of the time of one alone goes into
// loading the compiler and into running it for the first time.
const checker = `
const [, , typescript, ...configs] = process.argv
const ts = require(typescript)
const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic() {} }
const format = { getCurrentDirectory: () => '', getNewLine: () => '\\n', getCanonicalFileName: (name) => name }
const texts = configs.map((config) => {
  const { fileNames: rootNames, options, errors } = ts.getParsedCommandLineOfConfigFile(config, {}, host)
  const program = ts.createProgram({ rootNames, options, configFileParsingDiagnostics: errors })
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), format)
})
console.log(JSON.stringify(texts))
`

/** Uses of the package, in a module of either kind. */
const program = `
import { createDevice, loadModel, type LoadOptions, type TextChunk, UnsupportedOptionError } from 'ssm-metal'
import { createSsmMetal, type SsmMetalProviderOptions } from 'ssm-metal/ai-sdk'

const signal = {
  aborted: false,
  addEventListener(_type: 'abort', _listener: () => void) {},
  removeEventListener(_type: 'abort', _listener: () => void) {},
}
const options: LoadOptions = { device: 'cpu', threads: 2, signal }

export async function main(): Promise<string> {
  using device = createDevice('cpu')
  const x: Float32Array | Uint8Array | Uint16Array | Uint32Array = device.tensor('float32', [1]).read()
  await using model = await loadModel('./model', options)
  await using stream = model.stream('Once', { maxTokens: x.length })
  const chunks: TextChunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  const ssmMetal: SsmMetalProviderOptions = { minP: 0.1 }
  const { modelId }: { modelId: string } = createSsmMetal({ device: 'cpu' })(model)
  void [ssmMetal, modelId]
  const { finishReason }: { finishReason: 'stop' | 'length' | 'abort' } = await stream.result
  return finishReason
}

// @ts-expect-error: there is no such device
createDevice('tpu')
export const code: 'ERR_UNSUPPORTED_OPTION' = new UnsupportedOptionError('').code
`

type Project = readonly [name: string, options: object, files: readonly string[]]

/** What a compiler says of projects, by their names. */
async function check(
  typescript: string,
  projects: readonly Project[],
): Promise<Map<string, string>> {
  await Promise.all(projects.map(writeProject))
  const configs = projects.map(([name]) => join(folder, `${name}.json`))
  const { stdout } = await execute(process.execPath, [
    ...[join(folder, 'checker.cjs'), typescript, ...configs],
  ])
  const texts: string[] = JSON.parse(stdout)
  return new Map(projects.map(([name], i) => [name, texts[i]!]))
}

function writeProject([name, options, files]: Project) {
  const compilerOptions = {
    lib: ['es2022'],
    target: 'es2022',
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    ...options,
  }
  return writeFile(join(folder, `${name}.json`), JSON.stringify({ compilerOptions, files }))
}

const MODES: readonly Project[] = [
  ['node16', { module: 'node16' }, ['module.mts', 'common.cts']],
  ['nodenext', { module: 'nodenext' }, ['module.mts', 'common.cts']],
  ['bundler', { module: 'esnext', moduleResolution: 'bundler' }, ['neither.ts']],
  ['node10', { module: 'commonjs', moduleResolution: 'node10' }, ['neither.ts']],
]
const DOM: Project = ['dom', { module: 'nodenext', lib: ['es2022', 'dom'] }, ['module.mts']]
/** What must not pass. */
const WRONG: Project = ['wrong', { module: 'nodenext', skipLibCheck: true }, ['wrong.mts']]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-types-'))
  oldest = join(await fetchPackage('typescript', '5.4.5'), 'typescript')
  const installed = join(folder, 'node_modules/ssm-metal')
  await mkdir(installed, { recursive: true })
  await cp(join(ROOT, 'package.json'), join(installed, 'package.json'))
  const dist = join(installed, 'dist')
  // Whether our own files are right `npm run check` says.
  const words = ['-p', join(ROOT, 'tsconfig.json'), '--emitDeclarationOnly', '--noCheck']
  await execute(process.execPath, [join(OURS, 'lib/tsc.js'), ...words, '--outDir', dist])
  await execute(process.execPath, [join(ROOT, 'scripts/commonjs-declarations.mjs'), dist])
  for (const name of ['module.mts', 'common.cts', 'neither.ts']) {
    await writeFile(join(folder, name), program)
  }
  const wrong = `import { createDevice } from 'ssm-metal'\ncreateDevice('tpu')\n`
  await writeFile(join(folder, 'wrong.mts'), wrong)
  await writeFile(join(folder, 'checker.cjs'), checker)
}, 3 * minutes)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe.each([
  ['TypeScript 5.4', () => oldest, []],
  ['our TypeScript', () => OURS, [DOM]],
])('%s', (_, compiler, more) => {
  const projects = [...MODES, ...more]
  let found: Map<string, string>
  beforeAll(async () => {
    found = await check(compiler(), [...projects, WRONG])
  }, 3 * minutes)

  it.each(projects)('finds and checks them with %s', (name) => {
    expect(found.get(name)).toBe('')
  })

  it('says what is wrong', () => {
    expect(found.get('wrong')).toMatch(/wrong\.mts.* error TS\d+: Argument of type '"tpu"'/)
  })
})

it('are one text for modules of both kinds, and package.json names both', async () => {
  const { exports, types, main } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  expect(exports['.'].types).toEqual({ require: './dist/index.d.cts', default: `${types}` })
  const { types: ofSdk } = exports['./ai-sdk']
  expect(ofSdk.require.replace('.d.cts', '.d.ts')).toBe(ofSdk.default)
  expect(main).toBe(exports['.'].default)
  const [module, common] = await Promise.all(
    ['model.d.ts', 'model.d.cts'].map((name) =>
      readFile(join(folder, 'node_modules/ssm-metal/dist', name), 'utf8'),
    ),
  )
  expect(common).toBe(module!.replaceAll(/(from '\..*)\.js'/g, "$1.cjs'"))
})
