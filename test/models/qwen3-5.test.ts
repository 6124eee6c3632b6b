// Qwen3.5: the text model as its authors have it, inside the vision-language checkpoint, and as mlx-lm converts it.

import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { UnsupportedArchitectureError } from '../../lib/support/errors.js'
import { type Config, configCase, describeRefused, set, weights } from '../support/bad-input.js'
import { copyOfFixture, fixture, readGolden, rewriteConfig } from '../support/checkpoints.js'
import { logitsOneByOne } from '../support/logits.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const CHECKPOINTS = ['qwen3-5', 'qwen3-5-vl', 'qwen3-5-4bit']

async function expectGolden(folder: string, name: string, prefillChunkSize?: number) {
  const { tokens, logits } = await readGolden(name)
  await using model = await loadModel(folder, { device: 'cpu' })
  const { data } = await model.logits(
    tokens,
    prefillChunkSize === undefined ? {} : { prefillChunkSize },
  )
  expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
}

describe.each(CHECKPOINTS)('%s gives its golden logits', (name) => {
  it.each([undefined, 1, 7, 64, 65])('in chunks of %s', (size) =>
    expectGolden(fixture(name), name, size),
  )

  it('one at a time after a prefill', async () => {
    const { tokens, logits } = await readGolden(name)
    using device = createDevice('cpu')
    const actual = await logitsOneByOne(device, fixture(name), tokens, 37)
    expect(relativeL2(actual, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})

it('every fourth layer attends where the configuration lists none', async () => {
  const folder = await copyOfFixture('qwen3-5-4bit')
  const rewrite = (key: string, value: unknown) =>
    rewriteConfig(folder, (config: Config) => {
      set(key, value)(config)
      return config
    })
  await rewrite('text_config.layer_types', undefined)
  await expectGolden(folder, 'qwen3-5-4bit')
  await rewrite('text_config.full_attention_interval', 4)
  await expectGolden(folder, 'qwen3-5-4bit')
})

describeRefused('configurations', [
  configCase(
    'key heads that do not divide the heads',
    'qwen3-5',
    set('linear_num_key_heads', 3),
    /linear_num_key_heads 3 does not divide linear_num_value_heads 8/,
  ),
  configCase(
    'a list of layers of another length',
    'qwen3-5',
    set('num_hidden_layers', 5),
    /layer_types has 6 layers but num_hidden_layers is 5/,
  ),
  configCase(
    'an unknown layer',
    'qwen3-5',
    set('layer_types', ['linear_attention', 'conv']),
    /has a layer of type "conv"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'heads without columns',
    'qwen3-5-vl',
    set('text_config.linear_key_head_dim', 0),
    /linear_key_head_dim must be a whole number from 1/,
  ),
  {
    ...configCase(
      'heads of another size than the tensors have',
      'qwen3-5',
      set('linear_value_head_dim', 25),
      /linear_attn.in_proj_qkv.weight must have shape/,
    ),
    file: weights,
  },
  configCase(
    'attention without a gate',
    'qwen3-5',
    set('attn_output_gate', false),
    /attn_output_gate = false/,
    UnsupportedArchitectureError,
  ),
])
