// Configurations as they are published: keys left out, values in every form that writers have.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import type { Mamba2Config } from '../../lib/models/blocks/mamba2.js'
import { parseConfigJson } from '../../lib/support/json.js'
import { ConfigReader } from '../../lib/models/config-reader.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import {
  copyOfFixture,
  rawTensor,
  readGolden,
  rewriteConfig,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import {
  mamba2Layer,
  type RandomModel,
  randomTokens,
  randomWeights,
  writeHf,
  writeMlxLm,
  expectedLogits,
} from '../support/random-checkpoint.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

type Config = Record<string, unknown>

async function expectGolden(folder: string, name: string): Promise<void> {
  const { tokens, logits } = await readGolden(name)
  await using model = await loadModel(folder, { device: 'cpu' })
  expect(relativeL2((await model.logits(tokens)).data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
}

/** The configuration that a folder with this config.json and no tensors of note has. */
async function configOf(config: Config) {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  const norm = rawTensor('float32', [1], [1])
  await writeSafetensors(join(folder, 'model.safetensors'), { 'backbone.norm_f.weight': norm })
  return (await openCheckpoint(folder)).config
}

describe('keys that are left out have the defaults of the class', () => {
  it('Mamba2Config: those of Mamba-Codestral-7B', async () => {
    const { layers, ...config } = await configOf({ model_type: 'mamba2' })
    expect(config).toMatchObject({ dModel: 4096, vocabSize: 32768, normEpsilon: 1e-5 })
    expect(layers).toHaveLength(64)
    expect(layers[63]).toEqual({
      kind: 'mamba2',
      dInner: 8192,
      numHeads: 128,
      headDim: 64,
      dState: 128,
      nGroups: 8,
      dConv: 4,
      normGroups: 8,
      normBeforeGate: false,
      dtLimit: [0, Number.POSITIVE_INFINITY],
      projectionBias: false,
      convBias: true,
      normEpsilon: 1e-5,
    } satisfies Mamba2Config)
  })

  it('MambaConfig and ReneConfig', async () => {
    const stateSpaces = await configOf({ ssm_cfg: { layer: 'Mamba2' } })
    expect(stateSpaces).toMatchObject({ dModel: 2560, vocabSize: 50277, paddedVocabSize: 50280 })
    expect(stateSpaces.layers).toHaveLength(64)
    const rene = await configOf({ model_type: 'rene' })
    expect(rene).toMatchObject({ dModel: 2048, vocabSize: 50280, paddedVocabSize: 50288 })
    expect(rene.layers).toHaveLength(48)
  })

  it('an error names the default that does not fit', async () => {
    const wrong = configOf({ model_type: 'mamba2', hidden_size: 64, num_heads: 8, head_dim: 16 })
    expect((await wrong).layers).toHaveLength(64)
    await expect(configOf({ model_type: 'mamba2', num_heads: 8, head_dim: 16 })).rejects.toThrow(
      /num_heads \* head_dim is 128 .*; hidden_size is left out and 4096 by default/,
    )
  })
})

describe('limits', () => {
  const limits = (json: string) =>
    new ConfigReader(
      'config.json',
      parseConfigJson(`{"time_step_limit": ${json}}`, 'config.json'),
    ).limits('time_step_limit')
  const all = [0, Number.POSITIVE_INFINITY]

  it.each<[string, number[]]>([
    ['null', all],
    ['[0.0, Infinity]', all],
    ['[0.0, {"__float__": "Infinity"}]', all],
    ['[0.0, null]', all],
    ['[null, null]', all],
    ['[0.0, "inf"]', all],
    ['["0.0", "Infinity"]', all],
    ['[0.0, 1e999]', all],
    ['[-Infinity, Infinity]', all],
    ['"(0.0, inf)"', all],
    ['"[0.001, 0.1]"', [0.001, 0.1]],
    ['[0.001, 0.1]', [0.001, 0.1]],
    ['["1e-3", 100]', [0.001, 100]],
    ['{"0": 0.001, "1": "inf"}', [0.001, Number.POSITIVE_INFINITY]],
  ])('%s', (json, expected) => {
    expect(limits(json)).toEqual(expected)
  })

  it.each([
    '[1, 0]',
    '[0]',
    '[0, 1, 2]',
    '5',
    '"inf"',
    '[0, "much"]',
    '[NaN, 1]',
    '[-2, -1]',
    '[0, true]',
    '{"min": 0.001, "max": 0.1}',
    '{"0": 0.001}',
    '{}',
  ])('not %s', (json) => {
    expect(() => limits(json)).toThrow(/time_step_limit must be two numbers/)
  })

  it('count', async () => {
    const model: RandomModel = {
      dModel: 64,
      vocabSize: 96,
      normEpsilon: 1e-5,
      tied: true,
      layers: [mamba2Layer({ dtLimit: [0.05, 0.2] })],
    }
    const folder = await temporaryFolder()
    const weights = randomWeights(model, 2)
    await writeHf(folder, model, weights)
    await rewriteConfig(folder, (config) => ({ ...config, time_step_limit: '(0.05, 0.2)' }))
    const tokens = randomTokens(96, 20, 2)
    await using loaded = await loadModel(folder, { device: 'cpu' })
    const { data } = await loaded.logits(tokens)
    expect(relativeL2(data, expectedLogits(model, weights, tokens))).toBeLessThan(
      GOLDEN_RELATIVE_L2,
    )
  })
})

it.each<Config>([
  { torch_dtype: 'bfloat16' },
  { dtype: 'float32' },
  { torch_dtype: null, dtype: 'auto' },
])('the element type that a configuration names changes nothing: %j', async (dtype) => {
  const folder = await copyOfFixture('mamba2-hf')
  await rewriteConfig(folder, ({ dtype: _, ...config }) => ({ ...config, ...dtype }))
  await expectGolden(folder, 'mamba2-hf')
})

describe('a language model inside another one', () => {
  const around = {
    model_type: 'some_vision_model',
    hidden_size: 1,
    vision_config: { num_heads: 3 },
  }

  it.each(['language_model.', 'model.language_model.'])(
    'with its tensors under %s',
    async (prefix) => {
      const folder = await copyOfFixture('mamba2-hf-groups')
      await rewriteConfig(folder, (text_config) => ({ ...around, text_config }))
      await rewriteTensors(
        folder,
        (tensors) => new Map([...tensors].map(([name, tensor]) => [prefix + name, tensor])),
      )
      await expectGolden(folder, 'mamba2-hf-groups')
      await rewriteTensors(folder, (tensors) => {
        tensors.set('lm_head.weight', tensors.get(`${prefix}lm_head.weight`)!)
        tensors.delete(`${prefix}lm_head.weight`)
        tensors.set('model.visual.patch.weight', rawTensor('float32', [1], [1]))
        return tensors
      })
      await expectGolden(folder, 'mamba2-hf-groups')
    },
  )

  it('takes its quantisation from around it', async () => {
    const folder = await copyOfFixture('mamba2-mlx-lm-groups-8bit')
    await rewriteConfig(folder, ({ quantization, quantization_config: _, ...text_config }) => ({
      ...around,
      quantization,
      text_config,
    }))
    await expectGolden(folder, 'mamba2-mlx-lm-groups-8bit')
  })

  it('takes what is null there from around it', async () => {
    const folder = await copyOfFixture('mamba2-mlx-lm-groups-8bit')
    await rewriteConfig(folder, ({ quantization, quantization_config: _, ...rest }) => ({
      ...around,
      quantization,
      eos_token_id: [5, 6],
      text_config: { ...rest, quantization: null, quantization_config: null, eos_token_id: null },
    }))
    await expectGolden(folder, 'mamba2-mlx-lm-groups-8bit')
    expect((await openCheckpoint(folder)).config.eosTokenIds).toEqual([5, 6])
  })

  it('of the same kind, without a model_type of its own', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, ({ model_type, num_heads, head_dim, ...rest }) => ({
      ...rest,
      model_type,
      num_heads: 1,
      text_config: { num_heads, head_dim },
    }))
    await expectGolden(folder, 'mamba2-hf')
  })
})

