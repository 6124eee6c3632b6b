// The texts that a Mac compiles for published models: how many there are, that they are right, and that
// nothing in a decode kernel lies in memory which should be in registers.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Addon } from '../../lib/addon/contract.js'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { builtIn, root } from './clang.js'
import {
  ACTIVATIONS,
  counts,
  PUBLISHED,
  type PublishedKernels,
  publishedKernels,
  WEIGHTS,
  type WeightsName,
} from './published-kernels.js'

const clang = process.env.CXX ?? 'clang++-19'
const rig = (path: string) => join(root, 'test/software-metal', path)
const folder = mkdtempSync(join(tmpdir(), 'texts-'))
afterAll(() => rmSync(folder, { recursive: true }))

const variants = Object.keys(PUBLISHED).flatMap((model) =>
  (Object.keys(WEIGHTS) as WeightsName[]).flatMap((weights) =>
    ACTIVATIONS.map((activations) => ({ model, weights, activations })),
  ),
)
const nameOf = ({ model, weights, activations }: (typeof variants)[number]) =>
  `${model}, ${weights}, ${activations}`
const kernels = new Map<string, PublishedKernels>()

beforeAll(async () => {
  process.env.SSM_METAL_ADDON = builtIn('Release/metal_device.node')
  for (const variant of variants) {
    const { model, weights, activations } = variant
    kernels.set(nameOf(variant), await publishedKernels(PUBLISHED[model]!, weights, activations))
  }
}, 600_000)

const everything = (select: (each: PublishedKernels) => PublishedKernels['load']) =>
  new Map([...kernels.values()].flatMap(select).map(({ kernel, text }) => [text, kernel]))

/** Libraries and pipelines: of loading and copying, of a prompt, of decoding, of all three together. */
function table(model: string, weights: WeightsName, activations: (typeof ACTIVATIONS)[number]) {
  const { load, prefill, decode } = kernels.get(nameOf({ model, weights, activations }))!
  return [load, prefill, decode, [...load, ...prefill, ...decode]].map((texts) => {
    const { libraries, pipelines } = counts(texts)
    return [libraries, pipelines]
  })
}

// A text more takes every Mac that much longer to its first token.
// biome-ignore format: a table
test.each([
  ['rene-1.3b', 'float16', 'float32', [[2, 3], [17, 17], [9, 9], [25, 26]]],
  ['rene-1.3b', 'float16', 'float16', [[3, 4], [17, 17], [10, 10], [27, 28]]],
  ['rene-1.3b', '4 bits', 'float16', [[4, 5], [17, 17], [10, 10], [28, 29]]],
  ['mamba2-130m', 'float16', 'float32', [[2, 4], [14, 14], [6, 6], [19, 21]]],
  ['mamba2-130m', 'float16', 'float16', [[3, 5], [14, 14], [7, 7], [21, 23]]],
  ['mamba2-130m', '4 bits', 'float16', [[4, 6], [14, 14], [7, 7], [22, 24]]],
] as const)(
  '%s with weights of %s and activations of %s needs these',
  (model, weights, activations, expected) => {
    expect(table(model, weights, activations)).toEqual(expected)
  },
)

