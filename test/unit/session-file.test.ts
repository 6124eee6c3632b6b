import {
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { CorruptFileError, SessionMismatchError, UnsupportedOptionError } from '../../lib/index.js'
import {
  type ExpectedSession,
  type ModelIdentity,
  readSessionFile,
  type SessionContents,
  type SessionField,
  writeSessionFile,
} from '../../lib/sessions/session-file.js'
import {
  readSafetensors,
  type TensorData,
  writeSafetensors,
} from '../../lib/weights/safetensors.js'
import { seededNormals } from '../support/arrays.js'
import { ROOT } from '../support/child-process.js'
import { fixture, readRawTensors } from '../support/checkpoints.js'
import { decodeFloat, encodeFloat, FLOAT_FORMATS } from '../reference/float-formats.js'
import { seededIntegers } from './random.js'

const folder = await mkdtemp(join(tmpdir(), 'session-'))
afterAll(() => rm(folder, { recursive: true }))
let nextFile = 0
const newPath = () => join(folder, `${nextFile++}.session`)

const model: ModelIdentity = {
  hash: 'ab'.repeat(32),
  description: 'rene, 1.33 B parameters, 4-bit',
}
const other: ModelIdentity = { hash: 'cd'.repeat(32), description: 'mamba2, "129 M" parameters' }

const normals = seededNormals(11)
const floats = (shape: readonly number[]) =>
  Float32Array.from(
    normals(
      shape.reduce((total, n) => total * n, 1),
      3,
    ),
  )
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
const floatField = (
  name: string,
  shape: readonly number[],
  values = floats(shape),
): SessionField => ({
  name,
  dtype: 'float32',
  shape,
  data: bytesOf(values),
})

const contents: SessionContents = {
  model,
  position: 3,
  consumed: Uint32Array.of(5, 0, 99),
  fields: [
    floatField('layers.1.ssm', [2, 3, 4]),
    floatField('layers.0.conv', [4, 3]),
    floatField('layers.0.ssm', [2, 3, 4]),
  ],
}
const expected = { model, fields: contents.fields, vocabulary: 100 }

async function written(changes: Partial<SessionContents> = {}): Promise<string> {
  const path = newPath()
  await writeSessionFile(path, { ...contents, ...changes })
  return path
}

async function refusal(path: string, expecting: ExpectedSession = expected): Promise<Error> {
  const thrown = await readSessionFile(path, expecting).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(Error)
  expect((thrown as Error).message.startsWith(`${path}: `)).toBe(true)
  return thrown as Error
}

async function expectCorrupt(
  path: string,
  message: string | RegExp,
  expecting: ExpectedSession = expected,
) {
  const error = await refusal(path, expecting)
  expect(error).toBeInstanceOf(CorruptFileError)
  expect(error.message).toMatch(new RegExp(message))
}

async function expectMismatch(path: string, message: string | RegExp, expecting = expected) {
  const error = await refusal(path, expecting)
  expect(error).toBeInstanceOf(SessionMismatchError)
  expect(error).toMatchObject({ name: 'SessionMismatchError', code: 'ERR_SESSION_MISMATCH' })
  expect(error.message).toMatch(new RegExp(message))
}

interface Parts {
  tensors: Map<string, TensorData>
  metadata: Record<string, string>
}

const hex = (checksum: number) => checksum.toString(16).padStart(8, '0')
const inOrder = <T>(entries: Iterable<[string, T]>) =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))

/** The checksums that docs/sessions.md describes. */
function sealed({ tensors, metadata }: Parts): Parts {
  const data = inOrder(tensors).map(([, tensor]) => bytesOf(tensor.data))
  const stated = { ...metadata, data_checksum: hex(crc32(Buffer.concat(data))) }
  const values = inOrder(Object.entries(stated)).filter(([key]) => key !== 'checksum')
  const listing = inOrder(tensors).map(([name, { dtype, shape }]) => [name, dtype, shape])
  return {
    tensors,
    metadata: { ...stated, checksum: hex(crc32(JSON.stringify([values, listing]))) },
  }
}

