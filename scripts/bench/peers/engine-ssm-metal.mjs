// This package, as it is built (npm run build): trial.mjs says what an engine is.

import { loadModel } from '../../../dist/model.js'
import { Sequence } from '../../../dist/models/sequence.js'
import { Sampler } from '../../../dist/sampler.js'

export async function openEngine({ model: path, threads }) {
  const model = await loadModel(path, { device: 'cpu', threads })
  const sampler = new Sampler(model.device, 'peers', {})
  let sequence
  return {
    vocabulary: model.config.paddedVocabSize,
    weightBytes: model.weightBytes,
    stateBytes: model.stateBytes,
    async prefill(tokens) {
      sequence?.dispose()
      sequence = new Sequence(model.languageModel, sampler)
      await sequence.prefill(tokens)
    },
    // The prefill or the step before chose the token already: one choice and one step each time.
    decode: () => sequence.decode(),
    token: async () => sequence.token,
    setToken(token) {
      sequence.token = token
    },
    async logits() {
      const logits = new Float32Array(model.config.paddedVocabSize)
      sequence.readLogits(logits)
      return logits
    },
    async dispose() {
      sequence?.dispose()
      sampler.dispose()
      model.dispose()
    },
  }
}
