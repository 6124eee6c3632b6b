// A model that says what it is told: each token is followed by a fixed other one.

import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { FIXTURES, rawTensor, type RawTensors } from './checkpoints.js'
import { mlpLayer, type RandomModel, randomWeights, writeRene } from './random-checkpoint.js'

// As many as the fixture tokenizer has, rounded up as its models do.
const VOCABULARY = 256

/**
 * Writes a model with the tokenizer of 250 ids. After the token `script[i]` it gives a probability
 * near 1 to `script[i + 1]`, and after the last one to the end-of-text token 0; so no token may come
 * twice.
 */
export async function writeScriptedModel(folder: string, script: ArrayLike<number>): Promise<void> {
  const tokens = Array.from(script)
  if (new Set(tokens).size < tokens.length) throw new Error('a token of the script comes twice')
  const model: RandomModel = {
    dModel: VOCABULARY,
    vocabSize: VOCABULARY,
    layers: [mlpLayer({ dInner: 1 })],
    normEpsilon: 1e-5,
    tied: false,
  }
  const head = new Float32Array(VOCABULARY * VOCABULARY)
  for (const [i, token] of tokens.entries()) head[(tokens[i + 1] ?? 0) * VOCABULARY + token] = 2
  const identity = Float32Array.from({ length: VOCABULARY ** 2 }, (_, i) =>
    i % (VOCABULARY + 1) === 0 ? 1 : 0,
  )
  const weights: RawTensors = randomWeights(model, 1)
  const zeros = new Float32Array(VOCABULARY)
  const ones = new Float32Array(VOCABULARY).fill(1)
  const square = [VOCABULARY, VOCABULARY]
  weights.set('backbone.embedding.weight', rawTensor('float32', square, identity))
  weights.set('lm_head.weight', rawTensor('float32', square, head))
  weights.set('backbone.norm_f.weight', rawTensor('float32', [VOCABULARY], ones))
  weights.set(
    'backbone.layers.0.mixer.out_proj.weight',
    rawTensor('float32', [VOCABULARY, 1], zeros),
  )
  await writeRene(folder, model, weights)
  await cp(join(FIXTURES, 'tokenizer-250'), folder, { recursive: true })
}
