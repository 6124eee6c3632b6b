// Which package manager installed this package, for the commands that messages name.

import { existsSync } from 'node:fs'
import { join, sep } from 'node:path'

export type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun'

/** What stands before the name of a program that a dependency brings. */
const RUN: Record<PackageManager, string> = {
  npm: 'npx',
  pnpm: 'pnpm exec',
  yarn: 'yarn run',
  bun: 'bunx',
}

/** What each leaves in node_modules or beside it; the surest first. */
const MARKS: [PackageManager, string][] = [
  ['pnpm', 'node_modules/.modules.yaml'],
  ['yarn', 'node_modules/.yarn-state.yml'],
  ['npm', 'node_modules/.package-lock.json'],
  ['bun', 'bun.lock'],
  ['bun', 'bun.lockb'],
  ['pnpm', 'pnpm-lock.yaml'],
  ['yarn', 'yarn.lock'],
]

/** The package manager that installed the package in this folder; npm where nothing tells. */
export function packageManagerOf(root: string): PackageManager {
  if (root.includes(`${sep}.yarn${sep}`)) return 'yarn' // unpacked there without a node_modules around it
  const at = `${root}${sep}`.indexOf(`${sep}node_modules${sep}`)
  if (at < 0) return 'npm'
  const project = root.slice(0, at)
  return MARKS.find(([, file]) => existsSync(join(project, file)))?.[0] ?? 'npm'
}

/** The command that compiles the addon of the package in this folder. */
export function buildCommand(root: string): string {
  if (isClone(root)) return 'npm run build:native'
  return `${RUN[packageManagerOf(root)]} ssm-metal build`
}

/** Whether this folder is a clone of the repository, and not an installed package. */
export function isClone(root: string): boolean {
  return existsSync(join(root, 'lib/addon.ts'))
}
