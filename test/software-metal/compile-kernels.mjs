// Turns a kernel file (metal/<name>.metal) into C++ that clang compiles and the rig runs:
//   node compile-kernels.mjs [--strict | --cuda [--pipelines <file>] | --suffix <text>] <kernel file>
//     <output>
// The text stays as it is, line for line, but for what C++ does not know: attributes go, constants
// become variables, instantiations become entries of a table that tells the rig how to call each
// kernel. In the text of one kernel (native/metal/kernel_source.h) constants are literals already. Types are never read here: the table's code asks C++ for them.
// What would need a cleverer rewriter is refused instead; metal/README.md lists these rules.
//
// --suffix adds a text to the names that the table has kernels by, where there are several of a name.
//
// --strict writes the same text for clang's C++ for OpenCL, which checks address spaces.
//
// --cuda writes it for clang's CUDA mode (test/gpu): one function a kernel with constants as
// variables; or, with a list of pipelines, one function for each kernel and set of constants in it,
// compiled in, as Metal does.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { combinations, instantiations } from '../../scripts/kernel-file.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../..')

// Built-in arguments, as expressions over what the rig knows of the running thread.
const BUILTINS = {
  thread_position_in_grid: 'thread.position_in_grid',
  thread_position_in_threadgroup: 'thread.position_in_threadgroup',
  thread_index_in_threadgroup: 'thread.index',
  thread_index_in_simdgroup: 'thread.lane',
  simdgroup_index_in_threadgroup: 'thread.index / kLanes',
  threadgroup_position_in_grid: 'group.position_in_grid',
  threads_per_threadgroup: 'group.threads',
  threadgroups_per_grid: 'group.threadgroups',
  threads_per_grid: 'group.grid',
  simdgroups_per_threadgroup: 'group.simdgroups',
  threads_per_simdgroup: 'kLanes',
}

// Element types by the names that kernels have them by.
const TYPES = { float32: 'float', float16: 'half', bfloat16: 'bfloat', uint8: 'uchar' }

const VECTOR = '(?:float|half|bfloat|char|uchar|short|ushort|int|uint|long|ulong|bool)[234]'

