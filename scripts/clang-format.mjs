// Formats the C++ sources and shared headers; with --check only says which are not formatted.
// Uses clang-format 14 where it has that name: other versions disagree about details.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const files = [
  'native',
  'native/cpu',
  'native/metal',
  'metal',
  'test/software-metal',
  'test/software-metal/include',
  'test/metal-device/stand-in',
  'test/metal-device/sdk/Foundation',
  'test/metal-device/sdk/Metal',
].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => /\.(h|cpp|mm|metal)$/.test(name))
    .map((name) => join(folder, name)),
)
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
for (const program of ['clang-format-14', 'clang-format']) {
  const { error, status } = spawnSync(program, [...mode, ...files], { stdio: 'inherit' })
  if (!error) process.exit(status ?? 1)
}
console.error('clang-format is not installed (Debian: apt-get install clang-format-14)')
process.exit(1)
