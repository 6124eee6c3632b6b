// Many clients at once: tsx scripts/serve/load.ts [SECONDS] [CLIENTS]. Every third leaves in the middle of its text. With the
// prompt cache off every text that is completed must be the one that a client alone gets for its seed. Prints one line
// of figures; exit code 1 for another status than 200 and 429, or a text that differs.

import { loadModel, type Model } from '../../lib/index.js'
import { serve } from '../../lib/serve/serve.js'

const [seconds = 60, clients = 64] = process.argv.slice(2).map(Number)
const PROMPTS = [
  'Once upon a time',
  'The old man looked at the sea',
  'In the morning',
  'A letter came',
]
const SEEDS = 16

const MAX_STREAMS = 32
const MAX_QUEUE = 16
const loading = { promptCache: false, maxStreams: MAX_STREAMS, maxQueue: MAX_QUEUE } as const
const server = await serve(
  {
    load: () => loadModel(undefined, loading),
    places: MAX_STREAMS + MAX_QUEUE,
    model: undefined,
    log: (message) => console.error(message),
  },
  { port: 0 },
)

const requestOf = (i: number) => ({
  prompt: PROMPTS[i % PROMPTS.length]!,
  seed: i % SEEDS,
  temperature: 0.8,
  max_tokens: 16 + (i % SEEDS) * 4,
})

async function expectedTexts(model: Model): Promise<string[]> {
  const texts: string[] = []
  for (let i = 0; i < SEEDS * PROMPTS.length; i++) {
    const { prompt, max_tokens: maxTokens, ...options } = requestOf(i)
    texts.push((await model.generate(prompt, { ...options, maxTokens })).text)
  }
  return texts
}
const alone = await loadModel(undefined, loading)
const expected = await expectedTexts(alone)
alone.dispose()

const counts = { completed: 0, left: 0, refused: 0, failed: 0, different: 0 }
const end = performance.now() + 1000 * seconds
let next = 0

async function client(isLeaving: boolean): Promise<void> {
  while (performance.now() < end) {
    const i = next++ % expected.length
    const controller = new AbortController()
    const response = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...requestOf(i), stream: true }),
      signal: controller.signal,
    })
    if (response.status === 429) {
      counts.refused += 1
      await response.text()
      await new Promise((resolve) => setTimeout(resolve, 50))
      continue
    }
    if (response.status !== 200) {
      counts.failed += 1
      console.error(response.status, await response.text())
      continue
    }
    if (isLeaving) {
      const reader = response.body!.getReader()
      for (let chunk = 0; chunk < 5; chunk++) await reader.read()
      controller.abort()
      counts.left += 1
      continue
    }
    const events = (await response.text()).split('\n\n').slice(0, -2)
    const text = events.map((event) => JSON.parse(event.slice(6)).choices[0].text).join('')
    if (text !== expected[i]) counts.different += 1
    counts.completed += 1
  }
}

const memory: string[] = []
const every = 1000 * Math.max(1, seconds / 10)
const timer = setInterval(() => {
  const { rss, heapUsed } = process.memoryUsage()
  memory.push(`${(rss / 2 ** 20).toFixed(0)} (heap ${(heapUsed / 2 ** 20).toFixed(0)})`)
}, every)
await Promise.all(Array.from({ length: clients }, (_, i) => client(i % 3 === 2)))
clearInterval(timer)
const left = /^ssm_metal_texts (\d+)$/m.exec(await (await fetch(`${server.url}/metrics`)).text())
await server.stop()
const MiB = memory.join(', ')
console.log(JSON.stringify({ seconds, clients, ...counts, textsLeft: Number(left![1]), MiB }))
if (counts.failed + counts.different > 0) process.exitCode = 1
