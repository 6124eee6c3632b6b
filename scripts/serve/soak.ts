// Everything that clients do to a server, for a long time:
//   npm run serve-soak -- [--minutes 30] [--clients 8] [--seed 1]
// Chats of several turns, responses, completions, tools, JSON schemas, clients that leave or do not read, and malformed
// requests, by chance; with the prompt cache. Prints a line a minute; exit code 1 for an answer that is wrong, a text
// that runs on, or memory that grows.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededIntegers } from '../../test/unit/random.js'
import { MemoryWatch, MOST_GROWTH, startServerProcess } from './server-process.js'
import { SoakClient, TEMPLATE } from './soak-client.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
  },
})
const minutes = Number(values.minutes)
const clients = Number(values.clients)
const seed = Number(values.seed)

const folder = mkdtempSync(join(tmpdir(), 'soak-'))
process.once('exit', () => rmSync(folder, { recursive: true }))
const template = join(folder, 'template.jinja')
writeFileSync(template, TEMPLATE)
// Fewer places than clients may ask for, so that some wait and some are refused.
const server = await startServerProcess([
  ...['--chat-template', template, '--idle-timeout', '2', '--max-tokens', '4096'],
  ...['--max-streams', '6', '--max-queue', '2', '--prompt-cache', String(256 * 2 ** 20)],
])

const counts = new Map<string, number>()
const wrong: string[] = []
const start = performance.now()
const isOver = () => performance.now() - start >= 60_000 * minutes
const running = Array.from({ length: clients }, async (_, i) => {
  const client = new SoakClient(server.url, seededIntegers(1000 * seed + i))
  while (!isOver()) {
    const { name, failure } = await client.act()
    counts.set(name, (counts.get(name) ?? 0) + 1)
    if (failure === undefined) continue
    wrong.push(`${name}: ${failure}`)
    console.error(`${name}: ${failure.slice(0, 1000)}`)
  }
})

const memory = new MemoryWatch(server, 10)
const report = async () => {
  const MiB = Math.round(await memory.sample())
  const passed = ((performance.now() - start) / 60_000).toFixed(1)
  console.log(
    JSON.stringify({ minutes: passed, MiB, wrong: wrong.length, ...Object.fromEntries(counts) }),
  )
}
await report()
const timer = setInterval(() => void report(), 60_000)
await Promise.all(running)
clearInterval(timer)
memory.stop()
await report()
// Who did not read is let go after a while.
while ((await server.metric('texts')) > 0) await new Promise((resolve) => setTimeout(resolve, 100))
console.log(await (await fetch(`${server.url}/metrics`)).text())
await server.stop()
const growth = memory.growth()
console.log(JSON.stringify({ growth, wrong: wrong.length }))
if (wrong.length > 0 || !(growth.ratio < MOST_GROWTH.hour)) process.exitCode = 1
