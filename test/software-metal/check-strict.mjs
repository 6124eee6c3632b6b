// The strict pass: type-checks kernel files as C++ for OpenCL, which knows address spaces and has no
// double here. The rig's own build gives both up: it is C++ for the CPU.
//   node check-strict.mjs [kernel file ...]      without files: all of metal/
// Pointers without an address space are refused as well: Metal wants one on each.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../..')
const clang = process.env.CXX ?? 'clang++-19'

const given = process.argv.slice(2)
const files =
  given.length > 0
    ? given
    : readdirSync(join(root, 'metal'))
        .filter((name) => name.endsWith('.metal'))
        .map((name) => join(root, 'metal', name))

const folder = mkdtempSync(join(tmpdir(), 'strict-'))
const failed = files.filter((file) => !check(file))
rmSync(folder, { recursive: true })
console.log(`strict: ${files.length - failed.length} of ${files.length} kernel files pass`)
process.exit(failed.length > 0 ? 1 : 0)

function check(file) {
  const text = join(folder, `${basename(file, '.metal')}.clcpp`)
  const rewritten = spawnSync(
    process.execPath,
    [join(here, 'compile-kernels.mjs'), '--strict', file, text],
    { stdio: 'inherit' },
  )
  if (rewritten.status !== 0) return false
  const extensions = ['+cl_khr_fp16', '-cl_khr_fp64', '-__opencl_c_fp64'].join()
  const options = ['-x', 'clcpp', '--target=x86_64-linux-gnu', '-cl-std=clc++2021', '-fsyntax-only']
  // Without OpenCL's own library.
  options.push('-cl-no-stdinc')
  const command = [...options, '-Xclang', `-cl-ext=${extensions}`, '-fno-caret-diagnostics', '-I']
  const result = spawnSync(
    clang,
    // The tree of our own text goes to the output; everything in it is inside this namespace.
    [...command, join(here, 'include-strict'), '-Xclang', '-ast-dump', '-Xclang'].concat(
      '-ast-dump-filter=kernels_of_',
      text,
    ),
    { cwd: root, encoding: 'utf8', maxBuffer: 1 << 30 },
  )
  process.stderr.write(result.stderr)
  // With a name: those of copy constructors, which nobody wrote, have none.
  const declaration =
    /(?:ParmVar|Var|Field)Decl .* (?:col|line):[\d:]+ (?:used |referenced )*(?!used |referenced )([a-zA-Z_]\w*) '([^']*__generic[^']*)'/g
  const unqualified = [...result.stdout.matchAll(declaration)]
  for (const name of new Set(unqualified.map(([, name, type]) => `${name} (${type})`))) {
    console.error(`${file}: ${name}: a pointer or reference without an address space`)
  }
  return result.status === 0 && unqualified.length === 0
}
