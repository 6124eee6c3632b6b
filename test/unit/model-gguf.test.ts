// The GGUF files that scripts/bench/peers compares llama.cpp with: their structure, and what differs from the checkpoint.
// Whether llama.cpp computes the same from them, `npm run compare` says.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { writeModelGguf } from '../../scripts/bench/peers/model-gguf.js'
import { PUBLISHED_SHAPES, smallConfig } from '../../scripts/bench/shapes/published.js'
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import { temporaryFolder } from '../support/checkpoints.js'

interface Gguf {
  metadata: Map<string, unknown>
  tensors: Map<string, { dimensions: number[]; type: number; offset: number }>
  /** Of a float32 tensor. */
  values(name: string): number[]
  /** Bytes of the data. */
  bytes: number
}

/** As https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes it. */
function parseGguf(file: Buffer): Gguf {
  let at = 4
  const past = (bytes: number) => {
    const first = at
    at += bytes
    return first
  }
  const uint32 = () => file.readUInt32LE(past(4))
  const uint64 = () => Number(file.readBigUInt64LE(past(8)))
  const text = () => {
    const length = uint64()
    return file.toString('utf8', at, past(length) + length)
  }
  const readers: Record<number, () => unknown> = {
    4: uint32,
    5: () => file.readInt32LE(past(4)),
    6: () => file.readFloatLE(past(4)),
    7: () => file.readUInt8(past(1)) === 1,
    8: text,
    9: () => {
      const type = uint32()
      return Array.from({ length: uint64() }, () => readers[type]!())
    },
  }
  expect(file.toString('latin1', 0, 4)).toBe('GGUF')
  expect(uint32()).toBe(3)
  const [tensorCount, keyCount] = [uint64(), uint64()]
  const metadata = new Map(Array.from({ length: keyCount }, () => [text(), readers[uint32()]!()]))
  const tensors = new Map(
    Array.from({ length: tensorCount }, () => {
      const name = text()
      const dimensions = Array.from({ length: uint32() }, uint64)
      return [name, { dimensions, type: uint32(), offset: uint64() }]
    }),
  )
  expect(tensors.size).toBe(tensorCount)
  const data = Math.ceil(at / 32) * 32
  return {
    metadata,
    tensors,
    bytes: file.length - data,
    values(name) {
      const { dimensions, type, offset } = tensors.get(name)!
      expect(type).toBe(0)
      const count = dimensions.reduce((product, d) => product * d, 1)
      return Array.from({ length: count }, (_, i) => file.readFloatLE(data + offset + 4 * i))
    },
  }
}

/** The numbers of a float32 tensor of a checkpoint. */
async function stored(folder: string, name: string): Promise<number[]> {
  const { file, byteOffset, byteLength } = (await openCheckpoint(folder)).tensors.get(name)!
  const bytes = (await readFile(file)).subarray(byteOffset, byteOffset + byteLength)
  return Array.from({ length: byteLength / 4 }, (_, i) => bytes.readFloatLE(4 * i))
}

async function write(name: string, type: 'f32' | 'q8_0') {
  const folder = await temporaryFolder()
  await writeRandomCheckpoint(folder, smallConfig(PUBLISHED_SHAPES[name]!), { seed: 1 })
  const path = join(folder, 'model.gguf')
  await writeModelGguf(folder, path, type)
  return { folder, gguf: parseGguf(await readFile(path)) }
}

const rounded = (numbers: readonly number[]) => numbers.map(Math.fround)

it('a granite has its layers, its multipliers and no positions', async () => {
  const { folder, gguf } = await write('granite-4.0-h-350m', 'q8_0')
  const { metadata, tensors } = gguf
  expect(metadata.get('general.architecture')).toBe('granitehybrid')
  expect(metadata.get('granitehybrid.attention.head_count_kv')).toEqual([0, 2, 0])
  expect(metadata.get('granitehybrid.residual_scale')).toBe(Math.fround(0.246))
  expect(metadata.get('granitehybrid.logit_scale')).toBe(3)
  expect(metadata.get('granitehybrid.rope.scaling.finetuned')).toBe(false)
  expect(tensors.get('blk.0.ssm_in.weight')).toMatchObject({ dimensions: [128, 648], type: 8 })
  expect(tensors.get('blk.1.attn_k.weight')).toMatchObject({ dimensions: [128, 64], type: 8 })
  // Gate and up are one matrix in the checkpoint.
  expect(tensors.get('blk.2.ffn_gate.weight')).toMatchObject({ dimensions: [128, 192] })
  expect(tensors.has('output.weight')).toBe(false)
  const logarithms = await stored(folder, 'model.layers.0.mamba.A_log')
  expect(gguf.values('blk.0.ssm_a')).toEqual(rounded(logarithms.map((x) => -Math.exp(x))))
  // 34 bytes for 32 values.
  const last = [...tensors.values()].at(-1)!
  const elements = last.dimensions.reduce((product, d) => product * d, 1)
  expect(gguf.bytes).toBe(last.offset + (elements / 32) * 34)
})

describe('a qwen3.5 with experts', () => {
  it('has norms of 1 + w with the 1 in them', async () => {
    const { folder, gguf } = await write('qwen3.5-35b-a3b', 'f32')
    const norm = await stored(folder, 'model.layers.0.input_layernorm.weight')
    expect(gguf.values('blk.0.attn_norm.weight')).toEqual(rounded(norm.map((x) => x + 1)))
    const gated = await stored(folder, 'model.layers.0.linear_attn.norm.weight')
    expect(gguf.values('blk.0.ssm_norm.weight')).toEqual(gated)
  })

  it('has the heads of values in turns', async () => {
    const { folder, gguf } = await write('qwen3.5-35b-a3b', 'f32')
    // Two heads of keys, four of values.
    const bias = await stored(folder, 'model.layers.0.linear_attn.dt_bias')
    expect(gguf.values('blk.0.ssm_dt.bias')).toEqual([0, 2, 1, 3].map((head) => bias[head]))
    const out = await stored(folder, 'model.layers.0.linear_attn.out_proj.weight')
    const columns = [0, 2, 1, 3].flatMap((head) => out.slice(64 * head, 64 * (head + 1)))
    expect(gguf.values('blk.0.ssm_out.weight').slice(0, 256)).toEqual(columns)
  })

  it('has gate and up of each expert apart', async () => {
    const { folder, gguf } = await write('qwen3.5-35b-a3b', 'f32')
    const fused = await stored(folder, 'model.layers.1.mlp.experts.gate_up_proj.weight')
    const up = gguf.values('blk.1.ffn_up_exps.weight')
    expect(gguf.tensors.get('blk.1.ffn_up_exps.weight')?.dimensions).toEqual([128, 64, 8])
    // Of the last expert: 128 rows of 128, of which the second half.
    expect(up.slice(-64 * 128)).toEqual(fused.slice(-64 * 128))
    expect(gguf.tensors.get('blk.1.ffn_gate_inp.weight')?.type).toBe(0)
  })
})
