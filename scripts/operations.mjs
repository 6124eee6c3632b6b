// The operations, read from the headers of metal/ that state them (metal/operation.h), and the tables
// that native code has of them:
//   node scripts/operations.mjs <output>       one of TABLES below
//   node scripts/operations.mjs --list         prints them
// binding.gyp and the test rig write the tables when they build; no table is kept in the repository.
// A table of functions includes the files that define them, a folder of small files: compiled one by one,
// nearly all of the time would go into the headers that they share.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

const ACCESSES = [
  'reads',
  'looks_up',
  'reads_slots',
  'reads_pages',
  'writes',
  'updates_slots',
  'updates_pages',
]

/** rms_norm -> rmsNorm: an operation's name in TypeScript, and in messages. */
export const apiName = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase())

/** Every operation, in the order of its number: {name, apiName, struct, fields, buffers}. */
export function readOperations(folder = root) {
  const headers = readdirSync(join(folder, 'metal')).filter((name) => name.endsWith('.h'))
  return headers.sort().flatMap((header) => {
    const text = withoutComments(readFileSync(join(folder, 'metal', header), 'utf8'))
    const statements = [...text.matchAll(/^SSM_OPERATION\((\w+),([^;]*)\);/gm)]
    if (statements.length === 0) return []
    const fail = (message) => {
      throw new Error(`metal/${header}: ${message}`)
    }
    if (statements.length > 1) fail('states more than one operation')
    const [, struct, list] = statements[0]
    const name = basename(header, '.h')
    const fields = fieldsOf(text, struct, fail)
    const buffers = buffersOf(list, fail)
    const has = (field) => fields.some((each) => each.name === field)
    if (
      buffers.some(({ access }) => access.endsWith('_slots')) &&
      !(has('batch') && has('slots'))
    ) {
      fail(`${struct} needs the fields batch and slots: a buffer has a part for each slot`)
    }
    return [{ name, apiName: apiName(name), struct, fields, buffers }]
  })
}

function fieldsOf(text, struct, fail) {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\};`).exec(text)?.[1]
  if (body === undefined) fail(`has no struct ${struct}`)
  const statements = body.split(';').map((statement) => statement.trim())
  return statements.filter(Boolean).map((statement) => {
    const [, type, name] = /^(uint32_t|float)\s+(\w+)$/.exec(statement) ?? []
    if (!name) fail(`a field of ${struct} is a uint32_t or a float, not "${statement}"`)
    return { name, isFloat: type === 'float' }
  })
}

function buffersOf(list, fail) {
  const words = [...list.matchAll(/(\w+)\(\s*(\w+)\s*(,\s*optional\s*)?\)/g)]
  const rest = list.replace(/(\w+)\(\s*(\w+)\s*(,\s*optional\s*)?\)/g, '').replace(/[\s,]/g, '')
  if (rest !== '') fail(`SSM_OPERATION has "${rest}": write reads(x), or one of ${ACCESSES}`)
  return words.map(([, access, name, optional]) => {
    if (!ACCESSES.includes(access)) fail(`${access}(${name}) must be one of ${ACCESSES}`)
    return { name, access, isOptional: optional !== undefined }
  })
}

const withoutComments = (text) => text.replace(/\/\/.*$/gm, '')

/** Names of the operations that have a file in this folder. */
const namesIn = (folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.cpp'))
    .map((name) => basename(name, '.cpp'))

/** Throws unless the folder has a file for each operation, and no other. */
function expectFiles(folder, what, operations) {
  const files = namesIn(folder)
  for (const { name } of operations) {
    if (files.includes(name)) continue
    throw new Error(`metal/${name}.h states an operation without ${what}: ${folder}/${name}.cpp`)
  }
  expectOperations(folder, files, operations)
}

function expectOperations(folder, files, operations) {
  const stray = files.find((file) => !operations.some(({ name }) => name === file))
  if (stray) throw new Error(`${folder}/${stray}.cpp: no header metal/${stray}.h states it`)
}

// ---- the tables ----

const lines = (...parts) => `${parts.flat().join('\n')}\n`

/** Of native/operation.h. */
function coreTable(operations) {
  const each = operations.flatMap(({ name, struct, fields, buffers }) => [
    `static_assert(sizeof(${struct}) == ${4 * fields.length} && sizeof(${struct}) <= kMaxParamBytes);`,
    `static_assert(${buffers.length} <= kMaxBuffers);`,
    `constexpr FieldInfo ${name}_fields[] = {`,
    ...fields.map((field) => `    {"${field.name}", ${field.isFloat}},`),
    '};',
    `constexpr BufferInfo ${name}_buffers[] = {`,
    ...buffers.map((b) => `    {"${b.name}", Access::${b.access}, ${b.isOptional}},`),
    '};',
  ])
  const rows = operations.map(
    ({ name, apiName }) => `    {"${name}", "${apiName}", ${name}_fields, ${name}_buffers},`,
  )
  return lines(
    operations.map(({ name }) => `#include "metal/${name}.h"`),
    '#include "native/operation.h"',
    '',
    'namespace ssm {',
    'namespace {',
    each,
    'constexpr OperationInfo kOperations[] = {',
    rows,
    '};',
    '}  // namespace',
    '',
    'std::span<const OperationInfo> operations() { return kOperations; }',
    '',
    '}  // namespace ssm',
  )
}

