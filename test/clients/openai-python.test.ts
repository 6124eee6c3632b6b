// OpenAI's own client for Python, unmodified, from PyPI in a folder of its own: openai_python.py has the tests.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { installPackages } from '../../scripts/python-packages.js'
import { startServer, type TestServer } from '../support/serving.js'
import { TOOL_TEMPLATE } from '../support/tools.js'

const VERSION = '3.57.0'
const PACKAGES = fileURLToPath(new URL(`../../.cache/openai-${VERSION}`, import.meta.url))
const PROGRAM = fileURLToPath(new URL('openai_python.py', import.meta.url))

const names = [...readFileSync(PROGRAM, 'utf8').matchAll(/^def test_(\w+)/gm)].map(
  ([, name]) => name!,
)
/** What failed of each test that has run. */
const failures = new Map<string, string | null>()
let output = ''
let servers: TestServer[] = []

beforeAll(async () => {
  installPackages(PACKAGES, [`openai==${VERSION}`], { lead: '[openai]', hashed: false })
  servers = await Promise.all([
    startServer(),
    startServer({ apiKey: 'a' }, { maxStreams: 1, maxQueue: 0 }),
    startServer({ alias: 'rene-tiny' }, { chatTemplate: TOOL_TEMPLATE }),
  ])
  const [plain, guarded, tools] = servers.map(({ url }) => url)
  const words = [PROGRAM, JSON.stringify({ plain, guarded, tools })]
  const env = { ...process.env, PYTHONPATH: PACKAGES, PYTHONDONTWRITEBYTECODE: '1' }
  const python = spawn('python3', words, { env, timeout: 100_000 })
  for (const stream of [python.stdout, python.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  await once(python, 'close')
  for (const [line] of output.matchAll(/^\{.*\}$/gm)) {
    const { name, failure } = JSON.parse(line)
    failures.set(name, failure)
  }
}, 300_000)

afterAll(() => Promise.all(servers.map((server) => server.stop())))

it.each(names)('%s', (name) => {
  if (!failures.has(name)) throw new Error(`it did not run: ${output}`)
  expect(failures.get(name)).toBeNull()
})
