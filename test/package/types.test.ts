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

/** Runs a compiler; resolves to what it prints, nothing when all is well. */
function compile(typescript: string, words: readonly string[]): Promise<string> {
  const all = [join(typescript, 'lib/tsc.js'), '--pretty', 'false', ...words]
  return execute(process.execPath, all, { cwd: folder }).then(
    ({ stdout }) => stdout,
    ({ stdout, message }) => stdout || message,
  )
}

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

function check(typescript: string, name: string, options: object, files: readonly string[]) {
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
  const config = join(folder, `${name}.json`)
  return writeFile(config, JSON.stringify({ compilerOptions, files })).then(() =>
    compile(typescript, ['-p', config]),
  )
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-types-'))
  oldest = join(await fetchPackage('typescript', '5.4.5'), 'typescript')
  const installed = join(folder, 'node_modules/ssm-metal')
  await mkdir(installed, { recursive: true })
  await cp(join(ROOT, 'package.json'), join(installed, 'package.json'))
  const dist = join(installed, 'dist')
  const words = ['-p', join(ROOT, 'tsconfig.json'), '--emitDeclarationOnly', '--outDir', dist]
  expect(await compile(OURS, words)).toBe('')
  await execute(process.execPath, [join(ROOT, 'scripts/commonjs-declarations.mjs'), dist])
  for (const name of ['module.mts', 'common.cts', 'neither.ts']) {
    await writeFile(join(folder, name), program)
  }
}, 3 * minutes)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe.each([
  ['TypeScript 5.4', () => oldest],
  ['our TypeScript', () => OURS],
])('%s', (_, compiler) => {
  it.each([
    ['node16', { module: 'node16' }, ['module.mts', 'common.cts']],
    ['nodenext', { module: 'nodenext' }, ['module.mts', 'common.cts']],
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }, ['neither.ts']],
    ['node10', { module: 'commonjs', moduleResolution: 'node10' }, ['neither.ts']],
  ])('finds and checks them with %s', async (name, options, files) => {
    expect(await check(compiler(), name, options, files)).toBe('')
  })
})

it('stand beside the declarations of the DOM', async () => {
  const options = { module: 'nodenext', lib: ['es2022', 'dom'] }
  expect(await check(OURS, 'dom', options, ['module.mts'])).toBe('')
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
