// Variations that the official code of the families writes or reads, beyond what the reference
// folders hold.

import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/index.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import {
  copyOfFixture,
  fixture,
  mapTensors,
  converted,
  numbersOf,
  rawTensor,
  type RawTensors,
  readGolden,
  readRawTensors,
  rewriteConfig,
  rewriteTensors,
} from '../support/checkpoints.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

async function expectGolden(folder: string, name: string): Promise<void> {
  const { tokens, logits } = await readGolden(name)
  await using model = await loadModel(folder, { device: 'cpu' })
  const { data } = await model.logits(tokens)
  expect(relativeL2(data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
}

/** Changes the flattened configuration of an Edge file, and its tensors. */
async function edgeVariant(
  name: string,
  change: (metadata: Record<string, string>, tensors: RawTensors) => void,
): Promise<string> {
  const folder = await copyOfFixture(name)
  const file = join(folder, 'model.safetensors')
  const { tensors, metadata } = await readRawTensors(file)
  const changed = { ...metadata }
  change(changed, tensors)
  await writeSafetensors(file, tensors, changed)
  return folder
}

describe('Hugging Face mamba2', () => {
  it('reads the embedding under the name that mamba_ssm gives it', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteTensors(folder, (tensors) => {
      tensors.set('backbone.embedding.weight', tensors.get('backbone.embeddings.weight')!)
      tensors.delete('backbone.embeddings.weight')
      return tensors
    })
    await expectGolden(folder, 'mamba2-hf')
  })

  it('ignores rms_norm, as transformers does', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, (config) => ({ ...config, rms_norm: false }))
    await expectGolden(folder, 'mamba2-hf')
  })

  it('takes tie_word_embeddings from the tensors when the configuration does not say', async () => {
    for (const name of ['mamba2-hf', 'mamba2-hf-groups']) {
      const folder = await copyOfFixture(name)
      await rewriteConfig(folder, ({ tie_word_embeddings: _, ...rest }) => rest)
      await expectGolden(folder, name)
    }
  })
})

describe('state-spaces and Rene', () => {
  it('takes ssm_cfg.d_ssm when it changes nothing and refuses it otherwise', async () => {
    const folder = await copyOfFixture('mamba2-state-spaces')
    const withWidth = (d_ssm: number) => (config: Record<string, unknown>) => ({
      ...config,
      ssm_cfg: { ...(config.ssm_cfg as object), d_ssm },
    })
    await rewriteConfig(folder, withWidth(128))
    await expectGolden(folder, 'mamba2-state-spaces')
    await rewriteConfig(folder, withWidth(64))
    await expect(loadModel(folder)).rejects.toThrow(/ssm_cfg.d_ssm/)
  })

  it('refuses a Rene of Mamba-1 layers', async () => {
    const folder = await copyOfFixture('rene')
    await rewriteConfig(folder, (config) => ({
      ...config,
      ssm_cfg: { ...(config.ssm_cfg as object), layer: 'Mamba1' },
    }))
    await expect(loadModel(folder)).rejects.toThrow(/ssm_cfg.layer = "Mamba1"/)
  })

  it('keeps 16-bit matrices as they are when the file puts them at an odd address', async () => {
    const folder = await copyOfFixture('rene')
    await rewriteTensors(folder, (tensors) =>
      mapTensors(tensors, (tensor) => converted(tensor, 'bfloat16')),
    )
    await using aligned = await loadModel(folder)
    // One more space in the header shifts everything behind it by a byte.
    const file = join(folder, 'model.safetensors')
    const bytes = await readFile(file)
    const length = Number(bytes.readBigUInt64LE())
    const header = Buffer.concat([bytes.subarray(0, 8 + length), Buffer.from(' ')])
    header.writeBigUInt64LE(BigInt(length + 1))
    await rm(file)
    await writeFile(file, Buffer.concat([header, bytes.subarray(8 + length)]))
    await using shifted = await loadModel(folder)
    expect(shifted.weightBytes).toBe(aligned.weightBytes)
    expect((await shifted.logits([1, 2, 3])).data).toEqual((await aligned.logits([1, 2, 3])).data)
  })
})

