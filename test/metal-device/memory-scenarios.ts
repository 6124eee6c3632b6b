// What the Metal device over its stand-in does with memory, in a process of its own:
//   node --import tsx memory-scenarios.ts <scenario> [argument]      with SSM_METAL_ADDON set, and
// SSM_METAL_SELF_CHECK=off, because the check has buffers of its own.
// Each prints one line of JSON.

import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Addon } from '../../lib/addon/contract.js'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { type InsufficientMemoryError, loadModel } from '../../lib/index.js'
import { memoryNeeds } from '../../lib/memory/needs.js'
import { type Checkpoint, openCheckpoint } from '../../lib/models/checkpoint.js'
import { PREFILL_CHUNK_SIZE } from '../../lib/engine/chunks.js'
import { namedFields } from '../../lib/engine/state-pool.js'
import { fieldBytes, hasPages } from '../../lib/models/state-fields.js'
import { Memory, Tensor } from '../../lib/operations/tensor.js'
import { largestPart } from '../../lib/weights/store.js'
import type { WeightWishes } from '../../lib/weights/planned-format.js'
import { readSafetensors } from '../../lib/weights/safetensors.js'

/** What stand-in/module.cpp adds. */
interface StandIn {
  standIn(): Record<string, number>
  setStandIn(name: string, value: number): void
}
const { standIn, setStandIn } = addon() as Addon & StandIn
const root = fileURLToPath(new URL('../..', import.meta.url))
const reference = (name: string) => join(root, 'test/fixtures/reference', name)
const PAGE = 16384
const MEBIBYTE = 2 ** 20

const NEEDS_CASES: readonly (WeightWishes & { views?: boolean })[] = [
  {},
  { views: true },
  { dtype: 'float16' },
  { quantize: { bits: 8, groupSize: 32 } },
]

