// Formats every C++, Objective-C++ and Metal file of the tree; with --check only says which are not
// formatted. Uses clang-format 14 where it has that name: other versions disagree about details.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
// What is installed or built.
const OTHERS = new Set(['node_modules', 'build', 'dist', 'prebuilds'])

/** The files of a folder and of those in it, but for hidden ones. */
function sources(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.name.startsWith('.') || OTHERS.has(entry.name)) return []
    if (entry.isDirectory()) return sources(path)
    return /\.(h|cpp|mm|metal)$|^(metal_stdlib|__config_site)$/.test(entry.name) ? [path] : []
  })
}

const options = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
for (const program of ['clang-format-14', 'clang-format']) {
  const words = [...options, ...sources('')]
  const { error, status } = spawnSync(program, words, { cwd: root, stdio: 'inherit' })
  if (!error) process.exit(status ?? 1)
}
console.error('clang-format is not installed (Debian: apt-get install clang-format-14)')
process.exit(1)
