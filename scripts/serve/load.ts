// Many clients at once, of whom every third leaves in the middle of its text:
//   npm run serve-load -- [--seconds 60] [--clients 64] [--cache]
// Without --cache the server keeps no prompts, and each text that is completed must be the one that a client alone gets
// for its seed; with it, that of a cold prompt up to rounding. Prints figures; exit code 1 for another status than 200
// and 429, a text that differs, a text that runs on, or memory that grows.

import { parseArgs } from 'node:util'
import { loadModel } from '../../lib/index.js'
import { runClients } from './clients.js'
import { seededExercises, sharedExercises } from './exercises.js'
import { MemoryWatch, MOST_GROWTH, startServerProcess } from './server-process.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    clients: { type: 'string', default: '64' },
    cache: { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const clients = Number(values.clients)

const alone = await loadModel(undefined, { promptCache: false })
const exercises = values.cache ? await sharedExercises(alone, 64) : await seededExercises(alone, 16)
alone.dispose()

// Fewer places than clients, so that some are refused.
const places = ['--max-streams', '32', '--max-queue', '16']
const server = await startServerProcess([
  ...places,
  '--prompt-cache',
  // Fewer states than there are prompts, so that some have to make room.
  values.cache ? String(128 * 2 ** 20) : '0',
])
const memory = new MemoryWatch(server, seconds / 60)
const start = performance.now()
const { wrong, ...counts } = await runClients(server.url, exercises, {
  clients,
  isOver: () => performance.now() - start >= 1000 * seconds,
})
memory.stop()
const [tokens, cached, textsLeft] = await Promise.all(
  ['generated_tokens_total', 'cached_tokens_total', 'texts'].map((name) => server.metric(name)),
)
await server.stop()
const growth = memory.growth()
const MiB = memory.samples.filter((_, i) => i % 6 === 5).map(({ MiB }) => Math.round(MiB))
console.log(
  JSON.stringify({
    seconds,
    clients,
    ...counts,
    wrong: wrong.length,
    tokens,
    cached,
    textsLeft,
    growth,
    MiB,
  }),
)
for (const message of wrong.slice(0, 10)) console.error(message)
if (wrong.length > 0 || textsLeft !== 0 || !(growth.ratio < MOST_GROWTH.minute))
  process.exitCode = 1