/** The GPU lets go of the last buffers a little after a run is reported. */
async function noBuffers(): Promise<void> {
  for (let i = 0; i < 200 && standIn().bufferBytes! > 0; ++i) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const messageOf = (run: Promise<unknown>): Promise<string> =>
  run.then(
    () => 'no error',
    (error: Error) => error.message,
  )

async function golden(name: string): Promise<{ ids: number[]; logits: Float32Array }> {
  const file = join(reference(name), 'golden.safetensors')
  const { tensors } = await readSafetensors(file)
  const bytes = await readFile(file)
  const part = (tensor: string) => {
    const { byteOffset, byteLength } = tensors.get(tensor)!
    return Uint8Array.from(bytes.subarray(byteOffset, byteOffset + byteLength)).buffer
  }
  const ids = Array.from(new BigInt64Array(part('input_ids')), Number)
  return { ids, logits: new Float32Array(part('logits')) }
}

function relativeL2(actual: Float32Array, expected: Float32Array): number {
  let difference = 0
  let square = 0
  for (const [i, x] of actual.entries()) {
    difference += (x - expected[i]!) ** 2
    square += expected[i]! ** 2
  }
  return Math.sqrt(difference / square)
}

/** out = values + values of a file's part, or why not. */
async function addFromFile(memory: Memory, offset: number, elements: number): Promise<string> {
  using device = createDevice('metal')
  const part = new Tensor(memory, 'float32', [elements], offset)
  const out = device.tensor('float32', [elements])
  using list = device.record((cl) => cl.add(part, part, out))
  const message = await messageOf(list.run())
  const isRight = (x: number, i: number) => x === 2 * (offset / 4 + i)
  const result = message !== 'no error' || (out.read() as Float32Array).every(isRight)
  out.dispose()
  return result === true ? message : 'wrong numbers'
}

/** Bytes of what a model with experts has in memory of its own: matrices that the file has one by one, and what experts give. */
function largestOfExperts({ tensors, config }: Checkpoint, tokens: number): number[] {
  const stacked = new Map<string, number>()
  for (const { name, byteLength } of tensors.values()) {
    const all = name.replace(/\.experts\.\d+\./, '.experts.')
    if (all !== name) stacked.set(all, (stacked.get(all) ?? 0) + byteLength)
  }
  const results = config.layers.map((layer) =>
    layer.kind === 'experts' ? 4 * Math.min(tokens, 64) * layer.numChosen * config.dModel : 0,
  )
  return [...stacked.values(), ...results]
}

const scenarios: Record<string, (argument: string) => Promise<unknown>> = {
  // A reference model whose file is larger than the GPU's largest buffer.
  async views(name) {
    const { ids, logits } = await golden(name)
    const checkpoint = await openCheckpoint(reference(name))
    const [file] = [...new Set([...checkpoint.tensors.values()].map((entry) => entry.file))]
    const largest = Math.max(
      largestPart(checkpoint.tensors, file!),
      ...largestOfExperts(checkpoint, ids.length),
    )
    const ends = [...checkpoint.tensors.values()].map((e) => e.byteOffset + e.byteLength)
    const fileBytes = Math.max(...ends)
    // Every memory of the run must fit too; the least with which no tensor has a view of its own.
    const least = Math.ceil(largest / PAGE) * PAGE + PAGE
    const tokens = ids.slice(0, 8)
    const expected = logits.subarray(0, (tokens.length * logits.length) / ids.length)
    const results = []
    for (const most of [fileBytes + PAGE, least, least + 3 * PAGE - 1]) {
      setStandIn('maxBufferLength', most)
      const straddling = [...checkpoint.tensors.values()].filter(
        ({ byteOffset, byteLength }) =>
          Math.floor(byteOffset / most) !== Math.floor((byteOffset + byteLength - 1) / most),
      ).length
      // A chunk of a usual prompt would not fit: what is needed is not asked.
      const before = standIn().buffersMade! // loading converts vectors, by views of the file
      const model = await loadModel(reference(name), { device: 'metal', memory: 'unchecked' })
      const actual = await model.logits(tokens)
      results.push({
        straddling,
        buffers: standIn().buffersMade! - before,
        error: relativeL2(actual.data, expected),
      })
      model.dispose()
    }
    return results
  },

  async parts() {
    const most = 4 * PAGE
    const path = join(tmpdir(), `ssm-metal-views-${process.pid}.bin`)
    writeFileSync(
      path,
      Float32Array.from({ length: 16 * (PAGE / 4) }, (_, i) => i),
    ) // 16 pages
    setStandIn('maxBufferLength', most)
    const messages: Record<string, string> = {}
    const run = async (what: string, offset: number, bytes: number, largest: number) => {
      const memory = Memory.mapFile(path, { largestPart: largest })
      const before = standIn().buffersMade!
      messages[what] = await addFromFile(memory, offset, bytes / 4)
      if (messages[what] === 'no error') {
        messages[what] = `${standIn().buffersMade! - before - 1} views`
      }
      memory.dispose()
    }
    await run('from the start, at the limit', 0, most, most)
    await run('at a page, at the limit', 5 * PAGE, most, most)
    await run('at the end, at the limit', 12 * PAGE, most, most)
    await run('one element above the limit', 0, most + 4, most + 4)
    await run('at the limit, but across five pages', 5 * PAGE + 4, most, most)
    await run('across a boundary', 4 * PAGE - 64, 128, PAGE)
    await run('larger than was said', 3 * PAGE + 64, 3 * PAGE, 64)
    setStandIn('maxBufferLength', most + 4095)
    await run('at a limit that is not pages', 5 * PAGE, most, most)
    await run('above it', 5 * PAGE, most + 4, most)
    // What is written is one buffer or none.
    using device = createDevice('metal')
    setStandIn('maxBufferLength', most)
    const add = async (elements: number) => {
      const tensor = device.tensor('float32', [elements])
      using list = device.record((cl) => cl.add(tensor, tensor, tensor))
      const message = await messageOf(list.run())
      tensor.dispose()
      return message
    }
    messages['written, at the limit'] = await add(most / 4)
    messages['written, one element above'] = await add(most / 4 + 1)
    return messages
  },

  // What is said to be needed, against the buffers that were there at most.
  async needs(name) {
    const path = reference(name)
    const checkpoint = await openCheckpoint(path)
    const isPaged = hasPages(checkpoint.config)
    // Two cases are enough for pages.
    const cases = isPaged ? [NEEDS_CASES[0]!, NEEDS_CASES[2]!] : NEEDS_CASES
    const results = []
    for (const { views, ...wishes } of cases) {
      if (checkpoint.config.quantization && 'quantize' in wishes) continue
      const { file } = [...checkpoint.tensors.values()][0]!
      const largest = largestPart(checkpoint.tensors, file)
      setStandIn('maxBufferLength', views ? Math.max(2.5 * MEBIBYTE, largest + PAGE) : 2 ** 33)
      const device = createDevice('metal')
      const before = standIn().buffersMade!
      const context = isPaged ? { maxContext: 2 * PREFILL_CHUNK_SIZE } : {}
      const { totalBytes } = await memoryNeeds(device, checkpoint, { ...wishes, ...context })
      const madeByPlanning = standIn().buffersMade! - before
      device.dispose()
      await noBuffers()
      setStandIn('mostBufferBytes', 0)
      const options = { device: 'metal', promptCache: false, ...wishes, ...context } as const
      const model = await loadModel(path, options)
      // Two chunks, the last one whole too: as much as a prompt can need. But a context has to have room for the text.
      const length = 2 * PREFILL_CHUNK_SIZE - (isPaged ? 3 : 0)
      const prompt = Array.from({ length }, (_, i) => i % 50)
      // A GPU that ends a run before the next one is there needs less.
      setStandIn('leastGpuTime', 20)
      await model.generate(prompt, { maxTokens: 3, ignoreEos: true })
      setStandIn('leastGpuTime', 0)
      // Zeros, as many as the largest field has: for whoever finds a slot that was used, and there is nobody.
      const zeros = Math.max(...namedFields(model.languageModel).map(fieldBytes))
      // And two tensors for the log-probabilities of streams that ask for them.
      const always = Math.ceil(zeros / PAGE) * PAGE + 2 * PAGE
      // The pool that pages move from, with its table, is gone before the last block of a run comes.
      const unused = always + (isPaged ? 2 * PAGE : 0)
      results.push({ said: totalBytes, most: standIn().mostBufferBytes, unused, madeByPlanning })
      model.dispose()
      await noBuffers()
    }
    return results
  },

  // Commits and requests of a load and 100 tokens.
  async residency() {
    const counts = () => {
      const {
        residencyCommits: commits,
        residencyRequests: requests,
        buffersMade: buffers,
      } = standIn()
      return { commits: commits!, requests: requests!, buffers: buffers! }
    }
    // A copy for the prompt cache is a list, with a buffer, more.
    const model = await loadModel(reference('rene'), { device: 'metal', promptCache: false })
    const load = counts()
    const start = performance.now()
    const { tokens } = await model.generate([1, 2, 3], { maxTokens: 101, ignoreEos: true })
    const generated = counts()
    const beats = Math.floor((performance.now() - start) / 500) + 1
    model.dispose()
    return { load, generated, beats, tokens: tokens.length }
  },

  // Buffers after prompts whose states are kept, and after checkpoints of sessions.
  async snapshots() {
    const model = await loadModel(reference('rene'), { device: 'metal' })
    const options = { maxTokens: 4, ignoreEos: true }
    const settled = async () => {
      let bytes: number
      do {
        bytes = standIn().bufferBytes!
        await new Promise((resolve) => setTimeout(resolve, 50))
      } while (standIn().bufferBytes! !== bytes)
      return bytes
    }
    const prompts = async (first: number) => {
      for (let i = first; i < first + 8; i++) {
        await model.generate([i, ...prompt], options)
        await model.generate([i, ...prompt, 1, 2], options)
      }
      return settled()
    }
    const prompt = Array.from({ length: 70 }, (_, i) => i)
    const afterPrompts = [await prompts(0), await prompts(100), await prompts(200)]
    const { promptCacheBytes } = model.memory()
    const sessions = []
    const afterCheckpoints = []
    for (let i = 0; i < 8; i++) {
      const session = model.createSession()
      await session.prefill([i, ...prompt])
      const checkpoint = await session.checkpoint()
      await session.generate('', options)
      await session.rewind(checkpoint)
      sessions.push(checkpoint)
      session.dispose()
      afterCheckpoints.push(await settled())
    }
    const { snapshotBytes } = model.memory()
    model.dispose()
    return { afterPrompts, afterCheckpoints, promptCacheBytes, snapshotBytes }
  },

  // A model on GPUs with more and less memory.
  async check() {
    const path = join(root, 'models/rene-tiny-f16')
    const attempt = async (workingSet: number, elsewhere: number, options: object = {}) => {
      setStandIn('workingSet', workingSet * MEBIBYTE)
      setStandIn('allocatedElsewhere', elsewhere * MEBIBYTE)
      const before = standIn().buffersMade!
      const error = await loadModel(path, { device: 'metal', ...options }).then(
        (model) => model.dispose(),
        ({ code, message }: InsufficientMemoryError) => ({ code, message }),
      )
      return { error, buffers: standIn().buffersMade! - before }
    }
    return {
      enough: await attempt(100, 0),
      elsewhere: await attempt(100, 75),
      eight: await attempt(34, 0),
      four: await attempt(24, 0),
      fourBits: await attempt(24, 0, { quantize: { bits: 4 } }),
      nothing: await attempt(1, 0),
      unchecked: await attempt(1, 0, { memory: 'unchecked' }),
      buffer: await (async () => {
        setStandIn('maxBufferLength', MEBIBYTE)
        return attempt(100, 0)
      })(),
    }
  },
}

const [name = '', argument = ''] = process.argv.slice(2)
console.log(JSON.stringify(await scenarios[name]!(argument)))
