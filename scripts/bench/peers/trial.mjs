// One trial in a process of its own: loads one model in one engine, measures, prints one line of JSON.
// Plain JavaScript, so that memory is what users of either engine would see.
//
//   node trial.mjs '{ "engine": "ssm-metal", "model": ..., "threads": 2, "prompt": 512, "generate": 64,
//                     "repetitions": 3, "seed": 1, "mmap": true }'
//   with "logits": [ids]   prints the logits after these tokens instead, read as a prompt and one by one
//   with "bandwidth": true prints what these threads read from memory, in bytes a second
//
// An engine has prepare(), which loads its binary, and openEngine(), which gives
//   prefill(tokens)  runs a prompt from an empty state
//   decode(count)    chooses the most likely token and runs it, so many times
//   token()          chooses the most likely token, where the last run has not
//   logitsAfter(prompt, ids)  the last logits, the ids read one by one

import { readFileSync } from 'node:fs'
import { answer, randomTokens, watchOthers } from './measuring.mjs'

const FIRST_PROMPT = 16 // tokens of the prompt whose first token ends the load
const WARMUP_TOKENS = 4

const request = JSON.parse(process.argv[2])
const now = () => performance.now()

function peakMemoryBytes() {
  try {
    // Without what the parent had before it became this process, which getrusage counts.
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

async function measure(engine, loadMs, startupMs) {
  const { prompt, generate, repetitions, seed, vocabulary } = request
  let next = seed
  const tokens = (count) => randomTokens(next++, vocabulary, count)
  const run = async (promptTokens, generated) => {
    const ids = tokens(promptTokens)
    const start = now()
    await engine.prefill(ids)
    const read = now()
    await engine.decode(generated)
    return { prefillMs: read - start, decodeMs: now() - read }
  }
  const beforeFirst = now()
  await engine.prefill(tokens(FIRST_PROMPT))
  await engine.token()
  const firstTokenMs = loadMs + now() - beforeFirst
  await run(Math.min(prompt, 64), WARMUP_TOKENS)
  const othersShare = watchOthers()
  const prefill = []
  const decode = []
  for (let i = 0; i < repetitions; i++) {
    const { prefillMs, decodeMs } = await run(prompt, generate)
    prefill.push((1000 * prompt) / prefillMs)
    decode.push((1000 * generate) / decodeMs)
  }
  return {
    prefill,
    decode,
    startupMs,
    loadMs,
    firstTokenMs,
    peakMemoryBytes: peakMemoryBytes(),
    weightBytes: engine.weightBytes,
    stateBytes: engine.stateBytes,
    /** Share of the machine's processors that others used meanwhile. */
    otherCpu: othersShare(),
  }
}

async function logits(engine) {
  const ids = Uint32Array.from(request.logits)
  const asPrompt = await engine.logitsAfter(ids, [])
  const oneByOne = await engine.logitsAfter(ids.subarray(0, 1), ids.subarray(1))
  return { asPrompt: [...asPrompt], oneByOne: [...oneByOne] }
}

let result
if (request.bandwidth) {
  const { measureReadBandwidth } = await import('../../../dist/bench/bandwidth.js')
  result = { bytesPerSecond: await measureReadBandwidth(request.threads) }
} else {
  const module = await import(`./engine-${request.engine}.mjs`)
  const contextSize = (request.logits?.length ?? request.prompt + request.generate) + 64
  const startup = now()
  const prepared = await module.prepare?.(request)
  const start = now()
  const engine = await module.openEngine({ ...request, contextSize }, prepared)
  const loaded = now()
  result = request.logits
    ? await logits(engine)
    : await measure(engine, loaded - start, start - startup)
  await engine.dispose()
}
answer(result)
