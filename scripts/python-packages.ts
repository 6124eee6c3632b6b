// Packages from PyPI in a folder of their own: nothing of the system's Python changes.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * Installs packages into `folder`, unless it is there: lines as in a requirements file. Wheels only, and with `hashed`
 * only those whose hashes the lines name. Those that are `alone` come without what they depend on. Throws what failed,
 * after `lead`.
 *
 *     installPackages('.cache/mlx', ['mlx-lm==0.32.2'], { lead: '[mlx]', hashed: false })
 */
export function installPackages(
  folder: string,
  requirements: readonly string[],
  {
    lead,
    hashed,
    alone = [],
  }: { lead: string; hashed: boolean; alone?: readonly string[] | undefined },
): void {
  if (existsSync(folder)) return
  mkdirSync(dirname(folder), { recursive: true })
  // Under other names until it is complete, one for each process that may do this now.
  const own = `${folder}.${process.pid}`
  const [environment, target, list] = [`${own}.venv`, own, `${own}.txt`]
  const options = ['--only-binary=:all:', '--quiet', '--no-input', '--disable-pip-version-check']
  const hashes = hashed ? ['--require-hashes'] : []
  writeFileSync(list, requirements.map((line) => `${line}\n`).join(''))
  try {
    run(lead, 'python3', '-m', 'venv', environment)
    const pip = join(environment, 'bin/pip')
    run(lead, pip, 'install', ...options, ...hashes, '--target', target, '-r', list)
    if (alone.length > 0) {
      run(lead, pip, 'install', ...options, '--no-deps', '--target', target, ...alone)
    }
    if (!existsSync(folder)) renameSync(target, folder)
  } finally {
    for (const path of [environment, target, list]) rmSync(path, { recursive: true, force: true })
  }
}

function run(lead: string, program: string, ...args: string[]): void {
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return
  throw new Error(
    `${lead} could not be installed from PyPI (it needs python3, python3-venv and the network): ${program} ${args.join(' ')}: ${error?.message ?? stdout + stderr}`,
  )
}
