// Head and embedding: what the file holds decides.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import {
  copyOfFixture,
  mapTensors,
  numbersOf,
  type RawTensor,
  rawTensor,
  readGolden,
  readRawTensors,
  rewriteConfig,
  rewriteTensors,
} from '../support/checkpoints.js'
import {
  expectedLogits,
  mamba2Layer,
  type RandomModel,
  randomTokens,
  randomWeights,
  writePytorch,
  writeStateSpaces,
} from '../support/random-checkpoint.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'
import { temporaryFolder } from '../support/checkpoints.js'

const EMBEDDING = 'backbone.embeddings.weight'
const HEAD = 'lm_head.weight'

async function load(folder: string, tokens: readonly number[]) {
  const notices: Notice[] = []
  await using model = await loadModel(folder, { device: 'cpu', onNotice: (n) => notices.push(n) })
  const { data } = await model.logits(tokens)
  return { data, notices, config: model.config, weightBytes: model.weightBytes }
}

const times = (tensor: RawTensor, factor: number) =>
  rawTensor(
    'float32',
    tensor.shape,
    numbersOf(tensor).map((x) => x * factor),
  )

describe('a Hugging Face mamba2', () => {
  it.each([
    ['ties', true],
    ['does not say', undefined],
  ])('has the head for an embedding where the file has only that: it %s', async (_, tie) => {
    const { tokens, logits } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, (config) => ({ ...config, tie_word_embeddings: tie }))
    await rewriteTensors(folder, (tensors) => {
      tensors.set(HEAD, tensors.get(EMBEDDING)!)
      tensors.delete(EMBEDDING)
      return tensors
    })
    const { data, config } = await load(folder, tokens)
    expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
    expect(config.tieEmbeddings).toBe(true)
  })

  it('is tied without a head in the file when the configuration does not say', async () => {
    const { tokens, logits } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, ({ tie_word_embeddings: _, ...rest }) => rest)
    const { data } = await load(folder, tokens)
    expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })

  it('has a head of its own where that differs from the embedding, and says so', async () => {
    const { tokens, logits } = await readGolden('mamba2-hf-groups')
    const folder = await copyOfFixture('mamba2-hf-groups')
    await rewriteConfig(folder, (config) => ({ ...config, tie_word_embeddings: true }))
    const { data, config, notices } = await load(folder, tokens)
    expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
    expect(config.tieEmbeddings).toBe(false)
    expect(notices.map(({ code }) => code)).toEqual(['HEAD_NOT_TIED'])
    expect(notices[0]!.message).toContain(join(folder, 'model.safetensors'))
  })

  it('sees a difference in the last element alone', async () => {
    const { tokens } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteTensors(folder, (tensors) => {
      const values = numbersOf(tensors.get(EMBEDDING)!)
      values[values.length - 1]! += 100
      tensors.set(HEAD, rawTensor('float32', tensors.get(EMBEDDING)!.shape, values))
      return tensors
    })
    expect((await load(folder, tokens)).config.tieEmbeddings).toBe(false)
  })

  it('keeps one of two that are the same', async () => {
    const { tokens, logits } = await readGolden('mamba2-hf')
    const folder = await copyOfFixture('mamba2-hf')
    const { weightBytes } = await load(folder, tokens)
    await rewriteTensors(folder, (tensors) => tensors.set(HEAD, tensors.get(EMBEDDING)!))
    const twice = await load(folder, tokens)
    expect(relativeL2(twice.data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
    expect(twice.weightBytes).toBe(weightBytes)
    expect(twice.notices).toEqual([])
  })
})

it('a quantised model whose two matrices differ has both', async () => {
  const { tokens, logits } = await readGolden('mamba2-mlx-lm-groups-8bit')
  const folder = await copyOfFixture('mamba2-mlx-lm-groups-8bit')
  await rewriteConfig(folder, (config) => ({ ...config, tie_word_embeddings: true }))
  const { data } = await load(folder, tokens)
  expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
})

it('a Rene has a head of its own where that differs from the embedding', async () => {
  const { tokens, logits } = await readGolden('rene')
  const folder = await copyOfFixture('rene')
  await rewriteTensors(folder, (tensors) =>
    tensors.set(HEAD, times(tensors.get('backbone.embedding.weight')!, -2)),
  )
  const { data } = await load(folder, tokens)
  expect(
    relativeL2(
      data,
      logits.map((x) => -2 * x),
    ),
  ).toBeLessThan(GOLDEN_RELATIVE_L2)
})

describe('state-spaces', () => {
  const model: RandomModel = {
    dModel: 64,
    vocabSize: 96,
    normEpsilon: 1e-5,
    tied: true,
    layers: [mamba2Layer({}), mamba2Layer({})],
  }
  const tokens = randomTokens(96, 12, 4)

  // mamba_ssm reads the embedding into the one matrix of the two, then the head.
  it('has the head for both where they differ', async () => {
    const folder = await temporaryFolder()
    const weights = randomWeights(model, 7)
    await writeStateSpaces(folder, model, weights)
    const head = times(weights.get('backbone.embedding.weight')!, 0.5)
    await writePytorch(join(folder, 'pytorch_model.bin'), new Map(weights).set(HEAD, head))
    const meant = new Map(weights).set('backbone.embedding.weight', head)
    const { data } = await load(folder, tokens)
    expect(relativeL2(data, expectedLogits(model, meant, tokens))).toBeLessThan(GOLDEN_RELATIVE_L2)
  })

  it('is tied without a head in the file', async () => {
    const folder = await copyOfFixture('mamba2-state-spaces')
    const golden = await readGolden('mamba2-state-spaces')
    const { tensors } = await readRawTensors(join(folder, 'pytorch_model.bin'))
    await rm(join(folder, 'pytorch_model.bin'))
    tensors.delete(HEAD)
    await rewriteConfig(folder, ({ tie_embeddings: _, ...rest }) => rest)
    await writePytorch(
      join(folder, 'pytorch_model.bin'),
      mapTensors(tensors, (tensor) => tensor),
    )
    const { data } = await load(folder, golden.tokens)
    expect(relativeL2(data, golden.logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})
