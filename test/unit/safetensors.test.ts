import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import type { TensorEntry } from '../../lib/weights/checkpoint.js'
import {
  readSafetensors,
  type TensorData,
  writeSafetensors,
} from '../../lib/weights/safetensors.js'
import { readSafetensorsIndex } from '../../lib/weights/shards.js'

const reference = join(import.meta.dirname, '../fixtures/reference')
let folder: string
let nextFile = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A file with this header (text, or an object to encode) and `dataLength` zero bytes after it. */
async function fileWith(header: unknown, dataLength = 0, claimedLength?: bigint): Promise<string> {
  const text = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(claimedLength ?? BigInt(text.length))
  const path = join(folder, `${nextFile++}.safetensors`)
  await writeFile(path, Buffer.concat([length, text, Buffer.alloc(dataLength)]))
  return path
}

async function expectRefused(path: string, message: string | RegExp): Promise<void> {
  const error = await readSafetensors(path).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(CorruptFileError)
  expect((error as Error).message).toMatch(new RegExp(message))
  expect((error as Error).message.startsWith(path)).toBe(true)
}

const float = (shape: number[], begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
})

describe('readSafetensors', () => {
  it('reads every reference file', async () => {
    const files = (await readdir(reference, { recursive: true, withFileTypes: true }))
      .filter((file) => file.name.endsWith('.safetensors'))
      .map((file) => join(file.parentPath, file.name))
    expect(files.length).toBeGreaterThan(10)
    for (const path of files) {
      const { tensors } = await readSafetensors(path)
      const bytes = await readFile(path)
      const total = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
      expect(total).toBe(bytes.length - 8 - Number(bytes.readBigUInt64LE()))
    }
  })

  it('gives names, dtypes, shapes, positions and metadata', async () => {
    const path = join(reference, 'mamba2-mlx-lm-4bit/model.safetensors')
    const { tensors, metadata } = await readSafetensors(relative(process.cwd(), path))
    expect(metadata).toEqual({ format: 'mlx' })
    expect(tensors.get('backbone.embeddings.weight')).toEqual({
      name: 'backbone.embeddings.weight',
      dtype: 'uint32',
      shape: [256, 8],
      file: path,
      byteOffset: 5928,
      byteLength: 8192,
    })
  })

  it('reads scalars, empty tensors and files without tensors', async () => {
    const path = await fileWith(
      {
        after: float([0, 3], 4, 4),
        scalar: float([], 0, 4),
        before: float([0], 0, 0),
        half: { dtype: 'F4', shape: [2], data_offsets: [4, 5] },
      },
      5,
    )
    const { tensors } = await readSafetensors(path)
    expect(tensors.get('scalar')).toMatchObject({ shape: [], byteLength: 4 })
    expect(tensors.get('after')).toMatchObject({ shape: [0, 3], byteLength: 0 })
    expect(tensors.get('half')).toMatchObject({ dtype: 'float4', byteLength: 1 })
    expect((await readSafetensors(await fileWith('{}   '))).tensors.size).toBe(0)
  })

  it('leaves a dtype that it does not know to whoever reads the tensor', async () => {
    const odd = { dtype: 'F31', shape: [7], data_offsets: [0, 5] }
    const { tensors } = await readSafetensors(await fileWith({ odd, x: float([], 5, 9) }, 9))
    expect(tensors.get('odd')).toMatchObject({ dtype: '"F31"', shape: [7], byteLength: 5 })
    await expectRefused(await fileWith({ odd }, 4), 'reach beyond the 4 bytes')
  })

  it('takes metadata that are no strings as their JSON', async () => {
    const read = async (metadata: unknown) =>
      (await readSafetensors(await fileWith({ __metadata__: metadata }))).metadata
    expect(await read(null)).toEqual({})
    expect(await read({ a: 1, b: null, c: { d: [true] }, e: 'text' })).toEqual({
      a: '1',
      b: 'null',
      c: '{"d":[true]}',
      e: 'text',
    })
  })

  it('keeps names such as __proto__ harmless', async () => {
    const text = `{"__metadata__":{"__proto__":"m"},"__proto__":${JSON.stringify(float([1], 0, 4))}}`
    const { tensors, metadata } = await readSafetensors(await fileWith(text, 4))
    expect([...tensors.keys()]).toEqual(['__proto__'])
    expect(Object.entries(metadata)).toEqual([['__proto__', 'm']])
    expect(metadata.toString).toBeUndefined()
  })

  it.each<[string, unknown, number, string | RegExp]>([
    ['no JSON', '{"a": ', 0, /header:1:7: expected a value, at the end/],
    ['leading space', ' {}', 0, 'must begin with "{"'],
    ['an empty header', '', 0, 'must begin with "{"'],
    ['an array', '[]', 0, 'must begin with "{"'],
    ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 0, 'not valid UTF-8'],
    ['a bare NaN', '{"a": NaN}', 0, 'expected a value'],
    ['the same key twice', '{"a":{},"a":{}}', 0, 'each key once but "a"'],
    ['the same name, escaped', '{"a":{},"\\u0061":{}}', 0, 'each key once but "a"'],
    ['a shape of shapes', '{"a":{"dtype":"F32","shape":[[]]}}', 0, 'shape must be an array'],
    ['deep nesting', `{"__metadata__":{"a":${'['.repeat(1000)}`, 0, 'at most 100'],
    ['an entry that is a number', { x: 3 }, 0, 'tensor "x": expected an object but got 3'],
    ['an unknown key', { x: { ...float([], 0, 4), y: 1 } }, 4, 'unknown key "y"'],
    ['a dtype of no form', { x: { ...float([], 0, 4), dtype: 'F 31' } }, 4, 'dtype "F 31" is none'],
    ['dtype __proto__', { x: { ...float([], 0, 4), dtype: '__proto__' } }, 4, 'is none of'],
    ['no dtype', { x: { shape: [], data_offsets: [0, 0] } }, 0, 'dtype undefined is none of'],
    ['no shape', { x: { dtype: 'F32', data_offsets: [0, 0] } }, 0, 'shape must be an array'],
    ['a negative dimension', { x: float([-1], 0, 4) }, 4, 'shape must be .* but is \\[-1\\]'],
    ['a fraction', { x: float([1.5], 0, 6) }, 6, 'shape must be'],
    [
      'a dimension of 2^53',
      `{"x":{"dtype":"F32","shape":[9007199254740992],"data_offsets":[0,4]}}`,
      4,
      'shape must be',
    ],
    ['a dimension as a string', { x: float(['4'] as never, 0, 16) }, 16, 'shape must be'],
    ['too many elements', { x: float([2 ** 30, 2 ** 30], 0, 4) }, 4, 'too many elements'],
    ['too many beside a zero', { x: float([2 ** 30, 2 ** 30, 0], 0, 0) }, 0, 'too many elements'],
    ['too many after a zero', { x: float([0, 2 ** 30, 2 ** 30], 0, 0) }, 0, 'too many elements'],
    ['too many bytes', { x: float([2 ** 50], 0, 4) }, 4, 'too many elements'],
    ['three offsets', { x: { ...float([], 0, 4), data_offsets: [0, 4, 8] } }, 8, 'must be two'],
    ['a negative offset', { x: float([2], -4, 4) }, 4, 'data_offsets must be two'],
    ['an offset of 2^60', { x: float([1], 0, 2 ** 60) }, 4, 'data_offsets must be two'],
    ['offsets reversed', { x: float([1], 4, 0) }, 4, 'end before they begin'],
    ['offsets outside the file', { x: float([2], 0, 8) }, 4, 'reach beyond the 4 bytes of data'],
    ['an empty tensor outside', { x: float([0], 9, 9) }, 4, 'reach beyond'],
    [
      'too short a range',
      { x: float([4, 8], 0, 64) },
      64,
      'tensor "x": data_offsets \\[0,64\\] hold 64 bytes but shape \\[4,8\\] of float32 needs 128',
    ],
    ['half a byte', { x: { dtype: 'F4', shape: [3], data_offsets: [0, 2] } }, 2, 'needs 1.5'],
    [
      'overlapping tensors',
      { a: float([2], 0, 8), b: float([2], 4, 12) },
      12,
      '"b".*overlaps tensor "a"',
    ],
    ['one range twice', { a: float([2], 0, 8), b: float([2], 0, 8) }, 8, 'overlaps'],
    ['a hole at the start', { a: float([1], 4, 8) }, 8, 'hole after the start of the data'],
    ['a hole between', { a: float([1], 0, 4), b: float([1], 8, 12) }, 12, 'hole after tensor "a"'],
    ['bytes after the last tensor', { a: float([1], 0, 4) }, 5, 'take 4 bytes but 5 bytes follow'],
    ['bytes without tensors', {}, 3, 'take 0 bytes but 3'],
    ['metadata that is a list', { __metadata__: [] }, 0, '__metadata__ must be an object'],
  ])('refuses %s', async (_what, header, dataLength, message) => {
    await expectRefused(await fileWith(header, dataLength), message)
  })

  it('believes no header length', async () => {
    for (const claimed of [3n, 2n ** 31n, 2n ** 53n, 2n ** 60n, 2n ** 64n - 1n]) {
      const path = await fileWith('{}', 0, claimed)
      await expectRefused(path, /header length is \d+ bytes but (at most 100000000|only 2 bytes)/)
    }
  })

  it('says what a wrong file is', async () => {
    const write = async (text: string) => {
      const path = join(folder, `${nextFile++}.bin`)
      await writeFile(path, text)
      return path
    }
    await expectRefused(await write(''), 'expected at least the 8 bytes .* has 0')
    await expectRefused(await write('1234567'), 'has 7')
    await expectRefused(
      await write('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
      'git lfs pull',
    )
    await expectRefused(await write('<!DOCTYPE html><html></html>'), 'web page')
    await expectRefused(join(reference, 'mamba2-state-spaces/pytorch_model.bin'), 'zip archive')
    await expectRefused(folder, 'not a regular file')
  })

  it('passes on the error for a file that is not there', async () => {
    await expect(readSafetensors(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

const tensor = (value: number, count = 4): TensorData => ({
  dtype: 'float32',
  shape: [count],
  data: new Float32Array(count).fill(value),
})

async function elements(entry: TensorEntry | undefined): Promise<Float32Array> {
  const bytes = await readFile(entry!.file)
  const { byteOffset, byteLength } = entry!
  return new Float32Array(
    new Uint8Array(bytes.subarray(byteOffset, byteOffset + byteLength)).buffer,
  )
}

describe('writeSafetensors', () => {
  it('writes what readSafetensors reads, aligned', async () => {
    const path = join(folder, 'out.safetensors')
    const tensors = new Map<string, TensorData>([
      ['flag', { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) }],
      ['half', { dtype: 'bfloat16', shape: [1, 3], data: Uint16Array.of(1, 2, 3) }],
      ['é "quoted"', tensor(7, 5)],
      ['long', { dtype: 'int64', shape: [], data: BigInt64Array.of(-1n) }],
      [
        'part',
        { dtype: 'float32', shape: [2], data: new Float32Array([1, 2, 3, 4]).subarray(1, 3) },
      ],
      ['empty', { dtype: 'float32', shape: [0, 4], data: new Float32Array(0) }],
      ['__proto__', tensor(1)],
    ])
    await writeSafetensors(path, tensors, { format: 'pt', note: 'é' })
    const read = await readSafetensors(path)
    expect(read.metadata).toEqual({ format: 'pt', note: 'é' })
    expect([...read.tensors.keys()].sort()).toEqual([...tensors.keys()].sort())
    const sizes: Record<string, number> = { int64: 8, float32: 4, bfloat16: 2, bool: 1 }
    for (const [name, { dtype, shape, byteOffset }] of read.tensors) {
      expect({ dtype, shape }).toEqual({
        dtype: tensors.get(name)!.dtype,
        shape: tensors.get(name)!.shape,
      })
      expect(byteOffset % sizes[dtype]!).toBe(0)
    }
    expect(Math.min(...[...read.tensors.values()].map((t) => t.byteOffset)) % 64).toBe(0)
    expect(await elements(read.tensors.get('part'))).toEqual(Float32Array.of(2, 3))
    expect(await elements(read.tensors.get('é "quoted"'))).toEqual(new Float32Array(5).fill(7))
  })

  it('gives equal files for equal tensors, whatever their order', async () => {
    const a = join(folder, 'a.safetensors')
    const b = join(folder, 'b.safetensors')
    await writeSafetensors(a, { x: tensor(1), y: tensor(2) })
    await writeSafetensors(b, { y: tensor(2), x: tensor(1) })
    expect(await readFile(a)).toEqual(await readFile(b))
  })

  it('refuses what it could not read back, and leaves nothing behind', async () => {
    const path = join(folder, 'refused', 'x.safetensors')
    await mkdir(dirname(path))
    const write = (value: Partial<TensorData>, metadata = {}) =>
      writeSafetensors(path, { x: { ...tensor(1), ...value } }, metadata)
    await expect(write({ shape: [5] })).rejects.toThrow(
      '[writeSafetensors] tensor "x": data has 16 bytes but shape [5] of float32 needs 20',
    )
    await expect(write({ shape: [-4] })).rejects.toThrow(RangeError)
    await expect(write({ dtype: 'float31' as never })).rejects.toThrow(TypeError)
    await expect(write({}, { a: 1 })).rejects.toThrow('metadata "a" must be a string')
    await expect(writeSafetensors(path, { __metadata__: tensor(1) })).rejects.toThrow(RangeError)
    expect(await readdir(dirname(path))).toEqual([])
  })

  it('replaces a file instead of overwriting it', async () => {
    const path = join(folder, 'replaced.safetensors')
    await writeSafetensors(path, { x: tensor(1) })
    const before = await readFile(path)
    const reader = await open(path)
    try {
      await writeSafetensors(path, { y: tensor(2) })
      expect(await reader.readFile()).toEqual(before)
    } finally {
      await reader.close()
    }
    expect([...(await readSafetensors(path)).tensors.keys()]).toEqual(['y'])
  })
})

describe('readSafetensorsIndex', () => {
  /** A folder with shards a (x, y) and b (z), and an index with this map. */
  async function sharded(weightMap: unknown, text?: string): Promise<string> {
    const inside = join(folder, `sharded-${nextFile++}`)
    await mkdir(inside)
    await writeSafetensors(
      join(inside, 'a.safetensors'),
      { x: tensor(1), y: tensor(2) },
      { format: 'pt', of: 'a' },
    )
    await writeSafetensors(join(inside, 'b.safetensors'), { z: tensor(3) }, { of: 'b', only: 'b' })
    const path = join(inside, 'model.safetensors.index.json')
    const index = { metadata: { total_size: 48, nested: { any: [1] } }, weight_map: weightMap }
    await writeFile(path, text ?? JSON.stringify(index))
    return path
  }
  const good = { x: 'a.safetensors', y: 'a.safetensors', z: 'b.safetensors' }

  it('merges the shards', async () => {
    const path = await sharded(good)
    const { tensors, metadata } = await readSafetensorsIndex(path)
    expect([...tensors.keys()].sort()).toEqual(['x', 'y', 'z'])
    expect(tensors.get('z')!.file).toBe(resolve(dirname(path), 'b.safetensors'))
    expect(await elements(tensors.get('z'))).toEqual(new Float32Array(4).fill(3))
    expect(metadata).toEqual({ format: 'pt', of: 'a', only: 'b' })
  })

  it('follows symbolic links, which caches of the Hub consist of', async () => {
    const path = await sharded({ ...good, w: 'link.safetensors' })
    const target = join(folder, 'blob')
    await writeSafetensors(target, { w: tensor(4) })
    await symlink(target, join(dirname(path), 'link.safetensors'))
    const { tensors } = await readSafetensorsIndex(path)
    expect(await elements(tensors.get('w'))).toEqual(new Float32Array(4).fill(4))
  })

  it.each<[string, unknown, RegExp]>([
    [
      'a missing shard',
      { ...good, w: 'c.safetensors' },
      /names "c\.safetensors" but that file is missing/,
    ],
    ['an overlong shard name', { w: `${'c'.repeat(5000)}.safetensors` }, /is missing/],
    [
      'a tensor that its shard lacks',
      { ...good, w: 'a.safetensors' },
      /tensor "w": weight_map puts it in "a\.safetensors" but that file does not have it/,
    ],
    [
      'a tensor in another shard',
      { ...good, x: 'b.safetensors' },
      /tensor "x": weight_map puts it in "b\.safetensors" but it is in "a\.safetensors"/,
    ],
    [
      'a shard in another folder',
      { x: '../a.safetensors' },
      /tensor "x": weight_map must name a file/,
    ],
    ['a shard in a subfolder', { x: 'sub/a.safetensors' }, /must name a file in the same folder/],
    ['an absolute path', { x: '/a.safetensors' }, /must name a file/],
    ['a path of Windows', { x: '..\\a.safetensors' }, /must name a file/],
    ['a drive', { x: 'C:a.safetensors' }, /must name a file/],
    ['a NUL', { x: 'a\0.safetensors' }, /must name a file/],
    ['another kind of file', { x: 'model.bin' }, /must name a file/],
    ['the folder', { x: '..' }, /must name a file/],
    ['a number', { x: 1 }, /must name a file/],
    ['no map', undefined, /weight_map must be an object but is undefined/],
    ['a list', [], /weight_map must be an object/],
  ])('refuses %s', async (_what, weightMap, message) => {
    const path = await sharded(weightMap)
    await expect(readSafetensorsIndex(path)).rejects.toThrow(CorruptFileError)
    await expect(readSafetensorsIndex(path)).rejects.toThrow(message)
  })

  it('refuses a tensor that is mapped twice or in two shards', async () => {
    const twice = await sharded(0, '{"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}}')
    await expect(readSafetensorsIndex(twice)).rejects.toThrow(
      /:1:39: expected each key once but "x"/,
    )
    const both = await sharded(good)
    await writeSafetensors(join(dirname(both), 'b.safetensors'), { z: tensor(3), x: tensor(1) })
    await expect(readSafetensorsIndex(both)).rejects.toThrow(
      'tensor "x" is in two shards, "a.safetensors" and "b.safetensors"',
    )
  })

  it('names the damaged shard', async () => {
    const path = await sharded(good)
    const shard = join(dirname(path), 'b.safetensors')
    await writeFile(shard, (await readFile(shard)).subarray(0, -1))
    await expect(readSafetensorsIndex(path)).rejects.toThrow(`${shard}: tensor "z": data_offsets`)
  })
})
