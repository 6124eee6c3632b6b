// The rig's programs, for its own tests.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))
const clang = process.env.CXX ?? 'clang++-19'

export type Build = 'fast' | 'checked'

function run(program: string, args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  return { status, output: `${stdout}${stderr}` }
}

/** Runs a kernel of seeded/bugs.metal. `beside`: see run_seeded.cpp. */
export function runSeeded(build: Build, kernel: string, schedule = 'forward', beside = false) {
  const module = build === 'checked' ? 'seeded_bugs_checked.so' : 'seeded_bugs.so'
  return run(join(here, 'build/run_seeded'), [
    join(here, 'build/Release', module),
    kernel,
    schedule,
    ...(beside ? ['beside'] : []),
  ])
}

/** The strict pass over the given kernel files, or over all of metal/. */
export function checkStrict(...files: string[]) {
  return run(process.execPath, [join(here, 'check-strict.mjs'), ...files])
}

export function seeded(name: string): string {
  return join(here, 'seeded', `${name}.metal`)
}

/** A mistake: `from` in a file of metal/ becomes `to`. */
export interface Mutation {
  file: string
  /** The file with the kernels, where neither `file` nor the operation says it. */
  kernels?: string
  from: string
  to: string
}

/**
 * Compiles the kernels of an operation from a copy of metal/ with one mistake to a library in `folder`,
 * which replaces those of the same names where SSM_SOFTWARE_METAL_KERNELS names it. Returns its path.
 */
export function compileMutant(
  folder: string,
  operation: string,
  mutation: Mutation,
  options: readonly string[] = ['-O2'],
): string {
  // Under its own name, by which the files include each other.
  const copy = join(folder, 'metal')
  cpSync(join(root, 'metal'), copy, { recursive: true })
  const file = join(copy, mutation.file)
  const text = readFileSync(file, 'utf8')
  if (!text.includes(mutation.from)) throw new Error(`${mutation.file} has no ${mutation.from}`)
  writeFileSync(file, text.replace(mutation.from, mutation.to))

  const ownFile = mutation.file.endsWith('.metal') ? mutation.file : `${operation}.metal`
  const kernels = mutation.kernels ?? ownFile
  const source = join(folder, `${operation}.cpp`)
  const library = join(folder, `${operation}.so`)
  const steps: [string, string[]][] = [
    [process.execPath, [join(here, 'compile-kernels.mjs'), join(copy, kernels), source]],
    [
      clang,
      [
        ...options,
        `@${join(here, 'kernel-options.rsp')}`,
        ...['-fno-sanitize-link-runtime', '-shared', '-I', join(here, 'include')],
        ...[source, '-o', library],
      ],
    ],
  ]
  for (const [program, args] of steps) {
    const { status, output } = run(program, args)
    if (status !== 0) throw new Error(`${program} failed: ${output}`)
  }
  return library
}

/** Runs the suite of an operation on the rig, with one mistake in its kernels. */
export function runMutant(build: Build, operation: string, mutation: Mutation) {
  const folder = mkdtempSync(join(tmpdir(), 'mutant-'))
  try {
    const options = build === 'checked' ? ['-O1', `@${join(here, 'checked-options.rsp')}`] : ['-O2']
    const library = compileMutant(folder, operation, mutation, options)
    const project = build === 'checked' ? 'software-metal-checked' : 'software-metal'
    const test = `test/ops/${operation.replaceAll('_', '-')}.test.ts`
    return run(join(root, 'node_modules/.bin/vitest'), ['run', '--project', project, test], {
      SSM_SOFTWARE_METAL_KERNELS: library,
      NO_COLOR: '1',
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
