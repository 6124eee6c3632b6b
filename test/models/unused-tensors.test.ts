// Headers that writers other than ours produce, and tensors that a model does not use.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import type { Notice } from '../../lib/support/notices.js'
import { parameterCount } from '../../lib/weights/parameters.js'
import {
  copyOfFixture,
  fixture,
  rawTensor,
  readGolden,
  type RawTensor,
  rewriteTensors,
} from '../support/checkpoints.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

type Header = Record<string, unknown>

/** Changes the header of a folder's weights, and puts bytes behind the data. */
async function rewriteHeader(
  folder: string,
  change: (header: Header, dataLength: number) => Header,
  added = 0,
): Promise<void> {
  const file = join(folder, 'model.safetensors')
  const bytes = await readFile(file)
  const end = 8 + Number(bytes.readBigUInt64LE())
  const data = bytes.subarray(end)
  const header = change(JSON.parse(bytes.toString('utf8', 8, end)), data.length)
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  await writeFile(file, Buffer.concat([length, text, data, Buffer.alloc(added)]))
}

async function expectGolden(folder: string, name: string): Promise<Notice[]> {
  const { tokens, logits } = await readGolden(name)
  const notices: Notice[] = []
  await using model = await loadModel(folder, { device: 'cpu', onNotice: (n) => notices.push(n) })
  expect(relativeL2((await model.logits(tokens)).data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  return notices
}

describe('headers as they are written', () => {
  it.each<[string, unknown]>([
    ['null', null],
    ['numbers', { step: 5, loss: 1.5 }],
    ['null and nesting', { format: null, args: { layers: [[1, { a: [2] }]] } }],
  ])('metadata: %s', async (_, metadata) => {
    const folder = await copyOfFixture('mamba2-mlx-lm-4bit')
    await rewriteHeader(folder, (header) => ({ ...header, __metadata__: metadata }))
    expect(await expectGolden(folder, 'mamba2-mlx-lm-4bit')).toEqual([])
  })

  it("Edge's configuration as JSON values, not texts of JSON", async () => {
    const folder = await copyOfFixture('edge-mlx-8bit')
    await rewriteHeader(folder, (header) => ({
      ...header,
      __metadata__: Object.fromEntries(
        Object.entries(header.__metadata__ as Record<string, string>).map(([key, text]) => [
          key,
          /^\d+$/.test(text) ? Number(text) : text,
        ]),
      ),
    }))
    await expectGolden(folder, 'edge-mlx-8bit')
  })

  it('a tensor of no elements, anywhere', async () => {
    for (const at of [0, 65536]) {
      const folder = await copyOfFixture('mamba2-hf')
      await rewriteHeader(folder, (header) => ({
        ...header,
        'rotary.inv_freq': { dtype: 'F32', shape: [0, 4], data_offsets: [at, at] },
      }))
      expect(await expectGolden(folder, 'mamba2-hf')).toEqual([])
    }
  })

  it('a tensor without elements among those of the model', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteHeader(folder, (header, length) => ({
      ...header,
      'backbone.layers.0.mixer.empty': { dtype: 'F32', shape: [0], data_offsets: [length, length] },
    }))
    expect(await expectGolden(folder, 'mamba2-hf')).toEqual([])
  })

  it.each(['F8_E4M3', 'F8_E4M3FNUZ', 'F8', 'I4', 'C128'])(
    'type %s of a tensor that nobody reads',
    async (dtype) => {
      const folder = await copyOfFixture('mamba2-hf')
      await rewriteHeader(
        folder,
        (header, length) => ({
          ...header,
          'vision.scale': { dtype, shape: [16], data_offsets: [length, length + 16] },
        }),
        16,
      )
      const notices = await expectGolden(folder, 'mamba2-hf')
      expect(notices.map(({ code }) => code)).toEqual(['TENSORS_SKIPPED'])
    },
  )

  it('but not of one that is read', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteHeader(folder, (header) => {
      const name = 'backbone.norm_f.weight'
      return { ...header, [name]: { ...(header[name] as object), dtype: 'I4' } }
    })
    await expect(loadModel(folder)).rejects.toThrow(
      /tensor backbone.norm_f.weight must be float32, .* but is "I4"/,
    )
  })
})

describe('tensors that the model does not use', () => {
  const some = (): RawTensor => rawTensor('float32', [3], [1, 2, 3])
  const withTensors = async (...names: string[]) => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteTensors(folder, (tensors) => {
      for (const name of names) tensors.set(name, some())
      return tensors
    })
    return folder
  }

  it.each([
    'backbone.layers.0.mixer.rotary_emb.inv_freq',
    'backbone.layers.1.norm.num_batches_tracked',
    'backbone.layers.1.mixer.total_ops',
    'backbone.mtp.layers.0.in_proj.weight',
    'mtp.norm.weight',
  ])('the leftover %s is skipped', async (name) => {
    const folder = await withTensors(name)
    expect(await expectGolden(folder, 'mamba2-hf')).toEqual([])
    // It counts for nothing, either.
    const [with_, without] = [
      await openCheckpoint(folder),
      await openCheckpoint(fixture('mamba2-hf')),
    ]
    expect(parameterCount(with_)).toBe(parameterCount(without))
  })

  it('modules beside the model are skipped with a notice', async () => {
    const notices = await expectGolden(
      await withTensors('v_head.summary.weight', 'vision_tower.patch.bias'),
      'mamba2-hf',
    )
    expect(notices).toHaveLength(1)
    expect(notices[0]!.message).toMatch(/skipped 2 tensors .*v_head.summary.weight, vision_tower/)
  })

  it.each([
    'backbone.layers.0.mixer.in_proj.bias',
    'backbone.layers.0.mixer.in_proj.lora_A.weight',
    'backbone.layers.0.norm.bias',
    'backbone.extra.weight',
    'lm_head.bias',
  ])('%s, inside a module of the model, is an error', async (name) => {
    await expect(loadModel(await withTensors(name))).rejects.toThrow(
      `1 tensors that this model does not have: ${name}`,
    )
  })

  it('does not stop the progress short of its end', async () => {
    const folder = await withTensors('vision_tower.patch.weight', 'mtp.norm.weight')
    let last: number[] = []
    await using _ = await loadModel(folder, {
      device: 'cpu',
      onProgress: ({ phase, loaded, total }) => {
        if (phase === 'load') last = [loaded, total]
      },
    })
    expect(last[0]).toBe(last[1])
  })
})