describe("mlx-lm's quantization", () => {
  const model: RandomModel = {
    dModel: 128,
    vocabSize: 96,
    normEpsilon: 1e-5,
    tied: false,
    layers: [mamba2Layer({ headDim: 32 })],
  }
  const inProj = 'backbone.layers.0.mixer.in_proj'
  const tokens = randomTokens(96, 12, 3)

  /** Written with 8 bits of 32, in_proj otherwise; `change` then rewrites what the file says of it. */
  async function expectLoads(
    own: { bits: 4 | 8; groupSize: number } | false | undefined,
    change: (quantization: Config, config: Config) => unknown,
  ): Promise<void> {
    const folder = await temporaryFolder()
    const standard = { bits: 8, groupSize: 32, scaleType: 'float16' } as const
    const overrides =
      own === undefined ? {} : { [inProj]: own && { ...own, scaleType: 'float16' as const } }
    const meant = await writeMlxLm(folder, model, randomWeights(model, 5), standard, overrides)
    await rewriteConfig(folder, (config) => {
      change(config.quantization as Config, config)
      return config
    })
    await using loaded = await loadModel(folder, { device: 'cpu' })
    const { data } = await loaded.logits(tokens)
    expect(relativeL2(data, expectedLogits(model, meant, tokens))).toBeLessThan(GOLDEN_RELATIVE_L2)
  }

  it('true for a module that has what all have', () =>
    expectLoads(undefined, (quantization) => {
      quantization[inProj] = true
      quantization.lm_head = true
    }))

  it('false for a module that is not quantised', () => expectLoads(false, () => {}))

  it('an object with a mode', () =>
    expectLoads({ bits: 4, groupSize: 128 }, (quantization) => {
      quantization[inProj] = { mode: 'affine', bits: 4, group_size: 128 }
    }))

  it("an object that leaves out what MLX's default is", async () => {
    await expectLoads({ bits: 8, groupSize: 64 }, (quantization) => {
      quantization[inProj] = { bits: 8 }
    })
    await expectLoads({ bits: 4, groupSize: 128 }, (quantization) => {
      quantization[inProj] = { group_size: 128 }
    })
  })

  it('without a mode, as older versions wrote it', () =>
    expectLoads(undefined, (quantization) => delete quantization.mode))

  it('as quantization_config alone', () =>
    expectLoads({ bits: 4, groupSize: 64 }, (quantization, config) => {
      config.quantization_config = quantization
      delete config.quantization
    }))

  it.each([false, null])('%s for a model that is not quantised', async (none) => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, (config) => ({ ...config, quantization: none }))
    await expectGolden(folder, 'mamba2-hf')
  })

  it('true for a model with what MLX does by default', async () => {
    const folder = await temporaryFolder()
    const choice = { bits: 4, groupSize: 64, scaleType: 'float16' } as const
    const meant = await writeMlxLm(folder, model, randomWeights(model, 6), choice)
    await rewriteConfig(folder, (config) => ({ ...config, quantization: true }))
    await using loaded = await loadModel(folder, { device: 'cpu' })
    const { data } = await loaded.logits(tokens)
    expect(relativeL2(data, expectedLogits(model, meant, tokens))).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})
