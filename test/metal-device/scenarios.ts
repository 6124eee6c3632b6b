// What happens on the Metal device over its stand-in, in a process of its own:
//   node --import tsx scenarios.ts <scenario>      with SSM_METAL_ADDON set
// Each prints one line of JSON.

import { fileURLToPath } from 'node:url'
import type { Addon } from '../../lib/addon/contract.js'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import { loadModel } from '../../lib/index.js'

/** What stand-in/module.cpp adds. */
interface StandIn {
  standIn(): Record<string, number>
  setStandIn(name: string, value: number): void
  readFreed(): number
}
const standIn = addon() as Addon & StandIn
const model = fileURLToPath(new URL('../../models/rene-tiny', import.meta.url))

/** The GPU lets go of the last objects a little after a run is reported. */
async function liveObjects(): Promise<number> {
  for (let i = 0; i < 3000 && standIn.standIn().liveObjects! > 0; ++i) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return standIn.standIn().liveObjects!
}

const libraryCount = () => standIn.standIn().librariesMade!

/** out = a + b on 64 elements. */
function adding(device: Device) {
  const a = device.tensor('float32', [64], new Float32Array(64).fill(2))
  const b = device.tensor('float32', [64], new Float32Array(64).fill(3))
  const out = device.tensor('float32', [64])
  const list = device.record((cl) => cl.add(a, b, out))
  const dispose = () => {
    list.dispose()
    for (const tensor of [a, b, out]) tensor.dispose()
  }
  return { list, out, dispose }
}

/** x += 1 this many times, each about 0.1 ms of a small GPU, in a list that counts as a prompt's. */
function counting(device: Device, times: number) {
  const x = device.tensor('float32', [1 << 19])
  const one = device.tensor('float32', [1 << 19], new Float32Array(1 << 19).fill(1))
  const [tokens, product] = [0, 1].map(() => device.tensor('float32', [1, 64, 4]))
  const weight = device.tensor('float32', [4, 4])
  const list = device.record((cl) => {
    cl.matmul(tokens!, weight, product!, { role: 'chunk' })
    for (let i = 0; i < times; i++) cl.add(x, one, x)
  })
  const dispose = () => {
    list.dispose()
    for (const tensor of [x, one, tokens!, product!, weight]) tensor.dispose()
  }
  return { list, x, dispose }
}

async function messageOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'no error',
    (error: Error) => error.message,
  )
}

