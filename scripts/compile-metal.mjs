// On a Mac: compiles texts of kernels with both of Apple's compilers, that of Xcode and that of the
// driver, which is what users have.
//   npm run compile-metal [-- folder]     without one: the texts of published models (kernel-texts)
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'metal-'))
let failed = 0
try {
  const texts = process.argv[2] ?? rendered()
  const files = readdirSync(texts)
    .filter((name) => name.endsWith('.metal'))
    .map((name) => join(texts, name))
  if (files.length === 0) throw new Error(`no .metal file in ${texts}`)
  const metal = ['-sdk', 'macosx', 'metal', '-std=metal3.1', '-fno-fast-math', '-c']
  for (const file of files) run('xcrun', ...metal, file, '-o', join(folder, 'text.air'))
  console.log(`xcrun metal: ${files.length - failed} of ${files.length} texts compile`)

  const program = join(folder, 'compile-texts')
  const source = join(root, 'test/metal-device/compile-texts.mm')
  const options = ['-std=c++20', '-fobjc-arc', '-mmacosx-version-min=14.0']
  const frameworks = ['Foundation', 'Metal', 'CoreGraphics'].flatMap((name) => ['-framework', name])
  if (run('clang++', ...options, source, ...frameworks, '-o', program)) run(program, ...files)
} finally {
  rmSync(folder, { recursive: true })
}
process.exitCode = failed > 0 ? 1 : 0

/** Writes what a Mac compiles for published models; returns the folder. */
function rendered() {
  const texts = join(folder, 'texts')
  run(process.execPath, '--import', 'tsx', join(root, 'scripts/write-kernel-texts.ts'), texts)
  return texts
}

function run(program, ...args) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', cwd: root })
  if (error) console.error(`${program}: ${error.message}`)
  if (status !== 0) failed += 1
  return status === 0
}
