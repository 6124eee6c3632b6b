// llama.cpp through node-llama-cpp's prebuilt binary: trial.mjs says what an engine is. Its native
// binding is called directly, so that what is measured is the engine and not the scheduling of its
// public API, which is slower.

import { realpathSync, statSync } from 'node:fs'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

/** Loads the binary, which the time to the first token leaves out for both engines. */
export async function prepare({ threads }) {
  // A build from source is another engine than the one that users get, and an older gcc's dies.
  return getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
  })
}

export async function openEngine({ model: path, threads, contextSize, mmap }, llama) {
  const addonExports = llama._bindings
  const { AddonModel, AddonContext, AddonSampler } = addonExports
  const model = new AddonModel(realpathSync(path), { addonExports, gpuLayers: 0, useMmap: mmap })
  if (!(await model.init())) throw new Error(`${path}: llama.cpp did not load it`)
  const context = new AddonContext(model, {
    contextSize,
    batchSize: 512,
    sequences: 1,
    threads,
    flashAttention: false,
  })
  if (!(await context.init())) throw new Error(`${path}: llama.cpp made no context`)
  const sampler = new AddonSampler(model)
  sampler.applyConfig({ temperature: 0 })
  const none = new Uint32Array(0)
  let position = 0
  let last // where the logits of the last token are
  let forced // a token to run instead of the most likely one

  async function run(tokens, isLast) {
    context.initBatch(tokens.length)
    const wanted = isLast ? Uint32Array.of(tokens.length - 1) : none
    const places = context.addToBatch(0, position, tokens, wanted)
    await context.decodeBatch()
    position += tokens.length
    if (isLast) last = places[0]
  }

  const engine = {
    vocabulary: undefined,
    // Weights are nearly all of the file.
    weightBytes: statSync(path).size,
    stateBytes: undefined,
    async prefill(tokens) {
      context.disposeSequence(0)
      position = 0
      for (let i = 0; i < tokens.length; i += 512) {
        await run(tokens.subarray(i, i + 512), i + 512 >= tokens.length)
      }
    },
    async decode() {
      const token = forced ?? (await engine.token())
      forced = undefined
      await run(Uint32Array.of(token), true)
    },
    async token() {
      const token = await context.sampleToken(last, sampler)
      if (!(token >= 0)) throw new Error('llama.cpp chose no token')
      return token
    },
    setToken(token) {
      forced = token
    },
    async logits() {
      const [, , , pairs] = await context.sampleToken(last, sampler, false, false, true)
      const logits = new Float32Array(pairs.length / 2)
      for (let i = 0; i < pairs.length; i += 2) logits[pairs[i]] = pairs[i + 1]
      return logits
    },
    async dispose() {
      await context.dispose()
      await model.dispose()
    },
  }
  return engine
}