describe('Llamba', () => {
  it('adds the bias of z to that of in_proj', async () => {
    const folder = await copyOfFixture('llamba')
    await rewriteConfig(folder, (config) => ({
      ...config,
      ssm_cfg: { ...(config.ssm_cfg as object), bias: true },
    }))
    await rewriteTensors(folder, (tensors) => {
      for (const [name, tensor] of [...tensors].filter(([key]) => key.endsWith('.z_bias'))) {
        const mixer = name.slice(0, -'.z_bias'.length)
        const half = numbersOf(tensor).map((value) => value / 2)
        const [outputs] = tensors.get(`${mixer}.in_proj.weight`)!.shape as [number]
        const bias = new Array<number>(outputs).fill(0)
        // x | B | C | z | A_log, of 4 heads.
        bias.splice(outputs - 4 - half.length, half.length, ...half)
        tensors.set(name, rawTensor('float32', [half.length], half))
        tensors.set(`${mixer}.in_proj.bias`, rawTensor('float32', [outputs], bias))
        const zeros = new Array<number>(half.length).fill(0)
        tensors.set(`${mixer}.out_proj.bias`, rawTensor('float32', [half.length], zeros))
      }
      return tensors
    })
    await expectGolden(folder, 'llamba')
  })

  it('has a bias of its head beside the embedding that is the head', async () => {
    const folder = await copyOfFixture('llamba')
    await rewriteConfig(folder, (config) => ({ ...config, lm_head_bias: true }))
    const bias = Array.from({ length: 256 }, (_, i) => Math.sin(i))
    await rewriteTensors(folder, (tensors) =>
      tensors.set('lm_head.bias', rawTensor('float32', [256], bias)),
    )
    const { tokens, logits } = await readGolden('llamba')
    await using model = await loadModel(folder, { device: 'cpu' })
    const expected = logits.map((value, i) => value + bias[i % 256]!)
    const { data } = await model.logits(tokens)
    expect(relativeL2(data, expected)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})

describe('Edge', () => {
  it('reads the quantisation that each layer states for itself', async () => {
    const folder = await edgeVariant('edge-mlx-4bit', (metadata) => {
      delete metadata['quantization_kwargs.group_size']
      delete metadata['quantization_kwargs.bits']
    })
    await expectGolden(folder, 'edge-mlx-4bit')
  })

  it('takes the vocabulary from the embedding when the model does not state it', async () => {
    const folder = await edgeVariant('edge-mlx-4bit', (metadata) => {
      delete metadata.n_tokens
    })
    await expectGolden(folder, 'edge-mlx-4bit')
  })

  it('passes over a norm that Edge makes but does not apply', async () => {
    const folder = await edgeVariant('edge-mlx-4bit', (metadata, tensors) => {
      metadata['model.unique_layers.2.layer.norm'] = 'true'
      for (const layer of [2, 6]) {
        const ones = rawTensor('float32', [192], new Array(192).fill(1))
        tensors.set(`model.layers.${layer}.layer.norm.weight`, ones)
      }
    })
    await expectGolden(folder, 'edge-mlx-4bit')
  })

  it.each([
    ['model.unique_layers.3.layer.max_context_len', 'null', /max_context_len null/],
    ['model.post_norm', 'null', /post_norm = null/],
    ['model.post_norm', 'false', /post_norm = false/],
    ['model.final_proj', 'true', /final_proj = true/],
    ['model.unique_layers.0.norm_point', '"post"', /norm_point = "post"/],
    ['model.unique_layers.0.layer._class_', '"layers.x.Other"', /class Other/],
  ])('refuses %s = %s', async (key, value, message) => {
    const folder = await edgeVariant('edge-mlx-4bit', (metadata) => {
      metadata[key] = value
    })
    await expect(loadModel(folder)).rejects.toThrow(message)
  })
})

it('says that a configuration is no file of weights', async () => {
  await expect(loadModel(join(fixture('rene'), 'config.json'))).rejects.toThrow(
    /is not a file of weights/,
  )
})

it('freezes the configuration of a model', async () => {
  await using model = await loadModel(fixture('rene'))
  expect(() => {
    ;(model.config as { dModel: number }).dModel = 5
  }).toThrow(TypeError)
})