/** A session file that somebody else has changed, with checksums that are right again. */
async function changed(change: (parts: Parts) => void): Promise<string> {
  const path = await written()
  const parts: Parts = await readRawTensors(path)
  change(parts)
  const { tensors, metadata } = sealed(parts)
  await writeSafetensors(path, tensors, metadata)
  return path
}

describe('a session file', () => {
  it.each([true, false])('comes back as it was, with token ids: %s', async (withTokens) => {
    const saved = { ...contents, consumed: withTokens ? contents.consumed : undefined }
    const path = newPath()
    await writeSessionFile(path, saved)
    expect(await readSessionFile(path, expected)).toEqual(saved)
    const names = [...expected.fields].reverse()
    const read = await readSessionFile(path, { ...expected, fields: names })
    expect(read.fields).toEqual([...contents.fields].reverse())
  })

  it('keeps NaN, infinity, negative zero and subnormal numbers', async () => {
    const values = Float32Array.of(Number.NaN, Infinity, -Infinity, -0, 1e-45, 3.4e38)
    const fields = [floatField('x', [6], values)]
    const path = await written({ fields })
    const read = await readSessionFile(path, { ...expected, fields })
    expect(read.fields).toEqual(fields)
  })

  it('of a session that has consumed nothing, and of a model without state', async () => {
    for (const consumed of [undefined, new Uint32Array(0)]) {
      const empty = { model, position: 0, consumed, fields: [] }
      const path = newPath()
      await writeSessionFile(path, empty)
      expect(await readSessionFile(path, { ...expected, fields: [] })).toEqual(empty)
    }
  })

  it('has float16 where that is asked for, rounded to nearest even', async () => {
    const odd = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 65519, -65504, Number.NaN, Infinity]
    const values = Float32Array.from([...odd, ...floats([500])])
    const fields = [floatField('x', [values.length], values)]
    const path = newPath()
    await writeSessionFile(path, { ...contents, fields }, { dtype: 'float16' })
    const [field] = (await readSessionFile(path, { ...expected, fields })).fields
    expect(field).toMatchObject({ name: 'x', dtype: 'float16', shape: [values.length] })
    const halves = Array.from(values, (x) => encodeFloat(x, FLOAT_FORMATS.float16))
    expect([...new Uint16Array(field!.data.buffer)]).toEqual(halves)

    // And as it is, or as float32, which holds every one of them.
    const again = await written({ fields: [field!] })
    expect((await readSessionFile(again, { ...expected, fields })).fields).toEqual([field])
    await writeSessionFile(path, { ...contents, fields: [field!] }, { dtype: 'float32' })
    const [wide] = (await readSessionFile(path, { ...expected, fields })).fields
    const numbers = halves.map((half) => decodeFloat(half, FLOAT_FORMATS.float16))
    expect([...new Float32Array(wide!.data.buffer)]).toEqual(numbers)
  })

  it('takes bytes that begin anywhere', async () => {
    const data = Buffer.concat([Buffer.of(1), contents.fields[0]!.data]).subarray(1)
    const fields = [{ ...contents.fields[0]!, data }]
    for (const dtype of ['float32', 'float16'] as const) {
      const [odd, even] = [newPath(), newPath()]
      await writeSessionFile(odd, { ...contents, fields }, { dtype })
      await writeSessionFile(even, { ...contents, fields: [contents.fields[0]!] }, { dtype })
      expect(await readFile(odd)).toEqual(await readFile(even))
    }
  })

  it("of mamba2-130m's shape is its state, 4 bytes a token and at most 8 KB", async () => {
    const shapes = { conv: [4, 1792], ssm: [24, 64, 128] }
    const fields = Array.from({ length: 24 }, (_, layer) =>
      Object.entries(shapes).map(([kind, shape]) =>
        floatField(
          `layers.${layer}.${kind}`,
          shape,
          new Float32Array(kind === 'conv' ? 7168 : 196608),
        ),
      ),
    ).flat()
    const state = fields.reduce((sum, { data }) => sum + data.byteLength, 0)
    const position = 2049
    for (const consumed of [new Uint32Array(position), undefined]) {
      const path = await written({ position, consumed, fields })
      const { size } = await stat(path)
      expect(size).toBeLessThanOrEqual(state + (consumed ? 4 * position : 0) + 8192)
      await rm(path)
    }
  })

  it('is a safetensors file as documented, every tensor aligned', async () => {
    const path = await written()
    const { tensors, metadata } = await readSafetensors(path)
    expect([...tensors.keys()].sort()).toEqual([
      'consumed',
      'layers.0.conv',
      'layers.0.ssm',
      'layers.1.ssm',
    ])
    for (const { byteOffset } of tensors.values()) expect(byteOffset % 4).toBe(0)
    expect(metadata).toEqual(sealed(await readRawTensors(path)).metadata)
    expect(metadata).toMatchObject({
      format: 'ssm-metal session',
      version: '1',
      model: model.hash,
      model_description: model.description,
      position: '3',
    })
  })
})

