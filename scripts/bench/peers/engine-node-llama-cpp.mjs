// llama.cpp through node-llama-cpp's prebuilt binary: trial.mjs says what an engine is. Its native
// binding is called directly, so that what is measured is the engine and not the scheduling of its
// public API, which is slower.

import { realpathSync, statSync } from 'node:fs'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

/** Most tokens of one call. */
const BATCH_SIZE = 512

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

// Numbers of types in ggml.
const FLOAT32 = 0

/**
 * A model with a context of so many sequences, each with room for `contextSize` tokens. `exact`: keys and values are kept
 * in float32 as ours are, not in float16, which is its default.
 */
export async function openContext(
  { model: path, threads, contextSize, mmap, sequences, exact = false },
  llama,
) {
  const addonExports = llama._bindings
  const { AddonModel, AddonContext, AddonSampler } = addonExports
  const model = new AddonModel(realpathSync(path), { addonExports, gpuLayers: 0, useMmap: mmap })
  if (!(await model.init())) throw new Error(`${path}: llama.cpp did not load it`)
  const context = new AddonContext(model, {
    contextSize: contextSize * sequences,
    batchSize: BATCH_SIZE,
    sequences,
    threads,
    flashAttention: false,
    ...(exact && { kvCacheKeyType: FLOAT32, kvCacheValueType: FLOAT32 }),
  })
  if (!(await context.init())) throw new Error(`${path}: llama.cpp made no context`)
  const samplers = Array.from({ length: sequences }, () => {
    const sampler = new AddonSampler(model)
    sampler.applyConfig({ temperature: 0 })
    return sampler
  })
  return {
    // Weights are nearly all of the file.
    weightBytes: statSync(path).size,
    /**
     * Runs parts of sequences in one call: `{ sequence, position, tokens }`. Gives where the logits of the last
     * token of each are.
     */
    async run(parts) {
      context.initBatch(parts.reduce((sum, { tokens }) => sum + tokens.length, 0))
      const places = parts.map(({ sequence, position, tokens }) => {
        const wanted = Uint32Array.of(tokens.length - 1)
        return context.addToBatch(sequence, position, tokens, wanted)[0]
      })
      await context.decodeBatch()
      return places
    },
    async token(sequence, place) {
      const token = await context.sampleToken(place, samplers[sequence])
      if (!(token >= 0)) throw new Error('llama.cpp chose no token')
      return token
    },
    async logits(sequence, place) {
      const sampled = await context.sampleToken(place, samplers[sequence], false, false, true)
      const pairs = sampled[3]
      const logits = new Float32Array(pairs.length / 2)
      for (let i = 0; i < pairs.length; i += 2) logits[pairs[i]] = pairs[i + 1]
      return logits
    },
    forget: (sequence) => context.disposeSequence(sequence),
    async dispose() {
      await context.dispose()
      await model.dispose()
    },
  }
}

export async function openEngine(request, llama) {
  const context = await openContext({ ...request, sequences: 1 }, llama)
  let position = 0
  let last // where the logits of the last token are

  async function run(tokens) {
    const places = await context.run([{ sequence: 0, position, tokens }])
    position += tokens.length
    last = places[0]
  }

  const engine = {
    vocabulary: undefined,
    weightBytes: context.weightBytes,
    stateBytes: undefined,
    async prefill(tokens) {
      context.forget(0)
      position = 0
      for (let i = 0; i < tokens.length; i += BATCH_SIZE) {
        await run(tokens.subarray(i, i + BATCH_SIZE))
      }
    },
    async decode(count) {
      for (let i = 0; i < count; i++) await run(Uint32Array.of(await engine.token()))
    },
    token: () => context.token(0, last),
    async logitsAfter(prompt, tokens) {
      await engine.prefill(prompt)
      for (const token of tokens) await run(Uint32Array.of(token))
      return context.logits(0, last)
    },
    dispose: context.dispose,
  }
  return engine
}
