// lib/operations/table.ts says in TypeScript what metal/*.h and native/operation.h say in C++. Here the
// two are compared, field by field.

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import {
  encodeParams,
  OPERATION_NUMBERS,
  OPERATIONS,
  type OperationName,
} from '../../lib/operations/table.js'
import { NO_SLOT, SAMPLE_STATUS } from '../../lib/operations/recorder.js'
import { NO_TOKEN } from '../../lib/generation/sampler.js'
import { DTYPE_NUMBERS } from '../../lib/operations/tensor.js'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const names = Object.keys(OPERATIONS) as OperationName[]

/** rms_norm -> RmsNorm */
const pascalCase = (name: string) =>
  name.replace(/(?:^|_)([a-z])/g, (_, c: string) => c.toUpperCase())

/** Name and type of each field of a struct, in order. */
function fieldsOf(header: string, struct: string): [name: string, type: string][] {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\};`).exec(header)?.[1]
  expect(body, `struct ${struct}`).toBeDefined()
  const statements = body!
    .replace(/\/\/.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
  return statements.filter(Boolean).map((statement) => {
    const [, type, name] = /^(\w+)\s+(\w+)$/.exec(statement) ?? []
    expect(name, `"${statement}" of ${struct}`).toBeDefined()
    return [name!, type!]
  })
}

describe('the table of operations', () => {
  test.each(names)('has the fields of metal/%s.h', (name) => {
    const header = read(`metal/${name}.h`)
    const struct = `${pascalCase(name)}Params`
    const fields = fieldsOf(header, struct).map(([field, type]) => {
      expect(['uint32_t', 'float'], `type of ${field}`).toContain(type)
      return [field, type === 'float' ? 'float' : 'uint32']
    })
    expect(Object.entries(OPERATIONS[name].params)).toEqual(fields)
    expect(header).toContain(`static_assert(sizeof(${struct}) == ${4 * fields.length},`)
  })

  test('has the operations of the addon: order, names, sizes', () => {
    expect(addon().operations()).toEqual(
      names.map((name) => ({
        name,
        paramBytes: 4 * Object.keys(OPERATIONS[name].params).length,
        buffers: OPERATIONS[name].buffers.length,
      })),
    )
    expect(names.map((name) => OPERATION_NUMBERS[name])).toEqual(names.map((_, i) => i))
  })

  test('has the operations of native/operation.h, which writes the buffers that are outputs', () => {
    const rows = [...read('native/operation.h').matchAll(/X\((\w+), (\w+), (\d+), 0b([01]+)\)/g)]
    const written = (name: OperationName) =>
      rows
        .find((row) => row[1] === name)![4]!
        .split('')
        .reverse()
        .join('')
    expect(rows.map(([, name, struct, buffers]) => ({ name, struct, buffers }))).toEqual(
      names.map((name) => ({
        name,
        struct: `${pascalCase(name)}Params`,
        buffers: String(OPERATIONS[name].buffers.length),
      })),
    )
    // Read-only in any operation: what a model's weights and a run's inputs are.
    for (const name of names) {
      const buffers: readonly string[] = OPERATIONS[name].buffers
      for (const [i, buffer] of buffers.entries()) {
        const isWritten = written(name)[i] === '1'
        const label = `${buffer} of ${name}`
        if (buffer === 'out') expect(isWritten, label).toBe(true)
        if (name === 'resolve_rows') continue // its outputs are what other operations read
        if (buffer === 'rows') expect(isWritten, label).toBe(false)
        if (['x', 'weight', 'bias', 'tokens', 'table', 'q', 'k', 'v', 'logits'].includes(buffer)) {
          expect(isWritten, label).toBe(false)
        }
      }
    }
    expect(written('conv1d_update')).toBe('0001001')
    expect(written('mamba2_update')).toBe('000100010011')
    expect(written('attention_prefill')).toBe('00000001')
    expect(written('attention_decode')).toBe('00011001')
    expect(written('kv_cache_write')).toBe('001100')
    expect(written('keep_logits')).toBe('001')
    expect(written('sample')).toBe('00000001101111')
    expect(written('token_logprobs')).toBe('0000011')
    expect(written('copy')).toBe('01')
    expect(written('affine_quantize')).toBe('0111')
    expect(written('resolve_rows')).toBe('0001111')
  })

  test('every header of metal/ is an operation or known to be shared', () => {
    const stems = readdirSync(new URL('../../metal', import.meta.url))
      .filter((file) => file.endsWith('.h'))
      .map((file) => file.slice(0, -2))
    const shared = [
      'affine',
      'common',
      'constants',
      'conv1d',
      'conv1d_shape',
      'linear',
      'linear_tile',
      'matmul_shape',
      'matvec',
      'norm_rows',
      'random',
      'tile_product',
      'tile_shape',
      'types',
    ]
    expect(stems.sort()).toEqual([...names, ...shared].sort())
  })

  test('every operation has its file in native/cpu, in the list of sources, and its test', () => {
    const sources = read('native/sources.txt').split(/\s+/)
    const tests = readdirSync(new URL('.', import.meta.url))
    for (const name of names) {
      expect(sources).toContain(`native/cpu/operations/${name}.cpp`)
      expect(tests).toContain(`${name.replaceAll('_', '-')}.test.ts`)
    }
  })

  test('numbers element types, activations and rows without a slot as metal/types.h', () => {
    const types = read('metal/types.h')
    for (const [constant, number] of [
      ['kFloat32', DTYPE_NUMBERS.float32],
      ['kFloat16', DTYPE_NUMBERS.float16],
      ['kBFloat16', DTYPE_NUMBERS.bfloat16],
      ['kUInt32', DTYPE_NUMBERS.uint32],
      ['kGelu', 0],
      ['kSilu', 1],
      ['kIdentity', 2],
    ]) {
      expect(types).toMatch(new RegExp(`\\b${constant} = ${number},`))
    }
    expect(types).toContain(`kNoSlot = 0x${NO_SLOT.toString(16)},`)
  })

  test('the rows of the sampler buffers are as lib/operations/recorder.ts documents them', () => {
    const header = read('metal/sample.h')
    expect(fieldsOf(header, 'SampleSettings').map(([name]) => name)).toEqual([
      'temperature',
      'top_p',
      'min_p',
      'repetition_penalty',
      'presence_penalty',
      'frequency_penalty',
    ])
    expect(fieldsOf(header, 'SampleSelection').map(([name]) => name)).toEqual([
      'top_k',
      'seed_low',
      'seed_high',
      'recent',
      'keeps_logits',
      'biases',
      'masked',
      'alternatives',
    ])
    expect(fieldsOf(header, 'SampleBias').map(([name]) => name)).toEqual(['token', 'bias'])
    expect(fieldsOf(header, 'SampleReport').map(([name]) => name)).toEqual(['token', 'status'])
    expect(header).toMatch(
      /kDrawn = 0,\s+kLogitIsNan = 1,\s+kLogitIsInfinite = 2,.*\s+kSkipped = 3,.*\s+kNoneAllowed = 4,/,
    )
    expect(header).toContain(`kNoToken = 0x${NO_TOKEN.toString(16)},`)
    expect(SAMPLE_STATUS).toEqual({ drawn: 0, nan: 1, infinite: 2, skipped: 3, noneAllowed: 4 })
  })

  test('encodes parameters little-endian, in order', () => {
    const bytes = encodeParams('rms_norm', { eps: 0.5, rows: 1, cols: 0x01020304, x_stride: 7 })
    expect([...bytes]).toEqual([1, 0, 0, 0, 4, 3, 2, 1, 7, 0, 0, 0, 0, 0, 0, 0x3f])
  })
})
