// This package, as it is built (npm run build): trial.mjs says what an engine is.

import { SequenceState } from '../../../dist/engine/sequence-state.js'
import { loadModel } from '../../../dist/load-model.js'

const NO_END = 2 ** 31

/** One sequence that draws the most likely tokens. */
export function openStream(model, options = {}) {
  return model.engine.open('peers', {
    position: 0,
    history: new Uint32Array(0),
    maxTokens: NO_END,
    stopTokens: new Set(),
    generated: 0,
    alternatives: undefined,
    ...options,
  })
}

export async function openEngine({ model: path, threads }) {
  const model = await loadModel(path, { device: 'cpu', threads })
  let stream
  return {
    vocabulary: model.config.paddedVocabSize,
    weightBytes: model.weightBytes,
    stateBytes: model.stateBytes,
    async prefill(tokens) {
      stream?.close()
      stream = await openStream(model)
      await stream.prefill(tokens)
    },
    // The last run chose a token already: one step and one choice each time.
    async decode(count) {
      await Promise.all(Array.from({ length: count }, () => stream.decode()))
    },
    // Each of them chooses it as its last part.
    token: async () => {},
    async logitsAfter(prompt, tokens) {
      const state = new SequenceState()
      const consume = async (position, options, run) => {
        const one = await openStream(model, { state, position, ...options })
        await run(one)
        // A state that somebody keeps has the logits of its last token.
        state.hasLogits = true
        const snapshot = await model.engine.snapshot(state)
        const logits = snapshot.logits.read()
        snapshot.dispose()
        one.close()
        return logits
      }
      let logits = await consume(0, {}, (one) => one.prefill(prompt))
      for (const [i, token] of tokens.entries()) {
        logits = await consume(prompt.length + i, { token }, (one) => one.decode())
      }
      model.engine.release(state)
      return logits
    },
    async dispose() {
      stream?.close()
      model.dispose()
    },
  }
}