describe('a session file with what is kept of each position', () => {
  const pages = [
    floatField('pages.layers.0.keys', [3, 2]),
    floatField('pages.layers.0.values', [3, 2]),
  ]
  const shapes = pages.map(({ name }) => ({ name, shape: [2] }))
  const paged = { ...expected, pages: shapes }

  it('comes back as it was', async () => {
    const path = await written({ pages })
    expect(await readSessionFile(path, paged)).toEqual({ ...contents, pages })
    expect((await readRawTensors(path)).metadata.version).toBe('2')
  })

  it('has nothing of no position', async () => {
    const none = { position: 0, consumed: undefined }
    const path = await written(none)
    expect(await readSessionFile(path, paged)).toEqual({ ...contents, ...none })
  })

  it('is refused by a model that keeps other things', async () => {
    const path = await written({ pages })
    await expectMismatch(path, '"pages.layers.0.keys", which this version')
    const more = [...shapes, { name: 'pages.layers.1.keys', shape: [2] }]
    await expectCorrupt(path, '"pages.layers.1.keys" is missing', { ...paged, pages: more })
    const wide = shapes.map(({ name }) => ({ name, shape: [3] }))
    await expectCorrupt(path, 'must have shape .3,3. but has shape .3,2.', {
      ...paged,
      pages: wide,
    })
  })

  it('has names that begin as they have to', async () => {
    const writing = written({ pages: [floatField('keys', [3, 2])] })
    await expect(writing).rejects.toThrow('the format reserves the name "keys"')
  })
})