// Text that refuses to be compiled, and why.
const RULES = [
  [
    /(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?(?![\w.])/g,
    'write float literals with the suffix f: Metal has no double',
  ],
  [/\bdouble\b/g, 'Metal has no double'],
  [
    /(?<=[;{}]\s*)threadgroup\s[^*&;={}()]*[;[=]/g,
    'take threadgroup memory as a [[threadgroup(n)]] pointer argument of the kernel',
  ],
  [new RegExp(`\\b${VECTOR}\\s*\\{`, 'g'), 'write vectors as float4(...), not float4{...}'],
  [
    new RegExp(`\\b${VECTOR}\\s+\\w+\\s*[({](?=[^)]*\\)?\\s*;)`, 'g'),
    'write vectors as float4 v = float4(...)',
  ],
]

class KernelError extends Error {}

const { strict, cuda, pipelines, suffix, input, output } = readArguments(process.argv.slice(2))
try {
  const file = relative(root, resolve(input))
  checkIncludes(file)
  const result = compile(expandMacros(file), basename(file, '.metal').replace(/\W/g, '_'))
  mkdirSync(dirname(output), { recursive: true })
  writeFileSync(output, result)
} catch (error) {
  if (!(error instanceof KernelError)) throw error
  console.error(error.message)
  process.exit(1)
}

function readArguments(given) {
  const usage =
    'usage: node compile-kernels.mjs [--strict | --cuda [--pipelines <file>] | --suffix <text>] <kernel file> <output>'
  try {
    const { values, positionals } = parseArgs({
      args: given,
      allowPositionals: true,
      options: {
        strict: { type: 'boolean', default: false },
        cuda: { type: 'boolean', default: false },
        pipelines: { type: 'string' },
        suffix: { type: 'string', default: '' },
      },
    })
    if (positionals.length !== 2) throw new Error(usage)
    const { strict, cuda, pipelines, suffix } = values
    const [input, output] = positionals
    return { strict, cuda, pipelines: pipelines && readPipelines(pipelines), suffix, input, output }
  } catch (error) {
    console.error(`${error.message}\n${usage}`)
    process.exit(2)
  }
}

/**
 * One JSON object a line: {"kernel": name, "constants": {name: value}, "threads": of a
 * threadgroup}; the same pipeline may stand there with several numbers of threads.
 */
function readPipelines(file) {
  const pipelines = new Map()
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue
    const { kernel, constants, threads } = JSON.parse(line)
    const key = `${kernel} ${JSON.stringify(constants)}`
    const known = pipelines.get(key)
    pipelines.set(key, { kernel, constants, threads: Math.max(threads, known?.threads ?? 0) })
  }
  return [...pipelines.values()]
}

/** <metal_stdlib> and headers of metal/ only: the shipped addon inlines no others. */
function checkIncludes(file) {
  const headers = readdirSync(join(root, 'metal'))
    .filter((name) => name.endsWith('.h'))
    .map((name) => `metal/${name}`)
  const lines = readFileSync(join(root, file), 'utf8').split('\n')
  if (lines[0].startsWith('#define SSM_KERNEL ')) return // their text is part of this one
  let first = true
  lines.forEach((text, i) => {
    const include = /^\s*#\s*include\s*(.*?)\s*(?:\/\/.*)?$/.exec(text)
    if (!include) return
    const fail = (message) => {
      throw new KernelError(`${file}:${i + 1}: ${message}`)
    }
    if (first && include[1] !== '<metal_stdlib>') fail('include <metal_stdlib> first')
    if (!first && !headers.includes(/^"(.*)"$/.exec(include[1])?.[1])) {
      fail(`include only <metal_stdlib>, then headers as "metal/x.h", not ${include[1]}`)
    }
    first = false
  })
  if (first) throw new KernelError(`${file}:1: include <metal_stdlib> first`)
}

function expandMacros(file) {
  // <metal_stdlib> is empty here, so that what comes out is our own text alone.
  const command = ['-E', '-x', 'c++', '-nostdinc', '-D__METAL__', '-D__METAL_VERSION__=310']
  // A copy of metal/ includes its own headers.
  const includes = ['-I', join(here, 'include-empty'), '-I', dirname(dirname(file)), '-I', '.']
  try {
    return execFileSync(process.env.CXX ?? 'clang++-19', [...command, ...includes, file], {
      cwd: root, // so that places read metal/x.metal:12
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  } catch (error) {
    if (error.code === 'ENOENT') throw new KernelError('clang++-19 is not installed')
    throw new KernelError(`${file}: the preprocessor failed`)
  }
}

function compile(text, name) {
  const at = (offset) => place(text, offset)
  for (const [pattern, message] of RULES) {
    for (const match of withoutMarkers(text).matchAll(pattern)) {
      throw new KernelError(`${at(match.index)}: ${message} (${match[0].trim()})`)
    }
  }

  const constants = readConstants(text)
  const kernels = readKernels(text, constants)
  const { entries, spans } = readInstantiations(text, kernels)
  for (const kernel of kernels.values()) {
    if (!kernel.isTemplate) entries.push({ host: kernel.name, expression: kernel.name, kernel })
  }
  if (entries.length === 0) throw new KernelError(`metal/${name}.metal: has no kernel`)

  const body = blanked(text, spans)
  const withConstants = (write) => {
    let result = body
    for (const constant of constants) {
      result = replace(result, constant.begin, constant.end, write(constant))
    }
    return result
      .replace(/\[\[[^[\]]*\]\]/g, (attribute) => attribute.replace(/[^\n]/g, ' '))
      .replace(/\bvec<\s*[\w:]+\s*,\s*\w+\s*>(?=\s*\()/g, (type) => `metal::make<${type}>`)
      .replace(/(?<![\w>:]\s*)::(?=\w)/g, `::kernels_of_${name}::`)
  }
  if (cuda) return cudaText(name, entries, withConstants)
  return [
    '#include <metal_stdlib>',
    // Each file is its own namespace: no name of it meets one of another file.
    `namespace kernels_of_${name} {`,
    withConstants(({ type, name }) =>
      strict ? `constant ${type} ${name} = 0;` : `${type} ${name};`,
    ),
    strict ? instantiate(entries) : table(name, entries),
    '}',
    '',
  ].join('\n')
}

/** `constant bool has_bias [[function_constant]];`, which is what SSM_CONSTANT gives here. */
function readConstants(text) {
  const pattern = /\bconstant +(?<type>bool|uint) +(?<name>\w+) *\[\[function_constant\]\];/g
  const constants = [...text.matchAll(pattern)].map(({ groups, index, 0: match }) => ({
    type: groups.type,
    name: groups.name,
    begin: index,
    end: index + match.length,
  }))
  const names = constants.map(({ name }) => name).join('|')
  const derived =
    names && new RegExp(`^constant\\b[^;(]*=[^;]*\\b(?:${names})\\b[^;]*;`, 'm').exec(text)
  if (derived) {
    throw new KernelError(
      `${place(text, derived.index)}: compute what depends on a constant inside the kernel`,
    )
  }
  return constants
}

/** Kernel definitions: name, arguments with their attributes. */
function readKernels(text, constants) {
  const kernels = new Map()
  let used = text
  for (const match of text.matchAll(/(?:\[\[\s*kernel\s*\]\]|\bkernel)\s+void\s+(\w+)\s*\(/g)) {
    const [{ length }, name] = match
    const where = place(text, match.index)
    const open = match.index + length - 1
    const close = closing(text, open)
    const bodyBegin = text.indexOf('{', close)
    if (!/^[\s\n]*$/.test(text.slice(close + 1, bodyBegin).replace(/^#.*$/gm, ''))) {
      throw new KernelError(`${where}: kernel ${name} is declared but has no body here`)
    }
    if (kernels.has(name)) throw new KernelError(`${where}: kernel ${name} is overloaded`)
    kernels.set(name, {
      name,
      isTemplate: /template\s*<[^;{}]*>\s*$/.test(text.slice(0, match.index)),
      parameters: splitAtCommas(withoutMarkers(text.slice(open + 1, close))).map((parameter) =>
        readParameter(parameter, `${where}: kernel ${name}`),
      ),
      constants,
    })
    // Parameters do not use a constant, and a field of a struct may have the same name.
    used = blank(used, open, bodyBegin)
  }
  for (const { begin, end } of constants) used = blank(used, begin, end)
  used = used.replace(/\bstruct\s+\w+\s*\{[^}]*\}/g, '')
  const unused = constants.find(({ name }) => !new RegExp(`(?<![\\w.])${name}\\b`).test(used))
  if (unused) {
    const where = place(text, unused.begin)
    throw new KernelError(`${where}: no kernel uses constant ${unused.name}: declare it elsewhere`)
  }
  if (constants.length > 0 && kernels.size > 1) {
    const where = place(text, constants[0].begin)
    throw new KernelError(`${where}: a file with constants has one kernel, which has all of them`)
  }
  return kernels
}

function readParameter(text, where) {
  const attributes = [...text.matchAll(/\[\[([^[\]]*)\]\]/g)].flatMap(([, list]) =>
    splitAtCommas(list).map((attribute) => {
      const [, name, value] = /^\s*(\w+)\s*(?:\(\s*(\w+)\s*\))?\s*$/.exec(attribute) ?? []
      return { name, value }
    }),
  )
  const name = /(\w+)\s*$/.exec(text.replace(/\[\[[^[\]]*\]\]/g, ''))?.[1]
  const kinds = attributes.filter(({ name }) => name !== 'function_constant')
  const known = ['buffer', 'threadgroup', ...Object.keys(BUILTINS)]
  if (kinds.length !== 1 || !known.includes(kinds[0].name)) {
    throw new KernelError(`${where}: argument ${name} needs one attribute of ${known.join(', ')}`)
  }
  const onlyIf = attributes.find(({ name }) => name === 'function_constant')?.value
  return { name, kind: kinds[0].name, index: Number(kinds[0].value ?? 0), onlyIf }
}

/**
 * `INSTANTIATE(f, (float32), (float16));` and, in the text of one kernel,
 * `template [[host_name("x")]] [[kernel]] decltype(f<float>) f<float>;`
 */
function readInstantiations(text, kernels) {
  const entries = []
  const spans = []
  const add = (offset, length, host, name, expression) => {
    const kernel = kernels.get(name)
    if (!kernel?.isTemplate) {
      throw new KernelError(`${place(text, offset)}: ${name} is no kernel template of this file`)
    }
    entries.push({ host, expression, kernel })
    spans.push([offset, offset + length])
  }
  for (const { name, index, length, arguments: lists } of instantiations(text)) {
    for (const words of combinations(lists)) {
      const types = words.map((word) => TYPES[word] ?? word)
      add(index, length, [name, ...words].join('_'), name, `${name}<${types.join(', ')}>`)
    }
  }
  const pattern =
    /\btemplate \[\[host_name\("(?<host>\w+)"\)\]\] \[\[kernel\]\] decltype\([^()]*\) (?<expression>(?<name>\w+)<.*>);/g
  for (const { index, groups, 0: whole } of text.matchAll(pattern)) {
    add(index, whole.length, groups.host, groups.name, groups.expression)
  }
  const rest = /\bhost_name\b|\bINSTANTIATE\b/.exec(blanked(text, spans))
  if (rest)
    throw new KernelError(`${place(text, rest.index)}: write INSTANTIATE(f, (float32, ...));`)
  const isOneKernel = entries.length === 1 && text.includes('host_name(')
  for (const { name, isTemplate } of kernels.values()) {
    if (isTemplate && !isOneKernel && !entries.some(({ kernel }) => kernel.name === name)) {
      throw new KernelError(`metal/: kernel template ${name} is not instantiated`)
    }
  }
  return { entries, spans }
}

/** The C++ that registers the kernels and calls them. */
function table(name, entries) {
  const lines = ['# 1 "<kernel table>"', 'namespace table {', 'using namespace software_metal;']
  const constantRow = (constant) =>
    `{"${constant.name}", &kernels_of_${name}::${constant.name}, sizeof(${constant.type})}`
  entries.forEach(({ host, expression, kernel }, i) => {
    const isMemory = ({ kind }) => kind === 'buffer' || kind === 'threadgroup'
    const rows = kernel.parameters.flatMap((parameter, j) => {
      if (!isMemory(parameter)) return []
      const { kind, index, name, onlyIf } = parameter
      const condition = onlyIf ? `"${onlyIf}"` : 'nullptr'
      return `{${kind === 'threadgroup'}, ${index}, "${name}", Argument<F${i}::At<${j}>>::kWritten, Argument<F${i}::At<${j}>>::kBytes, ${condition}, Argument<F${i}::At<${j}>>::kAlignment}`
    })
    const values = kernel.parameters.map((parameter, j) => {
      const type = `F${i}::At<${j}>`
      if (!isMemory(parameter)) return `metal::builtin<${type}>(${BUILTINS[parameter.kind]})`
      const list = parameter.kind === 'buffer' ? 'buffers' : 'threadgroup_memory'
      return `Argument<${type}>::from(given.${list}[${parameter.index}])`
    })
    const used = kernel.constants
    lines.push(
      `using F${i} = Parameters<decltype(&kernels_of_${name}::${expression})>;`,
      `void call${i}(const Arguments& given) {`,
      '  [[maybe_unused]] const Thread& thread_ = *current_thread;',
      '  [[maybe_unused]] const Threadgroup& group = current_threadgroup;',
      `  kernels_of_${name}::${expression}(${values.join(', ').replaceAll('thread.', 'thread_.')});`,
      '}',
      `const ArgumentInfo arguments${i}[] = {${rows.join(', ') || '{}'}};`,
      `const ConstantInfo constants${i}[] = {${used.map(constantRow).join(', ') || '{}'}};`,
      // Made without a constructor that writes: a library may be loaded while the checker watches a kernel on another thread.
      `constinit const KernelInfo kernel${i}{"${host}${suffix}", call${i}, arguments${i}, ${rows.length}, constants${i}, ${used.length}};`,
      `const KernelRegistration registration${i}(kernel${i});`,
    )
  })
  return [...lines, '}'].join('\n')
}

/**
 * Kernels as CUDA knows them. Arguments are those of the kernel in its order: a pointer for each
 * buffer, a struct by value for a reference, and for threadgroup memory its offset in the block's
 * dynamic shared memory.
 */
function cudaText(name, entries, withConstants) {
  const lines = [
    '#include <type_traits>',
    '#pragma clang force_cuda_host_device begin',
    '#include <metal_stdlib>',
  ]
  const functions = []
  const add = (space, values, chosen) => {
    // Unused kernels have no code: names of a nameless namespace are the file's own.
    lines.push(
      `namespace kernels_of_${name} { namespace ${space} { namespace {`,
      withConstants(({ type, name }) =>
        values
          ? `constexpr ${type} ${name} = ${values[name]};`
          : `__attribute__((__device__)) ${type} ${name};`,
      ).replaceAll(`::kernels_of_${name}::`, `::kernels_of_${name}::${space}::`),
      '} } }',
    )
    for (const { entry, threads } of chosen) {
      functions.push(cudaFunction(`kernels_of_${name}::${space}`, entry, values, threads))
    }
  }
  if (!pipelines) {
    add(
      'any',
      undefined,
      entries.map((entry) => ({ entry })),
    )
  } else {
    const sets = new Map()
    for (const { kernel, constants: values, threads } of pipelines) {
      const entry = entries.find(({ host }) => host === kernel)
      if (!entry) continue // of another file
      const key = JSON.stringify(values)
      if (!sets.has(key)) sets.set(key, { values, chosen: [] })
      sets.get(key).chosen.push({ entry, threads })
    }
    let number = 0
    for (const { values, chosen } of sets.values()) add(`set${number++}`, values, chosen)
  }
  lines.push(
    '# 1 "<kernel functions>"',
    '#pragma clang force_cuda_host_device end',
    // Aligned for vectors. It has no size: the launch gives it one.
    'extern __attribute__((shared, aligned(16))) unsigned char threadgroup_memory[];',
  )
  return [...lines, ...functions, ''].join('\n')
}

/** Its name tells the constants that are compiled in: kernel__name_value__name_value. */
function cudaFunction(space, { host, expression, kernel }, values, threads) {
  const set = Object.entries(values ?? {}).map(([name, value]) => `__${name}_${value}`)
  // Some 640 threads a core, which leaves each 96 registers. Left to itself the assembler puts
  // registers into memory so that more threads fit.
  const together = Math.max(1, Math.floor(640 / threads))
  const bounds = threads ? `, launch_bounds(${threads}, ${together})` : ''
  const type = (j) => `F::At<${j}>`
  const declared = `using F = software_metal::Parameters<decltype(&${space}::${expression})>;`
  const alias = `${host}${set.join('')}`
  const parameters = kernel.parameters.flatMap(({ kind, name }, j) => {
    if (kind === 'threadgroup') return [`unsigned ${name}_`]
    if (kind === 'buffer') return [`std::remove_cvref_t<of_${alias}::${type(j)}> ${name}_`]
    return []
  })
  const values_ = kernel.parameters.map(({ kind, name }, j) => {
    if (kind === 'threadgroup') return `(of_${alias}::${type(j)})(threadgroup_memory + ${name}_)`
    if (kind === 'buffer') return `${name}_`
    return `metal::builtin<of_${alias}::${type(j)}>(${BUILTINS[kind]})`
  })
  return [
    `namespace of_${alias} { ${declared} }`,
    `extern "C" __attribute__((global${bounds})) void ${alias}(${parameters.join(', ')}) {`,
    '  [[maybe_unused]] const software_metal::Threadgroup group = software_metal::running_threadgroup();',
    '  [[maybe_unused]] const software_metal::Thread thread_ = software_metal::running_thread(group);',
    `  [[clang::always_inline]] ${space}::${expression}(${values_.join(', ').replaceAll('thread.', 'thread_.').replaceAll('kLanes', 'software_metal::kLanes')});`,
    '}',
  ].join('\n')
}

/** What makes clang check templates: an instantiation of each. */
function instantiate(entries) {
  return entries
    .filter(({ kernel }) => kernel.isTemplate)
    .map(({ expression }) => `template decltype(${expression}) ${expression};`)
    .join('\n')
}

// ---- text ----

/** "metal/x.metal:12", from the line markers of the preprocessor. */
function place(text, offset) {
  let file = ''
  let line = 0
  for (const row of text.slice(0, offset).split('\n')) {
    const marker = /^# (\d+) "([^"]*)"/.exec(row)
    if (marker) {
      line = Number(marker[1]) - 1
      file = marker[2]
    } else {
      line += 1
    }
  }
  return `${file}:${line}`
}

/** Line markers look like text to the rules above. Offsets stay. */
function withoutMarkers(text) {
  return text.replace(/^#.*$/gm, (marker) => ' '.repeat(marker.length))
}

/** Offset of the bracket that closes the one at `open`. */
function closing(text, open) {
  let depth = 0
  for (let i = open; i < text.length; ++i) {
    if ('([{'.includes(text[i])) depth += 1
    if (')]}'.includes(text[i])) depth -= 1
    if (depth === 0) return i
  }
  throw new KernelError(`${place(text, open)}: a bracket is not closed`)
}

function splitAtCommas(text) {
  const parts = []
  let depth = 0
  let begin = 0
  for (let i = 0; i < text.length; ++i) {
    if ('([<{'.includes(text[i])) depth += 1
    if (')]>}'.includes(text[i])) depth -= 1
    if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(begin, i))
      begin = i + 1
    }
  }
  return [...parts, text.slice(begin)].filter((part) => part.trim() !== '')
}

/** Puts `replacement`, which is shorter, in the place of a span of one line. Offsets stay. */
function replace(text, begin, end, replacement) {
  return text.slice(0, begin) + replacement.padEnd(end - begin) + text.slice(end)
}

function blanked(text, spans) {
  return spans.reduce((result, [begin, end]) => blank(result, begin, end), text)
}

function blank(text, begin, end) {
  return text.slice(0, begin) + keepLines(text.slice(begin, end)) + text.slice(end)
}

/** Spaces, but for line breaks and the preprocessor's line markers. */
function keepLines(text) {
  return text
    .split('\n')
    .map((row) => (/^# \d/.test(row) ? row : ' '.repeat(row.length)))
    .join('\n')
}