test('a text is a function of the kernel and its constants', () => {
  using device = createDevice('metal')
  const x = device.tensor('float32', [64])
  const text = () => {
    using list = device.record((cl) => cl.add(x, x, x))
    return list.kernelTexts()
  }
  expect(text()).toEqual(text())
  expect(text()[0]!.text).toMatch(/^#define SSM_KERNEL add_float32\n#line 1 "metal\/add.metal"\n/)
  expect(text()[0]!.text).toMatch(
    /\ntemplate \[\[host_name\("add_float32"\)\]\] \[\[kernel\]\] decltype\(add<float>\) add<float>;\n$/,
  )
})

describe('the text of a kernel', () => {
  const textOf = (kernel: string, constants: string): string =>
    (addon() as Addon & { kernelText(kernel: string, constants: string): string }).kernelText(
      kernel,
      constants,
    )

  test('begins with its constants, whatever their order', () => {
    const text = textOf('ssd_update_float32', 'vectors=1 state_rows=2')
    expect(text.split('\n').slice(0, 3)).toEqual([
      '#define SSM_KERNEL ssd_update_float32',
      '#define SSM_VALUE_vectors 1',
      '#define SSM_VALUE_state_rows 2',
    ])
    expect(textOf('ssd_update_float32', 'state_rows=2 vectors=1')).toBe(text)
  })

  // At 80c07c8 every product of plain weights set a constant that its file did not have, and only a
  // Mac would have said so.
  test.each([
    ['ssd_update_float32', 'vectors=1', 'constant state_rows is not set'],
    ['ssd_update_float32', 'vectors=1 state_rows=2 taps=4', 'constant taps is set, but the kernel'],
    ['ssd_update_float32', 'vectors=1 state_rows=2 vectors=1', 'constant vectors is set twice'],
    ['ssd_update_float32', 'vectors=2 state_rows=2', 'constant vectors is bool, not 2'],
    ['ssd_update_bfloat16', 'vectors=1 state_rows=2', 'no file of metal/ has a kernel named'],
    ['ssd_update', 'vectors=1 state_rows=2', 'no file of metal/ has a kernel named ssd_update'],
    ['ssd_update_float32_float32', 'vectors=1 state_rows=2', 'no file of metal/ has a kernel'],
    [
      'matmat_32_float32_float32_float32',
      'has_scale=0 has_bias=0 activation=2 gated=0 has_residual=0 by_exponent=0',
      'constant by_exponent is set, but',
    ],
  ])('%s with %s is refused', (kernel, constants, message) => {
    expect(() => textOf(kernel, constants)).toThrow(message)
  })
})

test('every text passes the strict pass', { timeout: 600_000 }, () => {
  const texts = everything(({ load, prefill, decode }) => [...load, ...prefill, ...decode])
  expect(texts.size).toBeGreaterThan(50)
  const files = [...texts].map(([text, kernel], i) => {
    const file = join(folder, `${kernel}-${i}.metal`)
    writeFileSync(file, text)
    return file
  })
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [rig('check-strict.mjs'), ...files],
    { encoding: 'utf8' },
  )
  expect(stderr).toBe('')
  expect(stdout).toBe(`strict: ${texts.size} of ${texts.size} kernel files pass\n`)
  expect(status).toBe(0)
})

/**
 * What clang, optimising, leaves in the memory of a kernel's thread: one line for each variable, but
 * for what the rig puts there itself.
 */
function localMemory(text: string): string[] {
  const file = join(folder, 'kernel')
  writeFileSync(`${file}.metal`, text)
  const steps: [string, string[]][] = [
    [process.execPath, [rig('compile-kernels.mjs'), `${file}.metal`, `${file}.cpp`]],
    [
      clang,
      [
        ...[
          '-O2',
          `@${rig('kernel-options.rsp')}`,
          '-I',
          rig('include'),
          '-g0',
          '-emit-llvm',
          '-S',
        ],
        ...[`${file}.cpp`, '-o', `${file}.ll`],
      ],
    ],
    ['cat', [`${file}.ll`]],
  ]
  let output = ''
  for (const [program, args] of steps) {
    const { status, stdout, stderr } = spawnSync(program, args, {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    expect(status, stderr).toBe(0)
    output = stdout
  }
  // The functions of the kernel's own file.
  const functions = output.split(/^define /m).filter((body) => /^[^(]*kernels_of_/.test(body))
  return functions.flatMap((body) =>
    [...body.matchAll(/alloca (.*)/g)]
      .map(([, type]) => type!)
      // Single numbers are arguments of functions that the rig's compiler does not inline.
      .filter((type) => /^[[<%{]/.test(type) && !type.includes('software_metal::Site')),
  )
}

describe('decode kernels', () => {
  test('keep their arrays in registers', { timeout: 600_000 }, () => {
    const found = [...everything(({ decode }) => decode)].flatMap(([text, kernel]) =>
      localMemory(text).map((type) => `${kernel}: ${type}`),
    )
    expect(found).toEqual([])
  })

  // As function constants were: known after the loops over the arrays were unrolled, or not.
  test.each([
    ['matvec', 'vector_outputs'],
    ['quantized_matvec', 'vector_outputs'],
    ['quantized_matvec', 'reads'],
    ['mamba2_update', 'state_rows'],
    ['attention_decode', 'block_heads'],
  ])('%s would not, were %s a variable', { timeout: 120_000 }, (name, constant) => {
    const texts = everything(({ decode }) => decode)
    const [text] = [...texts].find(([, kernel]) => kernel.startsWith(`${name}_`))!
    expect(localMemory(text)).toEqual([])
    const declaration = `SSM_CONSTANT(uint, ${constant});`
    expect(text).toContain(declaration)
    expect(localMemory(text.replace(declaration, `extern uint ${constant};`))).not.toEqual([])
  })
})
