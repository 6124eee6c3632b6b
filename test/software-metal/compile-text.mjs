// Compiles the text of one kernel (native/metal/kernel_source.h), its constants literals, into a library
// for the rig:
//   node compile-text.mjs <text file> <folder>
// Prints the path of the library. It is kept in the folder under the hash of the text and of what
// compiles it; a kernel is registered by its name with "@" and that hash behind it.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const [input, folder] = process.argv.slice(2)
if (!input || !folder) {
  console.error('usage: node compile-text.mjs <text file> <folder>')
  process.exit(2)
}
const text = readFileSync(input)
const options = [
  '-O1',
  `@${join(here, 'kernel-options.rsp')}`,
  `@${join(here, 'checked-options.rsp')}`,
]

const hash = createHash('sha256').update(text)
const compilers = ['compile-kernels.mjs', 'kernel-options.rsp', 'checked-options.rsp']
for (const header of readdirSync(join(here, 'include'))) compilers.push(join('include', header))
for (const file of compilers.sort()) hash.update(readFileSync(join(here, file)))
const name = hash.digest('hex').slice(0, 16)
const library = join(folder, `${name}.so`)

if (!existsSync(library)) {
  mkdirSync(folder, { recursive: true })
  // Several processes may do the same: each writes files of its own and renames the last.
  const own = join(folder, `text_${name}_${process.pid}`)
  writeFileSync(`${own}.metal`, text)
  run(process.execPath, [
    join(here, 'compile-kernels.mjs'),
    ...['--suffix', `@${name}`, `${own}.metal`, `${own}.cpp`],
  ])
  run(process.env.CXX ?? 'clang++-19', [
    ...options,
    ...['-fno-sanitize-link-runtime', '-shared', '-I', join(here, 'include')],
    ...[`${own}.cpp`, '-o', `${own}.so`],
  ])
  renameSync(`${own}.so`, library)
  for (const extension of ['metal', 'cpp']) rmSync(`${own}.${extension}`)
}
console.log(library)

function run(program, args) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return
  console.log(`${stdout}${stderr}`)
  process.exit(1)
}
