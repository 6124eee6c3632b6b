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
  for (const name of ['pnpm', 'bun'] as const) {
    if (root.includes(`${sep}node_modules${sep}.${name}${sep}`)) return name // linked from there
  }
  const at = `${root}${sep}`.indexOf(`${sep}node_modules${sep}`)
  if (at < 0) return 'npm'
  const project = root.slice(0, at)
  return MARKS.find(([, file]) => existsSync(join(project, file)))?.[0] ?? 'npm'
}

/** What each has for allowing the install scripts that it blocks. */
const ALLOW: Record<PackageManager, string> = {
  npm: 'npm approve-scripts',
  pnpm: 'pnpm approve-builds',
  yarn: 'enableScripts of yarn',
  bun: 'bun pm trust',
}

/** What does not help where the addon is missing, for those who try it first. */
export function uselessCommand(root: string): string {
  return ALLOW[packageManagerOf(root)]
}

/** The command that compiles the addon of the package in this folder. */
export function buildCommand(root: string): string {
  if (isClone(root)) return 'npm run build:native'
  return `${RUN[packageManagerOf(root)]} ssm-metal build`
}

/** Whether this folder is a clone of the repository, and not an installed package. */
export function isClone(root: string): boolean {
  return existsSync(join(root, 'lib/operations/addon.ts'))
}
