// Shows that a turn of a chat costs its new text only: time to first token of turn one and of turn ten for equal new
// text, and of turn eleven in a new process, after the chat was saved and loaded.
//   npm run chat-turns -- [MODEL] [--chats 21] [--turns 10] [--tokens 16] [--template FILE]
//
// Each round has a chat of its own: its last turn and the first turn of a new chat are beside each other, now this one
// ahead and now that one, so that a busy neighbour slows both. The model keeps no prompt cache: what is reused is
// the chat's.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from '../../lib/bench/statistics.js'
import { type Chat, loadModel, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    chats: { type: 'string', default: '21' },
    turns: { type: 'string', default: '10' },
    tokens: { type: 'string', default: '16' },
    template: { type: 'string' },
    load: { type: 'string' },
  },
})
const template = values.template ? readFileSync(values.template, 'utf8') : PLAIN_CHAT_TEMPLATE
const count = (name: 'chats' | 'turns' | 'tokens', least: number): number => {
  const number = Number(values[name])
  if (Number.isInteger(number) && number >= least) return number
  throw new RangeError(
    `[chat-turns] --${name} must be a whole number from ${least} on but is ${values[name]}`,
  )
}
const [chats, turns, tokens] = [count('chats', 1), count('turns', 2), count('tokens', 1)]

/** What a turn took until its first token, and what it computed. */
interface Turn {
  ms: number
  computed: number
  cached: number
}

interface Times {
  first: Turn[]
  last: Turn[]
}

await using model = await loadModel(positionals[0], { promptCache: false })

const QUESTION = 'What happened on the following day, and who was there to see it?'

async function say(chat: Chat, question = QUESTION): Promise<Turn> {
  const { usage, timings } = await chat.send(question, { maxTokens: tokens, ignoreEos: true })
  const { promptTokens, cachedTokens } = usage
  return {
    ms: timings.timeToFirstTokenMs,
    computed: promptTokens - cachedTokens,
    cached: cachedTokens,
  }
}

// The first touch of the weights belongs to nobody. A later turn also computes what ends the answer before, a few tokens:
// first questions are as much longer, so that both compute the same number.
async function firstQuestion(): Promise<string> {
  using chat = model.createChat({ template })
  const first = await say(chat)
  for (let turn = 2; turn < 4; turn++) await say(chat)
  const { computed } = await say(chat)
  return QUESTION + ' so'.repeat(computed - first.computed)
}

/** The next turn of a chat and the first one of a new one. */
async function both({ first, last }: Times, chat: Chat, round: number): Promise<void> {
  using fresh = model.createChat({ template })
  if (round % 2 === 1) last.push(await say(chat))
  first.push(await say(fresh, question))
  if (round % 2 === 0) last.push(await say(chat))
}

/** In a new process: the turn after a loaded chat's, and the first turn of a new chat, in turns. */
async function afterLoading(file: string): Promise<Times> {
  const times: Times = { first: [], last: [] }
  for (let i = 0; i < chats; i++) {
    using chat = model.createChat({ template })
    await chat.load(file)
    await both(times, chat, i)
  }
  return times
}

async function measure(file: string): Promise<Times> {
  const times: Times = { first: [], last: [] }
  for (let i = 0; i < chats; i++) {
    using chat = model.createChat({ template })
    for (let turn = 1; turn < turns; turn++) await say(chat)
    await both(times, chat, i)
    if (i === chats - 1) await chat.save(file)
  }
  return times
}

function row(what: string, all: readonly Turn[], first: readonly Turn[]): string {
  const ms = median(all.map((turn) => turn.ms))
  const difference = median(all.map((turn, i) => turn.ms - first[i]!.ms))
  const { computed, cached } = all.at(-1)!
  const share = median(all.map((turn, i) => turn.ms / first[i]!.ms))
  return `${what} | ${computed} | ${cached} | ${ms.toFixed(2)} | ${share.toFixed(3)} | ${difference.toFixed(2)}`
}

const question = await firstQuestion()
if (values.load) {
  console.log(JSON.stringify(await afterLoading(values.load)))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'ssm-metal-chat-turns-'))
  try {
    const file = join(folder, 'a.session')
    const here = await measure(file)
    const words = ['--import', 'tsx', fileURLToPath(import.meta.url), ...process.argv.slice(2)]
    const child = spawnSync(process.execPath, [...words, '--load', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    if (child.status !== 0) throw new Error('[chat-turns] the new process failed')
    const there = JSON.parse(child.stdout) as Times
    console.log(`${chats} chats, medians; compared in turns`)
    console.log('turn | computed | cached | first token, ms | against the first | difference, ms')
    console.log('---- | --: | --: | --: | --: | --:')
    console.log(row('1', here.first, here.first))
    console.log(row(String(turns), here.last, here.first))
    console.log(row('1, in a new process', there.first, there.first))
    console.log(row(`${turns + 1}, loaded there`, there.last, there.first))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