/** Defines the function `name` of a header, with an element for each operation, over the files of a folder. */
function functionTable({ header, folder, space, type, name, elements }) {
  return lines(
    namesIn(folder)
      .sort()
      .map((file) => `#include "${folder}/${file}.cpp"`),
    `#include "${header}"`,
    '',
    `namespace ${space} {`,
    '',
    `${type} ${name}(OperationKind kind) {`,
    `  static constexpr ${type} kFunctions[] = {`,
    elements.map((element) => `      ${element},`),
    '  };',
    '  return kFunctions[static_cast<size_t>(kind)];',
    '}',
    '',
    `}  // namespace ${space}`,
  )
}

const cpu = { header: 'native/cpu/operations.h', space: 'ssm::cpu' }

function plainTable(operations) {
  const folder = 'native/cpu/operations'
  expectFiles(folder, 'plain loops', operations)
  const elements = operations.map(({ name }) => name)
  return functionTable({ ...cpu, folder, type: 'PlainFunction', name: 'plain_function', elements })
}

function fastTable(operations) {
  const folder = 'native/cpu/fast/operations'
  const fast = namesIn(folder)
  expectOperations(folder, fast, operations)
  const elements = operations.map(({ name }) => (fast.includes(name) ? `fast::${name}` : 'nullptr'))
  return functionTable({ ...cpu, folder, type: 'FastFunction', name: 'fast_function', elements })
}

function metalTable(operations) {
  const folder = 'native/metal/operations'
  expectFiles(folder, 'dispatch code', operations)
  return functionTable({
    folder,
    header: 'native/metal/program.h',
    space: 'ssm::metal',
    type: 'AddDispatches',
    name: 'dispatch_function',
    elements: operations.map(({ name }) => name),
  })
}

const TABLES = {
  'operations.cpp': coreTable,
  'cpu_operations.cpp': plainTable,
  'fast_operations.cpp': fastTable,
  'metal_operations.cpp': metalTable,
}

function print(operations) {
  for (const { apiName, buffers, fields } of operations) {
    const given = buffers.map(
      ({ name, access, isOptional }) =>
        `${access.replace('_', ' ')} ${name}${isOptional ? '?' : ''}`,
    )
    console.log(
      `${apiName}\n  ${given.join(', ')}\n  (${fields.map(({ name }) => name).join(', ')})`,
    )
  }
}

/** Writes a table, unless it stands there already: what includes nothing new is not compiled again. */
function write(output, operations) {
  const make = TABLES[basename(output)]
  if (!make) throw new Error(`${output}: must be one of ${Object.keys(TABLES).join(', ')}`)
  const text = `// Written by scripts/operations.mjs from the headers of metal/.\n${make(operations)}`
  mkdirSync(dirname(output), { recursive: true })
  if (!existsSync(output) || readFileSync(output, 'utf8') !== text) writeFileSync(output, text)
}

if (argv[1] && basename(argv[1]) === 'operations.mjs') {
  const [, , first, ...more] = argv
  try {
    if (first === '--list') print(readOperations())
    else if (first) for (const output of [first, ...more]) write(output, readOperations())
    else throw new Error('usage: node scripts/operations.mjs --list | <output> [...]')
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
}
