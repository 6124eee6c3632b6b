// Builds a folder that a machine with a GPU needs nothing else for (it may lack Node, clang and the
// network), on Linux on x86-64 with clang 19 and CUDA's ptxas: node pack.mjs FOLDER
// Then, on that machine: FOLDER/run.sh RESULTS. `npm run build:software-metal` comes first.
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../..')
const built = join(root, 'test/software-metal/build')

const [folder] = process.argv.slice(2)
if (!folder) {
  console.error('usage: node pack.mjs FOLDER')
  process.exit(2)
}
const at = (...names) => join(resolve(folder), ...names)
mkdirSync(at('js'), { recursive: true })

run(process.execPath, [join(root, 'node_modules/.bin/tsc'), '-p', here, '--outDir', at('js')])
copyFileSync(join(root, 'package.json'), at('js/package.json'))
const tokenizers = 'node_modules/@huggingface/tokenizers'
mkdirSync(at('js', dirname(tokenizers)), { recursive: true })
cpSync(join(root, tokenizers), at('js', tokenizers), { recursive: true })

for (const name of ['Release/gpu_metal.node', 'gpu_run_seeded']) {
  copyFileSync(join(built, name), at(name.replace('Release/', '')))
  run('strip', [at(name.replace('Release/', ''))])
}
copyFileSync(process.execPath, at('node'))
for (const name of ['run.sh', 'seeded.sh']) copyFileSync(join(here, name), at(name))

// What the lists of all that will run dispatch: the constants to compile in.
const pipelines = at('pipelines.jsonl')
rmSync(pipelines, { force: true })
for (const [script, ...args] of [
  ['lib/cli.js', 'verify', '--device', 'metal', '--quick'],
  ['test/gpu/measure.js', at('rows.jsonl')],
  ['test/gpu/batch-invariance.js', '--record'],
  ['test/gpu/model.js', at('rows.jsonl'), at('model'), '--record'],
  ['test/gpu/families.js', at('rows.jsonl'), at('model'), '--record'],
]) {
  // It computes nothing, so it finds nothing right.
  run(process.execPath, [at('js', script), ...args], {
    anyStatus: true,
    env: { SSM_METAL_ADDON: at('gpu_metal.node'), SSM_GPU_PIPELINES: pipelines },
  })
}
rmSync(at('rows.jsonl'), { force: true })
rmSync(at('model'), { recursive: true, force: true })
writeFileSync(pipelines, sortedLines(readFileSync(pipelines, 'utf8')))

run(process.execPath, [join(here, 'compile.mjs'), '--pipelines', pipelines, at('kernels')])
const bugs = join(root, 'test/software-metal/seeded/bugs.metal')
run(process.execPath, [join(here, 'compile.mjs'), at('seeded'), bugs])
if (!existsSync(at('kernels/matvec.cubin'))) fail('ptxas is not installed: there are no cubins')
for (const name of ['kernels', 'seeded']) {
  run('find', [at(name), '(', '-name', '*.cu', '-o', '-name', '*.ptx', ')', '-delete'])
}
console.log(`${folder} is complete`)

function sortedLines(text) {
  return `${[...new Set(text.trim().split('\n'))].sort().join('\n')}\n`
}

function run(program, args, { anyStatus = false, env = {} } = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  })
  if (result.error) fail(`${program}: ${result.error.message}`)
  if (!anyStatus && result.status !== 0) fail(`${program} ${args.join(' ')} failed`)
}

function fail(message) {
  console.error(`pack: ${message}`)
  process.exit(1)
}
