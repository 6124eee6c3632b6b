// A user without a home: HOME is empty, or not set for a user in no list of users, as in containers.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { ROOT, runChild } from '../support/child-process.js'

const cli = join(ROOT, 'lib/cli.ts')
const variables = ['XDG_CACHE_HOME', 'HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE']
const none = Object.fromEntries(variables.map((name) => [name, '']))

const users: [string, { env: NodeJS.ProcessEnv; nodeOptions?: string[] }][] = [
  ['HOME is empty', { env: { ...none, HOME: '' } }],
]
if (process.getuid?.() === 0) {
  const preload = join(ROOT, 'test/support/without-home.mjs')
  users.push(['nobody knows the user', { env: none, nodeOptions: ['--import', preload] }])
}

describe.each(users)('%s', (_, options) => {
  it('computes', async () => {
    const { code, stdout, stderr } = await runChild(
      cli,
      ['generate', '-p', 'The', '-n', '3'],
      options,
    )
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(stdout).not.toBe('')
  })

  it('describes a model by its path', async () => {
    const { code, stdout } = await runChild(cli, ['show', fixture('rene')], options)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^architecture +rene/m)
  })

  it('is told that there is no cache of the Hub', async () => {
    const { code, stderr } = await runChild(cli, ['show', 'org/name'], options)
    expect(code).toBe(1)
    expect(stderr).toContain('no cache of the Hub: the user has no home; set HF_HOME or HOME')
    const word = await runChild(cli, ['show', 'word'], options)
    expect(word.stderr).toContain('(there is none: set HF_HOME or HOME)')
  })

  it('finds one where a variable says so', async () => {
    const hub = await temporaryFolder()
    const env = { ...options.env, HF_HOME: hub }
    const { stderr } = await runChild(cli, ['show', 'org/name'], { ...options, env })
    expect(stderr).toContain(join(hub, 'hub', 'models--org--name'))
    // The folder is this user's alone.
    if (options.nodeOptions) expect(stderr).toContain('(no permission to look there)')
  })

  it('is told that nothing can be kept', async () => {
    const { code, stderr } = await runChild(cli, ['tune', '--reset'], options)
    expect(code).toBe(1)
    expect(stderr).toMatch(/the user has no home; set XDG_CACHE_HOME or HOME/)
    expect(stderr).not.toMatch(/^ +at /m)
  })
})

it('this user has a home, so that the tests above show something', () => {
  expect(homedir()).not.toBe('')
})
