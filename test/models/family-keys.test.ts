// Keys of configurations that published models leave as they are, and what they mean to the authors of each family. Found
// with models drawn at random and the authors' own code.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import { type Config, set } from '../support/bad-input.js'
import {
  copyOfFixture,
  fixture,
  numbersOf,
  rawTensor,
  type RawTensors,
  readGolden,
  rewriteConfig,
  rewriteTensors,
} from '../support/checkpoints.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

/** The logits of a fixture that is changed. */
async function logitsOf(
  name: string,
  changes: Record<string, unknown>,
  change: (tensors: RawTensors) => unknown = () => {},
): Promise<Float32Array> {
  const folder = await copyOfFixture(name)
  await rewriteConfig(folder, (config: Config) => {
    for (const [key, value] of Object.entries(changes)) set(key, value)(config)
    return config
  })
  await rewriteTensors(folder, (tensors) => {
    change(tensors)
    return tensors
  })
  const { tokens } = await readGolden(name)
  await using model = await loadModel(folder, { device: 'cpu' })
  return (await model.logits(tokens)).data
}

async function expectGolden(name: string, changes: Record<string, unknown>): Promise<void> {
  const { logits } = await readGolden(name)
  expect(relativeL2(await logitsOf(name, changes), logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
}

/** Gives biases to all modules of the file whose names end so: `scale` times the sines of 0, 1, 2 … */
const addBiases = (tensors: RawTensors, modules: readonly string[], scale: number): void => {
  for (const [name, { shape }] of [...tensors]) {
    const module = name.slice(0, -'.weight'.length)
    if (!modules.some((end) => module.endsWith(end))) continue
    const values = Array.from({ length: shape[0]! }, (_, i) => scale * Math.sin(i))
    tensors.set(`${module}.bias`, rawTensor('float32', [shape[0]!], values))
  }
}

const INPUTS = ['q_proj', 'k_proj', 'v_proj']

describe('Falcon-H1', () => {
  it('has a bias of the output of Mamba-2 by a key of its own', async () => {
    // What Mamba-2 adds to the stream, times its factor, attention may add as well, times its own.
    const ofMamba = await logitsOf('falcon-h1', { projectors_bias: true }, (tensors) =>
      addBiases(tensors, ['mamba.out_proj'], 0.8),
    )
    const ofAttention = await logitsOf('falcon-h1', { attention_bias: true }, (tensors) => {
      addBiases(tensors, INPUTS, 0)
      addBiases(tensors, ['o_proj'], 0.7)
    })
    expect(relativeL2(ofMamba, ofAttention)).toBeLessThan(GOLDEN_RELATIVE_L2)
    expect(relativeL2(ofMamba, (await readGolden('falcon-h1')).logits)).toBeGreaterThan(0.01)
  })

  it('has a bias of the input of Mamba-2 without one of its output', async () => {
    const inputs = (tensors: RawTensors) => addBiases(tensors, ['mamba.in_proj'], 0)
    const logits = await logitsOf('falcon-h1', { mamba_proj_bias: true }, inputs)
    expect(relativeL2(logits, (await readGolden('falcon-h1')).logits)).toBeLessThan(
      GOLDEN_RELATIVE_L2,
    )
  })
})

describe('Nemotron-H', () => {
  it('has no biases in attention where the file has none', () =>
    expectGolden('nemotron-h', { attention_bias: true }))

  it('has them where the file has them', async () => {
    const biases = (scale: number) => (tensors: RawTensors) =>
      addBiases(tensors, [...INPUTS, 'o_proj'], scale)
    const { logits } = await readGolden('nemotron-h')
    const key = { attention_bias: true }
    const [none, some] = [
      await logitsOf('nemotron-h', key, biases(0)),
      await logitsOf('nemotron-h', key, biases(0.5)),
    ]
    expect(relativeL2(none, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
    expect(relativeL2(some, logits)).toBeGreaterThan(0.01)
  })
})

describe('Nemotron-H, by the older names of its keys', () => {
  const changed = { conv_kernel: 4, use_conv_bias: true, time_step_limit: [0.05, 0.08] }
  const wrong = { n_groups: 4, conv_kernel: 2, use_conv_bias: false, time_step_limit: [0, 1e-3] }
  const older = { mamba_n_groups: 2, mamba_d_conv: 4, mamba_conv_bias: true }

  it('is the same model, whatever the newer ones say', async () => {
    const { logits } = await readGolden('nemotron-h')
    const expected = await logitsOf('nemotron-h', changed)
    const limit = { mamba_dt_limit: changed.time_step_limit }
    expect(relativeL2(expected, logits)).toBeGreaterThan(0.01)
    expect(await logitsOf('nemotron-h', { ...wrong, ...older, ...limit })).toEqual(expected)
  })

  it('has its experts by another name', async () => {
    const { logits } = await readGolden('nemotron-h-moe-nvfp4')
    const changes = { n_routed_experts: 3, num_local_experts: 8 }
    const same = await logitsOf('nemotron-h-moe-nvfp4', changes)
    expect(relativeL2(same, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})

describe('Zamba2', () => {
  const shared = /^(model\.layers)\.(\d+)\.(shared_transformer\..*)$/
  // Where nothing is tied transformers writes a block for each layer, two of which were one.
  const untie = (change: (x: number) => number) => (tensors: RawTensors) => {
    const { layers_block_type: types } = config
    const hybrids = [...types.keys()].filter((i) => types[i] === 'hybrid')
    for (const [name, tensor] of [...tensors]) {
      const [, layers, owner, rest] = shared.exec(name) ?? []
      if (rest === undefined) continue
      const first = hybrids.indexOf(Number(owner))
      for (const layer of hybrids.filter((_, i) => i > first && (i - first) % 2 === 0)) {
        const values = numbersOf(tensor).map(change)
        tensors.set(`${layers}.${layer}.${rest}`, rawTensor('float32', tensor.shape, values))
      }
    }
  }
  let config: { layers_block_type: string[] }
  beforeAll(async () => {
    config = JSON.parse(await readFile(join(fixture('zamba2'), 'config.json'), 'utf8'))
  })

  it('has a block for each layer where the file has', async () => {
    const { logits } = await readGolden('zamba2')
    const same = await logitsOf(
      'zamba2',
      {},
      untie((x) => x),
    )
    expect(relativeL2(same, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
    const others = await logitsOf(
      'zamba2',
      {},
      untie((x) => 0.9 * x),
    )
    expect(relativeL2(others, logits)).toBeGreaterThan(0.01)
  })
})

describe('the part of a head that turns', () => {
  it.each(['falcon-h1', 'lfm2'])('is all of it in %s', (name) =>
    expectGolden(name, { 'rope_parameters.partial_rotary_factor': 0.5 }),
  )

  it('is all of it in Granite, where positions turn anything', async () => {
    const rotary = { position_embedding_type: 'rope' }
    const whole = await logitsOf('granite-h', rotary)
    const stated = { ...rotary, 'rope_parameters.partial_rotary_factor': 0.5 }
    expect(await logitsOf('granite-h', stated)).toEqual(whole)
    expect(relativeL2(whole, (await readGolden('granite-h')).logits)).toBeGreaterThan(1e-3)
  })

  it.each(['bamba', 'qwen3-5'])('is what is stated in %s', async (name) => {
    const logits = await logitsOf(name, { 'rope_parameters.partial_rotary_factor': 1 })
    expect(relativeL2(logits, (await readGolden(name)).logits)).toBeGreaterThan(1e-3)
  })
})

describe('a head that is tied in one of two places', () => {
  it.each([
    { outer: true, inner: false },
    { outer: false, inner: true },
    { outer: true, inner: undefined },
  ])('$outer outside, $inner inside', ({ outer, inner }) =>
    expectGolden('qwen3-5-vl', {
      tie_word_embeddings: outer,
      'text_config.tie_word_embeddings': inner,
    }),
  )
})