const scenarios: Record<string, () => Promise<unknown>> = {
  async generate() {
    const prompt = [1, 2, 3, 50, 60, 7, 8]
    const results = []
    for (const device of ['cpu', 'metal'] as const) {
      const loaded = await loadModel(model, { device })
      const libraries = libraryCount()
      const { tokens } = await loaded.generate(prompt, { maxTokens: 3, temperature: 0 })
      results.push({ device: loaded.device.name, tokens })
      if (device === 'metal') {
        results.push({ live: standIn.standIn().liveObjects! > 0, libraries, now: libraryCount() })
      }
      loaded.dispose()
    }
    const { dispatchesDone, inexactDispatches } = standIn.standIn()
    return { results, dispatchesDone, inexactDispatches, live: await liveObjects() }
  },

  // Kernels are compiled before anything runs, each text once, whoever asks.
  async prepare() {
    const device = createDevice('metal')
    const { list, out, dispose } = adding(device)
    const other = adding(device)
    const made = () => [standIn.standIn().librariesMade, standIn.standIn().pipelinesMade]
    const counts = [made()]
    await Promise.all([list.prepare(), other.list.prepare(), list.prepare()])
    counts.push(made())
    await list.run()
    await other.list.run()
    counts.push(made())
    const sum = out.read()[63]
    // A failure is reported to each that waits; what comes later tries again.
    const a = device.tensor('float32', [64])
    const casting = device.record((cl) => cl.cast(a, a))
    standIn.setStandIn('failLibraries', 1)
    const failed = [await messageOf(casting.prepare())]
    failed.push(await messageOf(casting.prepare()))
    // Disposing of a device ends what it still prepares.
    const last = casting.prepare()
    device.dispose()
    failed.push(await messageOf(last))
    casting.dispose()
    a.dispose()
    other.dispose()
    dispose()
    return { counts, sum, failed, live: await liveObjects() }
  },

  // Each failure ends one run; the next one succeeds.
  async failures() {
    const device = createDevice('metal')
    const messages: Record<string, string> = {}
    const { list, out, dispose } = adding(device)
    for (const name of ['failLibraries', 'failBuffers', 'failCommandBuffers']) {
      standIn.setStandIn(name, 1)
      messages[name] = await messageOf(list.run())
    }
    await list.run()
    const sum = out.read()[63]
    standIn.setStandIn('maxBufferLength', 1 << 20)
    const large = device.tensor('float32', [1 << 20])
    const tooLarge = device.record((cl) => cl.add(large, large, large))
    messages.maxBufferLength = await messageOf(tooLarge.run())
    tooLarge.dispose()
    large.dispose()
    standIn.setStandIn('maxThreads', 16)
    const weight = device.tensor('float32', [64], new Float32Array(64).fill(1))
    const norm = device.record((cl) => cl.rmsNorm(weight, weight, weight, { eps: 1e-5 }))
    messages.maxThreads = await messageOf(norm.run())
    norm.dispose()
    weight.dispose()
    dispose()
    device.dispose()
    return { messages, sum, live: await liveObjects() }
  },

  // Each error of Metal's ends one run and the device goes on, until it is lost.
  async gpuErrors() {
    const device = createDevice('metal')
    const messages: Record<string, string> = {}
    const codes: Record<string, string> = {}
    const { list, dispose } = adding(device)
    standIn.setStandIn('completionDelay', 5)
    const early = ['failPipelines', 'failEncoders']
    const onTheGpu = ['failLate', 'timeOut', 'runOutOfMemory', 'failInAnotherDomain']
    for (const name of [...early, ...onTheGpu]) {
      standIn.setStandIn(name, 1)
      const { message, code, operation } = await list.run().then(
        () => new Error('no error'),
        (error) => error,
      )
      messages[name] = message
      codes[name] = `${code} ${operation}`
      await list.run()
    }
    standIn.setStandIn('hang', 1)
    const hanging = messageOf(list.run())
    const behind = list.run()
    const state = await Promise.race([
      hanging,
      new Promise((resolve) => setTimeout(() => resolve('hangs'), 100)),
    ])
    if (state !== 'hangs') throw new Error('the GPU does not hang')
    standIn.setStandIn('endHang', 1)
    messages.hang = await hanging
    await behind
    standIn.setStandIn('loseDevice', 1)
    messages.loseDevice = await messageOf(list.run())
    messages.afterLoseDevice = await messageOf(list.run())
    standIn.setStandIn('failQueues', 1)
    messages.failQueues = await messageOf(Promise.resolve().then(() => createDevice('metal')))
    dispose()
    device.dispose()
    return { messages, codes, live: await liveObjects() }
  },

  // What a run wrote that the GPU did not end is not used before it is written whole.
  async mixture() {
    const device = createDevice('metal')
    const { list, out, dispose } = adding(device)
    const counter = device.tensor('float32', [1])
    const one = device.tensor('float32', [1], Float32Array.of(1))
    const counting = device.record((cl) => cl.add(counter, one, counter))
    await counting.run()
    standIn.setStandIn('failLate', 1)
    // The second one computes, on what the first one left.
    const failed = await Promise.all([messageOf(counting.run()), messageOf(counting.run())])
    const after = await messageOf(counting.run())
    const read = await messageOf(Promise.resolve().then(() => counter.read()))
    counter.write(Float32Array.of(7))
    await counting.run()
    const count = counter.read()[0]
    standIn.setStandIn('failLate', 1)
    const whole = [await messageOf(list.run()), await messageOf(list.run()), out.read()[0]]
    counting.dispose()
    counter.dispose()
    one.dispose()
    dispose()
    device.dispose()
    return { failed, after, read, count, whole, live: await liveObjects() }
  },

  // A prompt goes to the GPU in pieces, and the third of five fails, is no longer wanted, or hangs.
  async pieces() {
    const device = createDevice('metal', { tuning: { piece_microseconds: 100 }, gpuTimeout: 3 })
    const { list, x, dispose } = counting(device, 5)
    const zero = () => x.write(new Float32Array(x.shape[0]!))
    const done = () => standIn.standIn().commandBuffersDone!
    const before = done()
    await list.run()
    const whole = { count: x.read()[0], pieces: done() - before }
    const failures: Record<string, unknown> = {}
    for (const name of ['failCommandBuffers', 'failLate', 'failEncoders']) {
      zero()
      standIn.setStandIn(name === 'failEncoders' ? 'spareEncoders' : 'spare', 2)
      standIn.setStandIn(name, 1)
      const message = await messageOf(list.run())
      const read = await messageOf(Promise.resolve().then(() => x.read()))
      const unwritten = await messageOf(list.run())
      zero()
      const after = await messageOf(list.run())
      failures[name] = { message, read, unwritten, after, count: x.read()[0] }
    }
    // The run behind one that fails.
    standIn.setStandIn('spare', 2)
    standIn.setStandIn('failLate', 1)
    const both = await Promise.all([messageOf(list.run()), messageOf(list.run())])
    zero()
    standIn.setStandIn('spare', 2)
    standIn.setStandIn('hang', 1)
    const hang = await messageOf(list.run())
    const other = adding(device)
    const later = await messageOf(other.list.run())
    standIn.setStandIn('endHang', 1)
    other.dispose()
    dispose()
    device.dispose()
    return { whole, failures, both, hang, later, live: await liveObjects() }
  },

  // The GPU fails under two streams and a session that rests: all of them are lost, and nothing else.
  async engine() {
    // A copy for the prompt cache may fail alone: nobody hears of that.
    const loaded = await loadModel(model, { device: 'metal', promptCache: false })
    const options = { maxTokens: 6, ignoreEos: true }
    const session = loaded.createSession()
    await session.prefill([1, 2, 3])
    const moment = await session.checkpoint()
    const expected = (await session.generate('', options)).tokens
    await session.rewind(moment)
    const streams = [loaded.stream([4, 5], options), loaded.stream([6], options)]
    await Promise.all(streams.map((stream) => stream.next()))
    standIn.setStandIn('failLate', 1)
    const failed = await Promise.all(streams.map((stream) => messageOf(stream.result)))
    const lost = await messageOf(session.generate('', options))
    const code = await session.prefill([1]).catch((error: { code: string }) => error.code)
    await session.rewind(moment)
    const again = (await session.generate('', options)).tokens
    const fresh = (await loaded.generate([1, 2, 3], options)).tokens
    const { streams: open, runs } = loaded.engine.load
    moment.dispose()
    session.dispose()
    loaded.dispose()
    return { expected, again, fresh, failed, lost, code, open, runs, live: await liveObjects() }
  },

  // A long prompt that is no longer wanted: the GPU gets no more pieces of it than it has.
  async piecesUnwanted() {
    const device = createDevice('metal', { tuning: { piece_microseconds: 100 } })
    const { list, dispose } = counting(device, 30)
    const before = standIn.standIn().commandBuffersDone!
    standIn.setStandIn('leastGpuTime', 50)
    const controller = new AbortController()
    const run = messageOf(list.run({ signal: controller.signal }))
    setTimeout(() => controller.abort(new Error('no longer wanted')), 75)
    const message = await run
    dispose()
    device.dispose()
    const pieces = standIn.standIn().commandBuffersDone! - before
    return { message, pieces, live: await liveObjects() }
  },

  // A GPU that hangs is given up; nothing waits for it.
  async hang() {
    const device = createDevice('metal', { gpuTimeout: 0.5 })
    const { list, out, dispose } = adding(device)
    await list.run()
    standIn.setStandIn('hang', 1)
    // More than the 64 command buffers that Metal makes without waiting.
    const runs = await Promise.all(
      Array.from({ length: 70 }, () =>
        list.run().then(
          () => 'no error',
          (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
        ),
      ),
    )
    const later = await messageOf(list.run())
    const read = await messageOf(Promise.resolve().then(() => out.read()))
    const start = performance.now()
    device.dispose()
    const disposeMs = performance.now() - start
    dispose()
    const liveWhileItHangs = standIn.standIn().liveObjects! > 0
    standIn.setStandIn('endHang', 1)
    const live = await liveObjects()
    const next = createDevice('metal')
    const other = adding(next)
    await other.list.run()
    const sum = other.out.read()[0]
    other.dispose()
    next.dispose()
    return { runs: [...new Set(runs)], later, read, disposeMs, liveWhileItHangs, live, sum }
  },

  // Before the watch has noticed.
  async disposeWhileItHangs() {
    const device = createDevice('metal')
    const { list, dispose } = adding(device)
    standIn.setStandIn('hang', 1)
    const runs = Array.from({ length: 20 }, () => messageOf(list.run()))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const start = performance.now()
    device.dispose()
    const disposeMs = performance.now() - start
    const messages = [...new Set(await Promise.all(runs))]
    dispose()
    standIn.setStandIn('endHang', 1)
    return { messages, disposeMs, live: await liveObjects() }
  },

  async exitWhileItHangs() {
    const device = createDevice('metal')
    const { list } = adding(device)
    standIn.setStandIn('hang', 1)
    for (let i = 0; i < 20; ++i) void list.run().catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 50))
    console.log(JSON.stringify('exiting'))
    process.exit(0)
  },

  // The GPU has its next run before JavaScript has heard of the end of the last one.
  async twoInFlight() {
    const loaded = await loadModel(model, { device: 'metal' })
    const options = { maxTokens: 6, ignoreEos: true }
    await loaded.generate([1, 2, 3], options) // compiles
    standIn.setStandIn('completionDelay', 5)
    standIn.setStandIn('leastGpuTime', 20) // a token takes longer than the delay
    standIn.setStandIn('gpuWaits', 0)
    await loaded.generate([1, 2, 3], options)
    const { gpuWaits } = standIn.standIn()
    // Left in the middle, in each way.
    for await (const _ of loaded.stream([1, 2, 3], options)) break
    const controller = new AbortController()
    const aborted = messageOf(loaded.generate([1, 2, 3], { ...options, signal: controller.signal }))
    setTimeout(() => controller.abort(new Error('enough')), 60)
    const messages = [await aborted]
    const disposed = messageOf(loaded.generate([1, 2, 3], options))
    await new Promise((resolve) => setTimeout(resolve, 60))
    loaded.dispose()
    messages.push(await disposed)
    return { gpuWaits, messages, live: await liveObjects() }
  },

  // Runs are queued one behind the other and reported in order, also those that fail early.
  async order() {
    const device = createDevice('metal')
    const first = adding(device)
    const second = adding(device)
    const order: string[] = []
    await first.list.run()
    standIn.setStandIn('failLibraries', 0)
    standIn.setStandIn('failBuffers', 1) // of the second list, while the first one's runs go on
    const runs = [
      ...[1, 2, 3].map((i) => first.list.run().then(() => order.push(`first ${i}`))),
      second.list.run().catch(() => order.push('second failed')),
      first.list.run().then(() => order.push('first 4')),
    ]
    await Promise.all(runs)
    // Metal tells of four ends in reverse; the GPU never waits between the four.
    standIn.setStandIn('reverseCompletions', 4)
    standIn.setStandIn('leastGpuTime', 50)
    standIn.setStandIn('gpuWaits', 0)
    const reversed: number[] = []
    await Promise.all([0, 1, 2, 3].map((i) => first.list.run().then(() => reversed.push(i))))
    const { gpuWaits } = standIn.standIn()
    first.dispose()
    second.dispose()
    device.dispose()
    return { order, reversed, gpuWaits, live: await liveObjects() }
  },

  async cancel() {
    const device = createDevice('metal')
    const { list, dispose } = adding(device)
    standIn.setStandIn('leastGpuTime', 2)
    const controller = new AbortController()
    const runs = Array.from({ length: 20 }, () =>
      messageOf(list.run({ signal: controller.signal })),
    )
    controller.abort(new Error('no longer wanted'))
    const messages = new Set(await Promise.all(runs))
    const after = await messageOf(list.run())
    // Disposing waits for what the GPU has and cancels the rest.
    const left = Array.from({ length: 5 }, () => messageOf(list.run()))
    device.dispose()
    const disposed = await Promise.all(left)
    dispose()
    return { messages: [...messages], after, disposed, live: await liveObjects() }
  },

  async noGpu() {
    standIn.setStandIn('gpuFamily', 1006) // an older GPU
    return { names: standIn.deviceNames() }
  },

  async exit() {
    const device = createDevice('metal')
    const { list } = adding(device)
    for (let i = 0; i < 5; ++i) void list.run().catch(() => {})
    console.log(JSON.stringify('exiting'))
    process.exit(0)
  },

  async readFreed() {
    return standIn.readFreed()
  },
}

const name = process.argv[2] ?? ''
console.log(JSON.stringify(await scenarios[name]!()))