describe('writeSessionFile refuses', () => {
  it.each<[string, Partial<SessionContents>, string]>([
    ['a position that is no count', { position: 1.5 }, 'position must be a whole number'],
    ['a position below 0', { position: -1 }, 'position must be'],
    ['a position of more than 32 bits', { position: 2 ** 32, consumed: undefined }, 'must be'],
    ['other tokens than the position says', { position: 4 }, 'has 3 tokens but position is 4'],
    [
      'a field twice',
      { fields: [floatField('a', [1]), floatField('a', [1])] },
      '"a" is there twice',
    ],
    ['a field with the name of the tokens', { fields: [floatField('consumed', [1])] }, 'reserves'],
    ['a field with a name of later versions', { fields: [floatField('pages.0', [1])] }, 'reserves'],
    ['bytes that are no tensor', { fields: [{ ...floatField('a', [2]), shape: [3] }] }, 'needs 12'],
  ])('%s', async (_what, changes, message) => {
    const path = newPath()
    const writing = writeSessionFile(path, { ...contents, ...changes })
    await expect(writing).rejects.toThrow(RangeError)
    await expect(writing).rejects.toThrow(message)
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('numbers beyond float16, and names the field', async () => {
    for (const x of [65520, -1e6]) {
      const fields = [
        floatField('fine', [2]),
        floatField('layers.3.ssm', [2], Float32Array.of(1, x)),
      ]
      const writing = writeSessionFile(newPath(), { ...contents, fields }, { dtype: 'float16' })
      await expect(writing).rejects.toThrow(RangeError)
      await expect(writing).rejects.toThrow(`field "layers.3.ssm" holds ${x}`)
    }
  })

  it('options that it does not know', async () => {
    const write = (options: object) => writeSessionFile(newPath(), contents, options)
    await expect(write({ dtype: 'bfloat16' })).rejects.toThrow(
      new UnsupportedOptionError(
        `[writeSessionFile] dtype must be 'float32' or 'float16' but is "bfloat16"`,
      ),
    )
    await expect(write({ type: 'float16' })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_OPTION',
    })
  })
})

describe('a file that is there already', () => {
  it('stays as it is when its successor does not fit', async () => {
    const inside = join(folder, 'full')
    await mkdir(inside)
    const path = join(inside, 'a.session')
    await writeSessionFile(path, contents)
    const before = await readFile(path)
    // Files of at most 4096 blocks, of 512 or 1024 bytes: it fails in the second of two tensors or before.
    const { stdout } = spawnSync(
      'sh',
      [
        ...['-c', 'ulimit -f 4096; exec "$@"', 'sh', process.execPath, '--import', 'tsx'],
        ...['test/support/write-session.ts', path, '6'],
      ],
      { cwd: ROOT, encoding: 'utf8' },
    )
    expect(stdout).toBe('EFBIG')
    expect(await readFile(path)).toEqual(before)
    expect(await readdir(inside)).toEqual(['a.session'])
    expect(await readSessionFile(path, expected)).toEqual(contents)
  })

  it('is replaced', async () => {
    const path = await written({ position: 0, consumed: undefined })
    await writeSessionFile(path, contents)
    expect(await readSessionFile(path, expected)).toEqual(contents)
  })
})

describe('readSessionFile refuses', () => {
  it("another model's, and says both", async () => {
    const path = await written({ model: other })
    const error = await refusal(path)
    await expectMismatch(path, 'a session of another model')
    expect(error.message).toContain(`${JSON.stringify(other.description)} (cdcdcdcd)`)
    expect(error.message).toContain(`"${model.description}" (abababab)`)
    // Of the same description, and of other fields: the model is what tells.
    const twin = { ...expected, model: { ...model, hash: `c${model.hash.slice(1)}` }, fields: [] }
    await expectMismatch(await written(), 'another model.*\\(abababab\\).*\\(cbababab\\)', twin)
  })

  it("a newer version's", async () => {
    const path = await changed(({ metadata, tensors }) => {
      metadata.version = '3'
      metadata.pages = '16'
      tensors.set('pages.0.keys', { dtype: 'bfloat16', shape: [1], data: Uint16Array.of(1) })
    })
    await expectMismatch(
      path,
      'a newer version of ssm-metal .*format 3; this version reads 2.*update',
    )
  })

  it('what it does not know', async () => {
    const more = { dtype: 'float32', shape: [1], data: new Float32Array(1) } as const
    const tensor = await changed(({ tensors }) => tensors.set('pages.0.keys', more))
    await expectMismatch(tensor, '"pages.0.keys", which this version of ssm-metal does not know')
    const key = await changed(({ metadata }) => {
      metadata.window = '8'
    })
    await expectMismatch(key, '"window", which this version')
  })

  it.each<[string, (parts: Parts) => void, string | RegExp]>([
    ['version 0', ({ metadata }) => (metadata.version = '0'), 'the version is "0"'],
    ['version 1.0', ({ metadata }) => (metadata.version = '1.0'), 'the version is "1.0"'],
    ['no version', ({ metadata }) => delete metadata.version, 'the version is undefined'],
    ['position -1', ({ metadata }) => (metadata.position = '-1'), 'position .* is "-1"'],
    ['position 1e2', ({ metadata }) => (metadata.position = '1e2'), 'position .* is "1e2"'],
    ['position 03', ({ metadata }) => (metadata.position = '03'), 'position .* is "03"'],
    [
      'a position of 2^32',
      ({ metadata }) => (metadata.position = '4294967296'),
      'position must be',
    ],
    [
      'a position of 400 digits',
      ({ metadata }) => (metadata.position = '9'.repeat(400)),
      'position',
    ],
    ['no position', ({ metadata }) => delete metadata.position, 'position .* is undefined'],
    ['no description', ({ metadata }) => delete metadata.model_description, 'model_description'],
    ['fewer tokens than positions', ({ metadata }) => (metadata.position = '4'), 'shape \\[4\\]'],
    [
      'a field missing',
      ({ tensors }) => tensors.delete('layers.0.ssm'),
      '"layers.0.ssm" is missing',
    ],
    [
      'token ids outside the vocabulary',
      ({ tensors }) => {
        tensors.set('consumed', { dtype: 'uint32', shape: [3], data: Uint32Array.of(1, 100, 2) })
      },
      'token id 100 is outside the vocabulary of 100 tokens',
    ],
    [
      'token ids of another type',
      ({ tensors }) => {
        tensors.set('consumed', { dtype: 'int32', shape: [3], data: new Int32Array(3) })
      },
      '"consumed" must be uint32 but is int32',
    ],
    [
      'a field of another type',
      ({ tensors }) => {
        tensors.set('layers.0.conv', {
          dtype: 'bfloat16',
          shape: [4, 3],
          data: new Uint16Array(12),
        })
      },
      '"layers.0.conv" must be float32 or float16 but is bfloat16',
    ],
    [
      'a field of another shape',
      ({ tensors }) => {
        tensors.set('layers.0.conv', { ...tensors.get('layers.0.conv')!, shape: [3, 4] })
      },
      'must have shape \\[4,3\\] but has shape \\[3,4\\]',
    ],
    [
      'a field of more dimensions',
      ({ tensors }) => {
        tensors.set('layers.0.conv', { ...tensors.get('layers.0.conv')!, shape: [4, 3, 1] })
      },
      'has shape \\[4,3,1\\]',
    ],
  ])('%s', async (_what, change, message) => {
    const path = await changed((parts) => void change(parts))
    await expectCorrupt(path, 'the session file is damaged')
    await expectCorrupt(path, message)
  })

  it('wrong checksums', async () => {
    const path = await written()
    const original = await readFile(path)
    const bytes = Buffer.from(original)
    bytes[bytes.length - 1]! ^= 1
    await writeFile(path, bytes)
    await expectCorrupt(path, /damaged: the data give checksum [0-9a-f]{8} but/)
    // Two tensors of one shape, swapped.
    const header = original.toString('latin1').replace('layers.0.ssm', 'layers.9.ssm')
    const swapped = header
      .replace('layers.1.ssm', 'layers.0.ssm')
      .replace('layers.9.ssm', 'layers.1.ssm')
    await writeFile(path, swapped, 'latin1')
    await expectCorrupt(path, /damaged: the (data|header) give/)
    await writeFile(
      path,
      original.toString('latin1').replace('"position":"3"', '"position":"2"'),
      'latin1',
    )
    await expectCorrupt(path, /damaged: the header gives checksum/)
    await writeFile(path, original.toString('latin1').replace(model.hash, other.hash), 'latin1')
    await expectCorrupt(path, /damaged: the header gives checksum/)
  })

  it('a truncated file, and one with more at its end', async () => {
    const path = await written()
    const bytes = await readFile(path)
    for (const length of [0, 7, 8, 300, bytes.length - 1]) {
      await writeFile(path, bytes.subarray(0, length))
      await expectCorrupt(path, 'no session file, or a damaged one')
    }
    await writeFile(path, Buffer.concat([bytes, Buffer.of(0)]))
    await expectCorrupt(path, 'no session file, or a damaged one.*bytes follow the header')
  })

  it('what is no session file, a folder and no file at all', async () => {
    const weights = join(fixture('rene'), 'model.safetensors')
    await expectCorrupt(weights, 'not a session file: expected "format" "ssm-metal session"')
    const config = join(fixture('rene'), 'config.json')
    await expectCorrupt(config, 'no session file, or a damaged one: header length')
    await expectCorrupt(folder, 'not a regular file')
    const none = join(folder, 'none.session')
    await expectCorrupt(none, 'there is no such session file')
    expect((await refusal(none)).cause).toMatchObject({ code: 'ENOENT' })
  })

  it('a file that claims much, before anything is allocated', async () => {
    const path = newPath()
    const { metadata } = sealed({
      tensors: new Map(),
      metadata: (await readSafetensors(await written())).metadata,
    })
    const count = 2 ** 40
    const consumed = { dtype: 'U32', shape: [count], data_offsets: [0, 4 * count] }
    const text = Buffer.from(JSON.stringify({ __metadata__: metadata, consumed }))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.length))
    await writeFile(path, Buffer.concat([length, text, Buffer.alloc(64)]))
    const before = process.memoryUsage().arrayBuffers
    await expectCorrupt(path, 'reach beyond the 64 bytes')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
  })
})

