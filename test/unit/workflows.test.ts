// The workflows of .github: nothing here can run them, but what they name can be looked up.

import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, '.github/workflows')
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const projects = readFileSync(join(root, 'vitest.config.ts'), 'utf8')

interface Step {
  uses?: string
  run?: string
}

/** What is wrong with a line of shell, as far as it calls what is ours. */
function faults(command: string): string[] {
  const found: string[] = []
  for (const [, name] of command.matchAll(/\bnpm run (?:--\S+ )*([\w:.-]+)/g)) {
    if (!(name! in scripts)) found.push(`no script ${name}`)
  }
  for (const [, name] of command.matchAll(/--project[ =]([\w-]+)/g)) {
    if (!projects.includes(`name: '${name}'`)) found.push(`no project ${name}`)
  }
  for (const [, path] of command.matchAll(/(?:^|\s)(?:\.\/)?((?:scripts|test|lib)\/[\w./-]+)/g)) {
    if (!existsSync(join(root, path!))) found.push(`no file ${path}`)
  }
  // What `npm run build` makes of lib/.
  for (const [, path] of command.matchAll(/\bdist\/([\w/-]+)\.js\b/g)) {
    if (!existsSync(join(root, `lib/${path}.ts`))) found.push(`no file dist/${path}.js`)
  }
  for (const [path] of command.matchAll(/(?<=^|\s)\.ci\/\w+/g)) {
    try {
      accessSync(join(root, path), constants.X_OK)
    } catch {
      found.push(`no program ${path}`)
    }
  }
  return found
}

describe.each(readdirSync(folder))('%s', (name) => {
  const workflow = parse(readFileSync(join(folder, name), 'utf8'), { strict: true })

  test('has jobs whose steps run or use something', () => {
    expect(Object.keys(workflow)).toEqual(expect.arrayContaining(['name', 'on', 'jobs']))
    for (const [job, { steps, ...rest }] of Object.entries<{ steps: Step[] }>(workflow.jobs)) {
      expect(rest, job).toHaveProperty('runs-on')
      expect(rest, job).toHaveProperty('timeout-minutes')
      for (const { uses, run } of steps) expect([uses, run].filter(Boolean), job).toHaveLength(1)
    }
  })

  test('calls only what exists', () => {
    const commands = Object.values<{ steps: Step[] }>(workflow.jobs)
      .flatMap(({ steps }) => steps)
      .flatMap(({ run }) => run?.split('\n') ?? [])
    expect(commands.length).toBeGreaterThan(0)
    expect(commands.flatMap(faults)).toEqual([])
  })
})

test.each([
  ['npm run no-such-script', 'no script no-such-script'],
  ['npx vitest run --project no-such-project', 'no project no-such-project'],
  ['node scripts/no-such-file.mjs', 'no file scripts/no-such-file.mjs'],
  ['node dist/no-such-file.js info', 'no file dist/no-such-file.js'],
  ['.ci/nothing', 'no program .ci/nothing'],
])('%s would be found', (command, fault) => {
  expect(faults(command)).toEqual([fault])
})
