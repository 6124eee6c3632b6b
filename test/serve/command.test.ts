// ssm-metal serve, as a process.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runChild, startChild, untilOutput } from '../support/child-process.js'
import { temporaryFolder } from '../support/checkpoints.js'

const CLI = new URL('../../lib/cli.ts', import.meta.url).pathname

describe('ssm-metal serve', () => {
  it('prints where it listens, asks for the key of its file, and lets a request end', async () => {
    const file = join(await temporaryFolder(), 'key')
    await writeFile(file, 'secret\n')
    const words = ['serve', '--port', '0', '--api-key-file', file, '--chat-template', 'plain']
    const child = startChild(CLI, [...words, '--alias', 'small'])
    let url = ''
    child.process.stdout!.on('data', (text: string) => {
      url += text
    })
    await untilOutput(child, 'stderr', /small is served/)
    url = url.trim()
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const body = { prompt: 'Once', max_tokens: 200, stream: true, logit_bias: { 0: -100 } }
    const ask = (key: string) =>
      fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify(body),
      })
    expect((await ask('other')).status).toBe(401)
    const response = await ask('secret')
    child.process.kill('SIGTERM')
    expect(await response.text()).toMatch(/"finish_reason":"length".*\[DONE\]\n\n$/s)
    const { code, stdout, stderr } = await child.result
    expect([code, stdout]).toEqual([0, `${url}\n`])
    expect(stderr).toContain('stopping')
  })

  it.each([
    [['--host', '0.0.0.0', '--port', '0'], {}, 1, 'no key is set'],
    [['--no-auth'], { SSM_METAL_API_KEY: 'a' }, 2, 'leave one out'],
    [[], { SSM_METAL_API_KEY: '' }, 1, 'printable ASCII'],
    [['--chat-template', '/nowhere'], {}, 1, 'there is no file'],
    [['--api-key-file', '/nowhere'], {}, 1, 'there is no file'],
  ])('%j with %j is an error', async (words, env, code, message) => {
    const result = await runChild(CLI, ['serve', ...words], { env })
    expect(result.code).toBe(code)
    expect(result.stderr).toContain(message)
    expect(result.stdout).toBe('')
  })
})
