// What the headers of metal/ state of each operation, and what native code and JavaScript have of it.

import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { NO_SLOT, SAMPLE_STATUS } from '../../lib/operations/arguments.js'
import { referenceDevice } from '../../lib/operations/create-device.js'
import { encodeParams, operationNamed, operationTable } from '../../lib/operations/table.js'
import { NO_TOKEN } from '../../lib/operations/drawn-token.js'
import { DTYPE_NUMBERS, type TensorData } from '../../lib/operations/tensor.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { allCases } from '../../lib/verify/verify.js'
import { readOperations } from '../../scripts/operations.mjs'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const names = [...operationTable().keys()]

/** Name of each field of a struct, in order. */
function fieldsOf(header: string, struct: string): string[] {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\};`).exec(header)?.[1]
  expect(body, `struct ${struct}`).toBeDefined()
  const statements = body!.replace(/\/\/.*$/gm, '').split(';')
  return statements.map((statement) => statement.trim().split(/\s+/).at(-1)!).filter(Boolean)
}

/** An array like this one, full of something else: 1.1e-28, or a large number. */
const filled = (data: TensorData): TensorData => {
  const other = data.slice()
  new Uint8Array(other.buffer).fill(0x11)
  return other
}

describe('the table of operations', () => {
  test('is what the headers state', () => {
    const stated = readOperations().map(({ name, apiName, fields, buffers }) => ({
      name,
      apiName,
      fields,
      buffers: buffers.map(({ name, access, isOptional }) => ({
        name,
        isWritten: /^(writes|updates_slots|updates_pages)$/.test(access),
        isOptional,
      })),
    }))
    expect(addon().operations()).toEqual(stated)
    expect(names.map((name) => operationNamed(name).number)).toEqual(names.map((_, i) => i))
    expect(operationNamed('rms_norm')).toMatchObject({
      apiName: 'rmsNorm',
      fields: [
        { name: 'rows', isFloat: false },
        { name: 'cols', isFloat: false },
        { name: 'x_stride', isFloat: false },
        { name: 'eps', isFloat: true },
      ],
    })
    expect(() => operationNamed('rmsNorm')).toThrow('[rmsNorm] this build of the addon has no such')
  })

  // A kernel that writes what its header has as read is found by the rig; a header that says too much is not.
  test.each(names)('%s writes and updates what its header says', async (name) => {
    using device = referenceDevice(1)
    const { buffers } = readOperations().find((operation) => operation.name === name)!
    const numberOf = (access: RegExp) => buffers.filter((each) => access.test(each.access)).length
    const cases = [...allCases(['float32'])].filter(
      (each) => each.operation === name && !each.large,
    )
    let most = 0
    for (const { build, shape } of cases.slice(0, 12)) {
      /** What all outputs hold after a run; `changed` held something else before. */
      const run = async (changed?: number) => {
        const inputs = new Inputs(device, new SharedNumbers(), 'float32', 'float32')
        const { record, outputs } = build(inputs)
        for (const [i, tensor] of outputs.entries()) {
          if (i === changed) tensor.write(filled(tensor.read()))
        }
        using list = device.record(record)
        await list.run()
        const results = outputs.map((tensor) => Buffer.from(tensor.read().buffer).toString('hex'))
        inputs.dispose()
        return results.join()
      }
      const results = await run()
      const count = results.split(',').length
      // What is written whole, and nowhere read, does not depend on what was there. Of slots, some keep theirs.
      let overwritten = 0
      for (let i = 0; i < count; i++) overwritten += (await run(i)) === results ? 1 : 0
      expect(overwritten, shape).toBeLessThanOrEqual(numberOf(/^writes$/))
      expect(count - overwritten, shape).toBeLessThanOrEqual(numberOf(/^updates/))
      most = Math.max(most, count)
    }
    expect(most).toBe(numberOf(/^writes$|^updates/))
  })

  test.each(names)('%s has its test', (name) => {
    const tests = readdirSync(new URL('.', import.meta.url))
    expect(tests).toContain(`${name.replaceAll('_', '-')}.test.ts`)
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
    expect(fieldsOf(header, 'SampleSettings')).toEqual([
      'temperature',
      'top_p',
      'min_p',
      'repetition_penalty',
      'presence_penalty',
      'frequency_penalty',
    ])
    expect(fieldsOf(header, 'SampleSelection')).toEqual([
      'top_k',
      'seed_low',
      'seed_high',
      'recent',
      'keeps_logits',
      'biases',
      'masked',
      'alternatives',
    ])
    expect(fieldsOf(header, 'SampleBias')).toEqual(['token', 'bias'])
    expect(fieldsOf(header, 'SampleReport')).toEqual(['token', 'status'])
    expect(header).toMatch(
      /kDrawn = 0,\s+kLogitIsNan = 1,\s+kLogitIsInfinite = 2,.*\s+kSkipped = 3,.*\s+kNoneAllowed = 4,/,
    )
    expect(header).toContain(`kNoToken = 0x${NO_TOKEN.toString(16)},`)
    expect(SAMPLE_STATUS).toEqual({ drawn: 0, nan: 1, infinite: 2, skipped: 3, noneAllowed: 4 })
  })

  test('encodes parameters little-endian, in order', () => {
    const bytes = encodeParams(operationNamed('rms_norm'), {
      eps: 0.5,
      rows: 1,
      cols: 0x01020304,
      x_stride: 7,
    })
    expect([...bytes]).toEqual([1, 0, 0, 0, 4, 3, 2, 1, 7, 0, 0, 0, 0, 0, 0, 0x3f])
  })

  test('refuses parameters that are not those of the struct', () => {
    const add = operationNamed('add')
    expect(() => encodeParams(add, {})).toThrow('[add] the parameter count is not given')
    expect(() => encodeParams(add, { count: 1, rows: 1 })).toThrow(
      '[add] there is no parameter rows',
    )
  })
})

describe('a header that states an operation wrongly is refused by its name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'operations-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'metal'))
  const struct = (fields: string) => `struct BadParams {${fields}};`
  const states = (buffers: string) => `SSM_OPERATION(BadParams, ${buffers});`

  test.each([
    ['a struct that is not there', states('reads(x)'), 'has no struct BadParams'],
    ['another type', `${struct('int rows;')}\n${states('reads(x)')}`, 'not "int rows"'],
    ['a pointer', `${struct('float* x;')}\n${states('reads(x)')}`, 'not "float* x"'],
    ['another word', `${struct('uint32_t n;')}\n${states('uses(x)')}`, 'uses(x) must be one of'],
    ['no word', `${struct('uint32_t n;')}\n${states('x')}`, 'SSM_OPERATION has "x"'],
    [
      'slots without their number',
      `${struct('uint32_t batch;')}\n${states('updates_slots(x)')}`,
      'needs the fields batch and slots',
    ],
    [
      'two operations',
      `${struct('uint32_t n;')}\n${states('reads(x)')}\n${states('reads(y)')}`,
      'states more than one operation',
    ],
  ])('%s', (_, text, message) => {
    writeFileSync(join(folder, 'metal/bad.h'), text)
    expect(() => readOperations(folder)).toThrow(`metal/bad.h: `)
    expect(() => readOperations(folder)).toThrow(message)
  })

  test('files that are missing, or that nothing states', () => {
    const root = new URL('../..', import.meta.url)
    const copy = join(folder, 'copy')
    for (const part of ['metal', 'native', 'scripts/operations.mjs']) {
      cpSync(new URL(part, root), join(copy, part), { recursive: true })
    }
    const write = (...tables: string[]) =>
      spawnSync(process.execPath, ['scripts/operations.mjs', ...tables], {
        cwd: copy,
        encoding: 'utf8',
      })
    // Each folder is compiled as one file, all of it.
    const folders = {
      'cpu_operations.cpp': 'native/cpu/operations',
      'fast_operations.cpp': 'native/cpu/fast/operations',
      'metal_operations.cpp': 'native/metal/operations',
    }
    expect(write(...Object.keys(folders)).status).toBe(0)
    for (const [name, folder] of Object.entries(folders)) {
      const text = readFileSync(join(copy, name), 'utf8')
      const included = [...text.matchAll(/^#include "(.*\.cpp)"$/gm)].map(([, file]) => file)
      const files = readdirSync(join(copy, folder)).filter((file) => file.endsWith('.cpp'))
      expect(included.sort()).toEqual(files.map((file) => `${folder}/${file}`).sort())
    }
    rmSync(join(copy, 'native/metal/operations/add.cpp'))
    expect(write('metal_operations.cpp').stderr).toBe(
      'metal/add.h states an operation without dispatch code: native/metal/operations/add.cpp\n',
    )
    rmSync(join(copy, 'metal/copy.h'))
    expect(write('cpu_operations.cpp').stderr).toBe(
      'native/cpu/operations/copy.cpp: no header metal/copy.h states it\n',
    )
    expect(write('other.cpp')).toMatchObject({ status: 1 })
  })
})
