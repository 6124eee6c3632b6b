// Values of another realm, as a vm context, jest and Electron give them: they are what they are.

import { createContext, runInContext } from 'node:vm'
import { cp, readFile, truncate } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { describe as describeValue } from '../../lib/support/option-checks.js'
import {
  isError,
  isThenable,
  isTypedArray,
  messageOf,
  typedArrayName,
} from '../../lib/support/realms.js'
import type { TensorData } from '../../lib/operations/tensor.js'
import { bundle } from '../support/bundle.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { ROOT } from '../support/child-process.js'

const context = createContext({})
const foreign = <T>(code: string): T => runInContext(code, context)

it('the values of these tests are of another realm', () => {
  expect(foreign('new Float32Array(1)') instanceof Float32Array).toBe(false)
  expect(foreign('Promise.resolve()') instanceof Promise).toBe(false)
  expect(foreign('new Error("x")') instanceof Error).toBe(false)
})

describe('tensors', () => {
  it.each([
    ['float32', 'new Float32Array([1, 2, 3, 4])'],
    ['float16', 'new Uint16Array([1, 2, 3, 4])'],
    ['uint32', 'new Uint32Array([1, 2, 3, 4])'],
  ] as const)('%s are written and read with arrays of any realm', (dtype, code) => {
    using device = createDevice('cpu', { threads: 1 })
    const tensor = device.tensor(dtype, [4], foreign<TensorData>(code))
    expect([...tensor.read()]).toEqual([1, 2, 3, 4])
    const target = foreign<TensorData>(code.replace(/\[.*\]/, '4'))
    tensor.readInto(target)
    expect([...target]).toEqual([1, 2, 3, 4])
    tensor.write(structuredClone(tensor.read()))
    tensor.dispose()
  })

  it('are refused in arrays of another type, which the message names', () => {
    using device = createDevice('cpu', { threads: 1 })
    const data = foreign<Float32Array>('new Float64Array(4)')
    expect(() => device.tensor('float32', [4], data)).toThrow(
      '[write] float32 takes a Float32Array but got a Float64Array of 4',
    )
    const disguised = Object.assign([1, 2, 3, 4], { constructor: Float32Array })
    Object.setPrototypeOf(disguised, Float32Array.prototype)
    expect(() => device.tensor('float32', [4], disguised as never)).toThrow(TypeError)
  })

  it('go into a run as its inputs', async () => {
    using device = createDevice('cpu', { threads: 1 })
    using list = device.record((cl) => {
      const x = cl.input('x', 'float32', [2])
      cl.add(x, x, cl.output('y', 'float32', [2]))
    })
    const x = foreign<Float32Array>('new Float32Array([1, 5])')
    expect([...(await list.run({ inputs: { x } })).outputs.y!]).toEqual([2, 10])
  })
})

describe('record refuses a callback that is async', () => {
  it.each<[string, () => unknown]>([
    ['here', async () => {}],
    ['in another realm', foreign('(async () => {})')],
    ['with a promise of its own', foreign('() => ({ then(resolve) { resolve() } })')],
    ['and rejects', foreign('(async () => { throw new Error("late") })')],
  ])('%s', async (_, callback) => {
    using device = createDevice('cpu', { threads: 1 })
    expect(() => device.record(callback as () => void)).toThrow(
      '[record] the callback must not be async: it only records',
    )
    await new Promise(setImmediate) // a rejection that nobody handles would end the test
  })
})

describe('what a value is', () => {
  it.each([
    ['new Error("why")', true, 'why'],
    ['new RangeError("why")', true, 'why'],
    ['class E extends Error {}; new E("why")', true, 'why'],
    ['"why"', false, 'why'],
    ['({ message: "why" })', false, '[object Object]'],
  ])('%s', (code, expected, message) => {
    const value = foreign(code)
    expect(isError(value)).toBe(expected)
    expect(messageOf(value)).toBe(message)
  })

  it('is an error when it was cloned, or is a DOMException', () => {
    expect(isError(structuredClone(new TypeError('why')))).toBe(true)
    expect(isError(AbortSignal.abort().reason)).toBe(true)
  })

  it('is an array of its type, or none', () => {
    expect(typedArrayName(Buffer.alloc(1))).toBe('Uint8Array')
    expect(typedArrayName(foreign('new BigInt64Array(1)'))).toBe('BigInt64Array')
    for (const none of [null, undefined, 1, 'x', [], {}, new DataView(new ArrayBuffer(1))]) {
      expect(typedArrayName(none)).toBeUndefined()
    }
    expect(isTypedArray(foreign('new Uint16Array(1)'), Uint16Array)).toBe(true)
    expect(isTypedArray(foreign('new Uint16Array(1)'), Float32Array)).toBe(false)
    expect(describeValue(foreign('new Int8Array(3)'))).toBe('an Int8Array of 3')
  })

  it('is waited for, or not', () => {
    expect(isThenable(foreign('Promise.resolve()'))).toBe(true)
    for (const none of [null, undefined, {}, foreign('({ then: 1 })'), () => {}])
      expect(isThenable(none)).toBe(false)
  })
})

it('the library itself runs in another realm, as under jest', async () => {
  const file = await bundle("export * from 'ssm-metal'", 'cjs')
  const require = createRequire(file)
  const module = { exports: {} as typeof import('../../lib/index.js') }
  const realm = createContext({
    ...Object.fromEntries(
      [
        'process',
        'Buffer',
        'performance',
        'AbortController',
        'DOMException',
        'TextDecoder',
        'TextEncoder',
        'setTimeout',
        'clearTimeout',
        'setImmediate',
        'URL',
        'console',
        'queueMicrotask',
        'structuredClone',
      ].map((name) => [name, globalThis[name as keyof typeof globalThis]]),
    ),
  })
  const wrapper = `(function (exports, require, module, __filename) {${await readFile(file, 'utf8')}\n})`
  const override = process.env.SSM_METAL_ADDON
  process.env.SSM_METAL_ADDON ??= join(ROOT, 'build/Release/ssm.node')
  try {
    runInContext(wrapper, realm)(module.exports, require, module, file)
    const { loadModel, createDevice: create, CorruptFileError } = module.exports
    // Not `using`: the Symbol.dispose of this realm is another.
    const model = await loadModel(fixture('rene'), { device: 'cpu' })
    expect((await model.generate([1, 2], { maxTokens: 3, ignoreEos: true })).tokens).toHaveLength(3)
    model.dispose()
    const device = create('cpu', { threads: 1 })
    const x = device.tensor('float32', [2], new Float32Array([1, 2]))
    await device.record((cl) => cl.add(x, x, x)).run()
    expect([...x.read()]).toEqual([2, 4])
    device.dispose()
    const cut = await temporaryFolder()
    await cp(fixture('rene'), cut, { recursive: true })
    await truncate(join(cut, 'model.safetensors'), 1000)
    await expect(loadModel(cut, { device: 'cpu' })).rejects.toMatchObject({
      name: 'CorruptFileError',
      constructor: CorruptFileError,
    })
  } finally {
    if (override === undefined) delete process.env.SSM_METAL_ADDON
  }
})