/** One damage of many kinds to a session file; undefined where it would change nothing. */
function mutated(original: Buffer, random: (below: number) => number): Buffer {
  const headerEnd = 8 + Number(original.readBigUInt64LE())
  const bytes = Buffer.from(original)
  // Half of the damage falls into the header, which is the smaller part in a real file.
  const at = random(random(2) === 0 ? headerEnd : bytes.length)
  const cut = (length: number, insert: Buffer = Buffer.alloc(0)) =>
    Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + length)])
  const withHeader = (text: string) => {
    const header = Buffer.from(text.padEnd(Math.ceil((text.length + 8) / 64) * 64 - 8))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    return Buffer.concat([length, header, bytes.subarray(headerEnd)])
  }
  const header = () => JSON.parse(bytes.toString('utf8', 8, headerEnd))
  switch (random(9)) {
    case 0:
      for (let flips = 1 + random(3); flips > 0; flips--) {
        bytes[(at + random(40)) % bytes.length]! ^= 1 << random(8)
      }
      return bytes
    case 1:
      return bytes.subarray(0, at)
    case 2:
      return cut(0, Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256))))
    case 3:
      return cut(1 + random(8))
    case 4:
      // A piece of the file over another.
      bytes.copy(bytes, at, random(bytes.length), random(bytes.length))
      return bytes
    case 5: {
      // The values of two keys of the metadata, swapped.
      const changed = header()
      const keys = Object.keys(changed.__metadata__)
      const [a, b] = [keys[random(keys.length)]!, keys[random(keys.length)]!]
      const values = changed.__metadata__
      ;[values[a], values[b]] = [values[b], values[a]]
      return withHeader(JSON.stringify(changed))
    }
    case 6: {
      // The entries of two tensors, swapped, so that each has the other's place.
      const { __metadata__, ...tensors } = header()
      const names = Object.keys(tensors)
      const [a, b] = [names[random(names.length)]!, names[random(names.length)]!]
      ;[tensors[a], tensors[b]] = [tensors[b], tensors[a]]
      return withHeader(JSON.stringify({ __metadata__, ...tensors }))
    }
    case 7: {
      // Another length, somewhere.
      const text = bytes.toString('latin1', 8, headerEnd)
      const numbers = [...text.matchAll(/\d+/g)]
      const { 0: number, index } = numbers[random(numbers.length)]!
      const other = String(
        [0, 1, Number(number) + 1, Number(number) * 4, 2 ** 53, 2 ** 32][random(6)],
      )
      return withHeader(text.slice(0, index) + other + text.slice(index + number.length))
    }
    default:
      // The header as others would write it: the same session.
      return withHeader(
        JSON.stringify(Object.fromEntries(Object.entries(header()).reverse()), null, random(3)),
      )
  }
}

describe('2000 damaged files', () => {
  it('are refused or load to the same contents', async () => {
    const original = await readFile(await written())
    const random = seededIntegers(13)
    const path = newPath()
    // One file changed in place: some file systems flush a file that is truncated and written anew.
    const handle: FileHandle = await open(path, 'w')
    let loaded = 0
    let untouched = 0
    try {
      for (let index = 0; index < 2000; index++) {
        const bytes = mutated(original, random)
        if (bytes.equals(original)) untouched++
        await handle.write(bytes, 0, bytes.length, 0)
        await handle.truncate(bytes.length)
        try {
          expect(await readSessionFile(path, expected), `case ${index}`).toEqual(contents)
          loaded++
        } catch (error) {
          const isRefusal =
            error instanceof CorruptFileError || error instanceof SessionMismatchError
          if (!isRefusal) throw new Error(`case ${index}: ${error}`, { cause: error })
          expect(error.message.startsWith(`${path}: `)).toBe(true)
          expect(error.message.length).toBeLessThan(2000)
        }
      }
    } finally {
      await handle.close()
    }
    expect(untouched).toBeLessThan(300)
    expect(loaded - untouched).toBeGreaterThan(100)
    expect(loaded).toBeLessThan(600)
  })
})
