// The workflow that publishes, as far as it can be tested here: it is valid, and whatever it calls exists.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ROOT } from '../support/child-process.js'
import { releaseCommands } from './release-commands.js'

interface Step {
  uses?: string
  run?: string
  if?: string
  with?: Record<string, string>
}
interface Job {
  needs?: string | string[]
  if?: string
  'timeout-minutes'?: number
  permissions?: Record<string, string>
  strategy?: { matrix: Record<string, unknown> }
  steps: Step[]
}

const text = readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8')
const workflow = parse(text, { strict: true }) as {
  on: Record<string, unknown>
  permissions: Record<string, string>
  jobs: Record<string, Job>
}
const jobs = Object.entries(workflow.jobs)
const steps = jobs.flatMap(([, job]) => job.steps)
const scripts = steps.flatMap(({ run }) => run ?? [])
const needsOf = (job: Job) => [job.needs ?? []].flat()

it('runs for tags, and by hand', () => {
  expect(workflow.on).toEqual({ push: { tags: ['v*'] }, workflow_dispatch: null })
})

it('has steps that either use a pinned action or run a script with the syntax of a shell', () => {
  for (const { uses, run } of steps) {
    expect([uses, run].filter(Boolean)).toHaveLength(1)
    if (uses) expect(uses).toMatch(/^actions\/(checkout|setup-node|(up|down)load-artifact)@v\d+$/)
    if (!run) continue
    const { status, stderr } = spawnSync('bash', ['-n'], { input: run, encoding: 'utf8' })
    expect(status, `${run}: ${stderr}`).toBe(0)
  }
})

it('needs jobs that exist, and publishes only after all others, only for a tag', () => {
  for (const [, job] of jobs) {
    for (const name of needsOf(job)) expect(workflow.jobs).toHaveProperty(name)
  }
  const publish = workflow.jobs.publish!
  const before = new Set(needsOf(publish))
  for (const name of before) for (const other of needsOf(workflow.jobs[name]!)) before.add(other)
  expect([...before, 'publish'].sort()).toEqual(Object.keys(workflow.jobs).sort())
  expect(publish.if).toBe("startsWith(github.ref, 'refs/tags/')")
  expect(scripts.filter((script) => script.includes('npm publish'))).toEqual([
    'npm publish ./ssm-metal-*.tgz --provenance --access public',
  ])
})

it('lets nothing but publishing ask for an identity, and none write', () => {
  expect(workflow.permissions).toEqual({ contents: 'read' })
  for (const [name, { permissions }] of jobs) {
    const expected = name === 'publish' ? { contents: 'read', 'id-token': 'write' } : undefined
    expect(permissions).toEqual(expected)
  }
})

it('downloads what was uploaded', () => {
  const names = (action: string) =>
    steps.flatMap((step) => (step.uses?.startsWith(`actions/${action}`) ? step.with!.name! : []))
  const uploaded = names('upload-artifact')
  expect(new Set(uploaded).size).toBe(uploaded.length)
  expect(new Set(names('download-artifact'))).toEqual(new Set(uploaded))
})

it('uses values of the matrix that it has', () => {
  for (const [, job] of jobs) {
    for (const [, name] of JSON.stringify(job).matchAll(/matrix\.(\w+)/g)) {
      expect(job.strategy?.matrix).toHaveProperty(name!)
    }
  }
})

it('calls scripts of package.json and projects of vitest that exist', () => {
  const { scripts: known } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const named = scripts.flatMap((script) =>
    [...script.matchAll(/npm run (\S+)/g)].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(1)
  for (const name of named) expect(known).toHaveProperty([name!])
  const config = readFileSync(join(ROOT, 'vitest.config.ts'), 'utf8')
  const projects = scripts.flatMap((script) =>
    [...script.matchAll(/--project (\S+)/g)].map(([, name]) => name),
  )
  expect(projects).toEqual(['shipped', 'alone'])
  for (const name of projects) expect(config).toContain(`name: '${name}'`)
})

it('installs with scripts blocked, generates and verifies (package.test.ts runs these commands)', () => {
  expect(releaseCommands()).toEqual([
    expect.stringMatching(/^npm install --ignore-scripts .* \.\/ssm-metal-\*\.tgz$/),
    'npx ssm-metal info',
    expect.stringMatching(/^npx ssm-metal generate -p /),
    'npx ssm-metal verify --device cpu --failures',
  ])
})

describe('what a mistake in it would be', () => {
  it('YAML that is none', () => {
    expect(() => parse(`${text}\n  bad: [`, { strict: true })).toThrow()
  })
})
