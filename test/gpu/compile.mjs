// Compiles kernel files for an NVIDIA GPU, with clang alone as far as PTX; where the CUDA toolkit's
// ptxas is, to cubins too, and says what each kernel takes:
//   node compile.mjs [--pipelines FILE] OUTPUT [kernel file ...]     without files: all of metal/
// OUTPUT gets x.ptx, x.cubin and resources.jsonl: {"function", "registers", "stack", "spills"} a line.
// Without pipelines, constants are variables; with them they are compiled in, as on a Mac.
import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../..')
const rig = join(root, 'test/software-metal')
const clang = process.env.CXX ?? 'clang++-19'
const ARCHITECTURE = 'sm_90'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { pipelines: { type: 'string' } },
})
const [output, ...given] = positionals
if (!output) {
  console.error('usage: node compile.mjs [--pipelines FILE] OUTPUT [kernel file ...]')
  process.exit(2)
}
const files =
  given.length > 0
    ? given
    : readdirSync(join(root, 'metal'))
        .filter((name) => name.endsWith('.metal'))
        .map((name) => join(root, 'metal', name))
mkdirSync(output, { recursive: true })
const resources = join(output, 'resources.jsonl')
rmSync(resources, { force: true })
const hasAssembler = spawnSync('ptxas', ['--version']).status === 0

const waiting = [...files]
let failed = 0
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      if (!(await compile(file))) failed += 1
    }
  }),
)
const form = hasAssembler ? 'cubins' : 'PTX only: no ptxas here'
console.log(`cuda: ${files.length - failed} of ${files.length} kernel files compile (${form})`)
process.exit(failed > 0 ? 1 : 0)

async function compile(file) {
  const stem = join(output, basename(file, '.metal'))
  const pipelines = values.pipelines ? ['--pipelines', values.pipelines] : []
  const text = ['--cuda', ...pipelines, file, `${stem}.cu`]
  if ((await run(process.execPath, [join(rig, 'compile-kernels.mjs'), ...text])) === undefined)
    return false
  // No header and no library of the toolkit. Loops unroll as far as Metal's compiler unrolls them,
  // which is not documented; reductions over arrays need it.
  const options = ['-x', 'cuda', '--cuda-device-only', `--cuda-gpu-arch=${ARCHITECTURE}`]
  // Without a toolkit to ask, clang names a PTX version that is older than the architecture.
  options.push('--cuda-feature=+ptx80')
  // Metal's compiler inlines every function.
  options.push('-mllvm', '-inline-threshold=100000')
  options.push('-nocudainc', '-nocudalib', '-std=c++20', '-O3', '-mllvm', '-unroll-threshold=1000')
  options.push('-ffp-contract=on', '-g1', '-S', '-I', join(rig, 'include'))
  options.push('-Wno-unknown-cuda-version', '-Wno-duplicate-decl-specifier')
  options.push('-Wno-unused-const-variable', '-Wno-unused-function', '-Wno-pass-failed')
  if ((await run(clang, [...options, `${stem}.cu`, '-o', `${stem}.ptx`])) === undefined)
    return false
  if (!hasAssembler) return true
  let rows = await assemble(stem)
  const spilling = rows?.filter(({ spills }) => spills > 0) ?? []
  if (spilling.length > 0) {
    // As many registers as they want, for as few threads a core as that leaves.
    let ptx = readFileSync(`${stem}.ptx`, 'utf8')
    for (const { function: name } of spilling) {
      const entry = new RegExp(`(\\.entry ${name}\\([^{]*\\.minnctapersm) \\d+`)
      ptx = ptx.replace(entry, '$1 1')
    }
    writeFileSync(`${stem}.ptx`, ptx)
    rows = await assemble(stem)
  }
  for (const row of rows ?? []) appendFileSync(resources, `${JSON.stringify(row)}\n`)
  return rows !== undefined
}

/** Makes a cubin of PTX; resolves to what each function takes, or to undefined when that failed. */
async function assemble(stem) {
  const report = await run('ptxas', [
    ...[`-arch=${ARCHITECTURE}`, '-lineinfo', '-v', `${stem}.ptx`],
    ...['-o', `${stem}.cubin`],
  ])
  const pattern =
    /Function properties for (\w+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads[\s\S]*?Used (\d+) registers/g
  return (
    report &&
    [...report.matchAll(pattern)].map(([, name, stack, stores, loads, registers]) => ({
      function: name,
      registers: Number(registers),
      stack: Number(stack),
      spills: Number(stores) + Number(loads),
    }))
  )
}

/** Resolves to what it printed, or to undefined, after printing it, when it failed. */
function run(program, args) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data))
    child.on('error', (error) => {
      console.error(`${program}: ${error.message}`)
      done(undefined)
    })
    child.on('close', (status) => {
      if (status !== 0) console.error(text)
      done(status === 0 ? text : undefined)
    })
  })
}
