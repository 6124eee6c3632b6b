// A model that says what it is told: each token is followed by a fixed other one.

import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
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

/**
 * The same with a script in words, and pieces of tags that are tokens of their own, six at most. ` s` is one token,
 * `~` parts it.
 */
export async function writeTaggedModel(
  folder: string,
  script: string,
  { pieces, special }: { pieces: readonly string[]; special: boolean },
): Promise<void> {
  const plain = await Tokenizer.fromFolder(join(FIXTURES, 'tokenizer-250'))
  const ids = new Map(pieces.map((content, i) => [content, plain.vocabSize + i]))
  const between = pieces.map((piece) => piece.replace(/[|\\]/g, '\\$&')).join('|')
  const parts = script.split(new RegExp(`(${between})|~`)).filter((part) => part)
  await writeScriptedModel(
    folder,
    parts.flatMap((part) => ids.get(part) ?? [...plain.encode(part)]),
  )
  const file = join(folder, 'tokenizer.json')
  const json = JSON.parse(await readFile(file, 'utf8'))
  for (const [content, id] of ids)
    json.added_tokens.push({ ...json.added_tokens[0], id, content, special })
  await writeFile(file, JSON.stringify(json))
}
