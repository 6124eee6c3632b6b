import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import { readPytorchCheckpoint } from '../../lib/weights/pytorch.js'
import {
  makePytorchCheckpoint,
  op,
  pickle,
  pickledStateDict,
  pickledTensor,
} from '../support/pytorch-writer.js'
import { makeZip } from '../support/zip-writer.js'

const fixture = join(
  import.meta.dirname,
  '../fixtures/reference/mamba2-state-spaces/pytorch_model.bin',
)
let folder: string
let path: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pickle-'))
  path = join(folder, 'pytorch_model.bin')
})
afterAll(() => rm(folder, { recursive: true }))

async function read(bytes: Uint8Array) {
  await writeFile(path, bytes)
  return readPytorchCheckpoint(path)
}

async function expectRefused(bytes: Uint8Array, message: string | RegExp): Promise<void> {
  const error = await read(bytes).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(CorruptFileError)
  expect((error as Error).message.startsWith(`${path}: `)).toBe(true)
  if (typeof message === 'string') expect((error as Error).message).toContain(message)
  else expect((error as Error).message).toMatch(message)
}

/** A checkpoint of this pickle body, with a storage "0" of 24 bytes. */
const checkpoint = (body: Buffer, protocol = 2) =>
  makePytorchCheckpoint(pickle(body, protocol), { '0': new Uint8Array(24) })

/** Six float32, of which a test changes something. */
const six = { storageClass: 'FloatStorage', key: '0', numel: 6, shape: [2, 3], strides: [3, 1] }
const sixWith = (changes: Partial<Parameters<typeof pickledTensor>[0]>) =>
  checkpoint(pickledStateDict({ x: { ...six, ...changes } }))

describe('readPytorchCheckpoint', () => {
  it('reads the checkpoint that torch.save wrote', async () => {
    const { tensors } = await readPytorchCheckpoint(fixture)
    expect(tensors.size).toBe(39)
    const embedding = tensors.get('backbone.embedding.weight')!
    expect(embedding).toEqual({
      name: 'backbone.embedding.weight',
      dtype: 'float32',
      shape: [256, 64],
      file: fixture,
      // The first storage follows four small entries, at a multiple of 64.
      byteOffset: 4352,
      byteLength: 65536,
    })
    // Tied weights: another name, the same bytes.
    const head = tensors.get('lm_head.weight')!
    expect(head).toEqual({ ...embedding, name: 'lm_head.weight' })
    // A_log of Mamba-2 is the logarithm of 1 to 16, so wrong positions would show.
    const aLog = tensors.get('backbone.layers.0.mixer.A_log')!
    const bytes = await readFile(fixture)
    for (let at = 0; at < aLog.byteLength; at += 4) {
      const value = Math.exp(bytes.readFloatLE(aLog.byteOffset + at))
      expect(value).toBeGreaterThan(0.5)
      expect(value).toBeLessThan(32)
    }
  })

  it('reads every dtype', async () => {
    const classes: [string, string, number][] = [
      ['FloatStorage', 'float32', 4],
      ['HalfStorage', 'float16', 2],
      ['BFloat16Storage', 'bfloat16', 2],
      ['DoubleStorage', 'float64', 8],
      ['LongStorage', 'int64', 8],
      ['IntStorage', 'int32', 4],
      ['ShortStorage', 'int16', 2],
      ['CharStorage', 'int8', 1],
      ['ByteStorage', 'uint8', 1],
      ['BoolStorage', 'bool', 1],
    ]
    const state = Object.fromEntries(
      classes.map(([storageClass, dtype]) => [
        dtype,
        { storageClass, key: dtype, numel: 3, offset: 1, shape: [2], strides: [1] },
      ]),
    )
    const storages = Object.fromEntries(
      classes.map(([, dtype, size]) => [dtype, new Uint8Array(3 * size).fill(size)]),
    )
    const { tensors } = await read(makePytorchCheckpoint(pickle(pickledStateDict(state)), storages))
    const bytes = await readFile(path)
    for (const [, dtype, size] of classes) {
      const entry = tensors.get(dtype)!
      expect(entry).toMatchObject({ dtype, shape: [2], byteLength: 2 * size })
      // One element before, two of the tensor, then something else.
      const around = bytes.subarray(entry.byteOffset - size, entry.byteOffset + 2 * size)
      expect([...around]).toEqual(new Array(3 * size).fill(size))
      expect(bytes.readUInt32LE(entry.byteOffset + 2 * size)).toBe(0x08074b50)
    }
  })

  it('gives strides where a tensor is not contiguous, and the span they reach', async () => {
    const tensor = (shape: number[], strides: number[], offset = 0) => ({
      ...six,
      shape,
      strides,
      offset,
    })
    const { tensors } = await read(
      checkpoint(
        pickledStateDict({
          transposed: tensor([3, 2], [1, 3]),
          column: tensor([2], [3], 1),
          ones: tensor([1, 6, 1], [99, 1, 7]),
          scalar: tensor([], [], 5),
          empty: tensor([0, 3], [99, 5], 6),
        }),
      ),
    )
    const start = tensors.get('transposed')!.byteOffset
    expect(tensors.get('transposed')).toMatchObject({ strides: [1, 3], byteLength: 24 })
    expect(tensors.get('column')).toMatchObject({
      strides: [3],
      byteOffset: start + 4,
      byteLength: 16,
    })
    expect(tensors.get('ones')).not.toHaveProperty('strides')
    expect(tensors.get('scalar')).toMatchObject({
      shape: [],
      byteOffset: start + 20,
      byteLength: 4,
    })
    expect(tensors.get('empty')).toMatchObject({ byteOffset: start + 24, byteLength: 0 })
  })

  it('reads an OrderedDict with _metadata, as state_dict() gives it', async () => {
    const metadata = op.dict(op.string('_metadata'), op.orderedDict())
    const items = pickledStateDict({ w: six }).subarray(1)
    const { tensors } = await read(
      checkpoint(Buffer.concat([op.orderedDict(), items, metadata, Buffer.from('b')])),
    )
    expect([...tensors.keys()]).toEqual(['w'])
  })

  it('reads parameters, with attributes or without', async () => {
    const parameter = (name: string, ...rest: Buffer[]) =>
      op.call(
        op.global('torch._utils', name),
        pickledTensor(six),
        op.bool(true),
        op.orderedDict(),
        ...rest,
      )
    const attributes = op.dict(op.string('_no_weight_decay'), op.bool(true))
    const { tensors } = await read(
      checkpoint(
        op.dict(
          op.string('plain'),
          parameter('_rebuild_parameter'),
          op.string('A_log'),
          parameter('_rebuild_parameter_with_state', attributes),
        ),
      ),
    )
    expect([...tensors.keys()]).toEqual(['plain', 'A_log'])
  })

  it('ignores numbers, strings and None, and reads under state_dict', async () => {
    const scalars = [
      ...[op.string('none'), op.none(), op.string('epoch'), op.int(-70000)],
      ...[op.string('big'), op.int(2n ** 62n), op.string('lr'), op.float(1e-3)],
      ...[op.string('text'), op.string('x'), op.string('flag'), op.bool(false)],
    ]
    const tensor = [op.string('w'), pickledTensor(six)]
    const flat = await read(checkpoint(op.dict(...scalars, ...tensor)))
    expect([...flat.tensors.keys()]).toEqual(['w'])
    const optimizer = [op.string('optimizer'), op.dict(op.int(0), op.list(op.int(1)))]
    const nested = op.dict(...optimizer, op.string('state_dict'), op.dict(...tensor), ...scalars)
    expect([...(await read(checkpoint(nested))).tensors.keys()]).toEqual(['w'])
  })

  it('reads protocol 4: frames, short strings, MEMOIZE, STACK_GLOBAL', async () => {
    const short = (text: string) => Buffer.concat([Buffer.of(0x8c, text.length), Buffer.from(text)])
    const memoize = Buffer.of(0x94)
    const stackGlobal = (module: string, name: string) =>
      Buffer.concat([short(module), memoize, short(name), memoize, Buffer.of(0x93)])
    const orderedDict = Buffer.concat([
      stackGlobal('collections', 'OrderedDict'),
      Buffer.from(')R'),
    ])
    const id = op.tuple(
      short('storage'),
      stackGlobal('torch', 'FloatStorage'),
      short('0'),
      short('cpu'),
      op.int(6),
    )
    const tensor = op.call(
      stackGlobal('torch._utils', '_rebuild_tensor_v2'),
      op.persistent(id),
      op.int(0),
      Buffer.concat([op.int(6), Buffer.of(0x85)]),
      Buffer.concat([op.int(1), Buffer.of(0x85)]),
      op.bool(false),
      orderedDict,
    )
    const body = Buffer.concat([Buffer.from('}'), memoize, short('w'), tensor, Buffer.from('s')])
    const frame = Buffer.alloc(9)
    frame[0] = 0x95
    frame.writeBigUInt64LE(BigInt(body.length + 1), 1)
    const { tensors } = await read(checkpoint(Buffer.concat([frame, body]), 4))
    expect(tensors.get('w')).toMatchObject({ shape: [6], byteLength: 24 })
  })

  it('keeps names such as __proto__ harmless', async () => {
    const { tensors } = await read(checkpoint(pickledStateDict({ ['__proto__']: six })))
    expect([...tensors.keys()]).toEqual(['__proto__'])
  })
})

describe('hostile pickles', () => {
  const marker = 'nothing in it was executed'
  const command = op.string('touch owned')

  it.each<[string, Buffer, string]>([
    ['os.system', op.call(op.global('os', 'system'), command), '"os.system"'],
    ['posix.system', op.call(op.global('posix', 'system'), command), '"posix.system"'],
    ['builtins.eval', op.call(op.global('builtins', 'eval'), command), '"builtins.eval"'],
    ['__builtin__.exec', op.call(op.global('__builtin__', 'exec'), command), '"__builtin__.exec"'],
    ['a function of torch', op.global('torch', 'load'), '"torch.load"'],
    ['the hub of torch', op.global('torch.hub', 'load'), '"torch.hub.load"'],
    ['codecs', op.global('_codecs', 'encode'), '"_codecs.encode"'],
    ['getattr', op.global('builtins', 'getattr'), '"builtins.getattr"'],
    ['a lookalike', op.global('torch._utils', '_rebuild_tensor_v2.x'), '_rebuild_tensor_v2.x"'],
    ['__proto__', op.global('__proto__', 'constructor'), '"__proto__.constructor"'],
    ['a terminal escape', op.global('os\x1b[2J', 'system'), '"os\\u001b[2J.system"'],
  ])('refuses %s by its name', async (_what, value, name) => {
    for (const body of [
      value,
      op.dict(op.string('x'), value),
      op.dict(op.string('x'), op.list(op.tuple(op.dict(op.string('y'), value)))),
      Buffer.concat([value, Buffer.from('0}')]),
    ]) {
      await expectRefused(checkpoint(body), name)
      await expectRefused(checkpoint(body), marker)
    }
  })

  it('refuses STACK_GLOBAL of what GLOBAL may not name', async () => {
    const stackGlobal = Buffer.concat([op.string('os'), op.string('system'), Buffer.of(0x93)])
    await expectRefused(checkpoint(op.call(stackGlobal, command), 4), '"os.system"')
    const numbers = Buffer.concat([op.int(1), op.int(2), Buffer.of(0x93)])
    await expectRefused(checkpoint(numbers, 4), 'needs two strings')
  })

  it.each<[string, Buffer]>([
    ['INST', Buffer.from('(ios\nsystem\n')],
    [
      'OBJ',
      Buffer.concat([Buffer.from('('), op.global('torch', 'FloatStorage'), Buffer.from('o')]),
    ],
    ['NEWOBJ', Buffer.concat([op.global('torch', 'FloatStorage'), Buffer.of(0x29, 0x81)])],
    [
      'NEWOBJ_EX',
      Buffer.concat([op.global('torch', 'FloatStorage'), Buffer.from(')}\x92', 'latin1')]),
    ],
    ['EXT1', Buffer.of(0x82, 1)],
    ['EXT2', Buffer.of(0x83, 1, 0)],
    ['EXT4', Buffer.of(0x84, 1, 0, 0, 0)],
    ['PERSID', Buffer.from('Pos.system\n')],
    ['STRING (protocol 0)', Buffer.from("S'a'\n")],
    ['an unknown instruction (0xff)', Buffer.of(0xff)],
  ])('refuses the instruction %s', async (name, body) => {
    await expectRefused(checkpoint(body, 4), `uses ${name}, which`)
  })

  it('lets nothing be called but what rebuilds a tensor', async () => {
    const call = (callee: Buffer, args: Buffer) => Buffer.concat([callee, args, Buffer.from('R')])
    await expectRefused(
      checkpoint(op.call(op.global('torch', 'FloatStorage'), op.int(1))),
      'a call of "torch.FloatStorage"',
    )
    await expectRefused(checkpoint(op.call(op.string('os.system'), command)), 'name of a function')
    await expectRefused(checkpoint(op.call(op.orderedDict(), command)), 'but has a dict')
    await expectRefused(
      checkpoint(op.call(op.global('collections', 'OrderedDict'), command)),
      'must be called without arguments',
    )
    await expectRefused(
      checkpoint(call(op.global('collections', 'OrderedDict'), op.int(1))),
      'REDUCE at byte 29: needs a tuple but has the number 1',
    )
  })

  it('sets attributes of nothing but a dict', async () => {
    const build = (...parts: Buffer[]) => checkpoint(Buffer.concat([...parts, Buffer.from('b')]))
    const state = op.dict(op.string('__setstate__'), command)
    await expectRefused(build(pickledTensor(six), state), 'attributes of a call of torch._utils')
    await expectRefused(build(op.global('torch', 'FloatStorage'), state), marker)
    await expectRefused(build(op.orderedDict(), op.list()), 'set from a list')
  })
})

describe('damaged pickles', () => {
  it.each<[string, Buffer, RegExp]>([
    ['an empty pickle', Buffer.alloc(0), /PROTO at byte 0/],
    ['no PROTO', Buffer.from('}.'), /protocol 2 to 5/],
    ['protocol 1', Buffer.of(0x80, 1, 0x7d, 0x2e), /expected protocol 2 to 5 but got 1/],
    ['protocol 6', Buffer.of(0x80, 6, 0x7d, 0x2e), /but got 6/],
    ['no STOP', Buffer.of(0x80, 2, 0x7d), /instruction at byte 3: needs 1 bytes but 0 are left/],
    ['nothing on the stack', pickle(Buffer.alloc(0)), /STOP at byte 2: needs a value/],
    ['two values', pickle(Buffer.from('}}')), /STOP .*1 values are left over/],
    ['an open MARK', pickle(Buffer.from('(}')), /STOP .*0 values are left over/],
    ['bytes after STOP', Buffer.concat([pickle(Buffer.from('}')), Buffer.of(0)]), /1 bytes follow/],
    ['POP of nothing', pickle(Buffer.from('0')), /POP at byte 2: needs a value/],
    ['POP through a MARK', pickle(Buffer.from('N(0')), /POP at byte 4: needs a value/],
    ['TUPLE2 of one', pickle(Buffer.from('N\x86', 'latin1')), /TUPLE2 .*needs a value/],
    ['TUPLE without MARK', pickle(Buffer.from('t')), /TUPLE .*needs a MARK/],
    ['SETITEMS on a list', pickle(Buffer.from('](NNu')), /SETITEMS .*needs a dict but has a list/],
    ['SETITEMS of three', pickle(Buffer.from('}(NNNu')), /a key has no value/],
    ['APPEND to a dict', pickle(Buffer.from('}Na')), /APPEND .*needs a list but has a dict/],
    ['a missing memo', pickle(op.get(7)), /BINGET .*nothing was stored under 7/],
    ['BINPUT of nothing', pickle(op.put(0)), /BINPUT .*needs a value/],
    [
      'a huge memo index',
      pickle(Buffer.from('}r\xff\xff\xff\xff0j\xfe\xff\xff\xff', 'latin1')),
      /nothing was stored under 4294967294/,
    ],
    [
      'a string beyond the end',
      pickle(Buffer.from('X\xff\xff\xff\xffab', 'latin1')),
      /BINUNICODE .*needs 4294967295 bytes but 3 are left/,
    ],
    [
      'a string of 2^60 bytes',
      pickle(Buffer.from('\x8d\0\0\0\0\0\0\0\x10', 'latin1'), 4),
      /BINUNICODE8 .*needs 115292150460684\d+ bytes/,
    ],
    ['bytes of 2^64 - 1', pickle(Buffer.from(`\x8e${'\xff'.repeat(8)}`, 'latin1'), 4), /BINBYTES8/],
    ['bad UTF-8', pickle(Buffer.from('X\x01\0\0\0\xff', 'latin1')), /not valid UTF-8/],
    [
      'a name that does not end',
      pickle(Buffer.from(`c${'a'.repeat(5000)}`)),
      /GLOBAL .*does not end/,
    ],
    ['a LONG1 beyond the end', pickle(Buffer.of(0x8a, 200)), /LONG1 .*needs 200/],
    ['many MARKs', pickle(Buffer.from('('.repeat(1e6))), /more than 100 open marks/],
    ['many instructions', pickle(Buffer.from('}0'.repeat(1_500_000))), /more than 2000000 instr/],
  ])('refuses %s', async (_what, bytes, message) => {
    await expectRefused(makePytorchCheckpoint(bytes), message)
  })

  it('survives a dict that contains itself', async () => {
    const self = Buffer.concat([Buffer.from('}'), op.put(0), op.string('state_dict'), op.get(0)])
    await expectRefused(
      checkpoint(Buffer.concat([self, Buffer.from('s')])),
      'tensor "state_dict": expected a tensor but got a dict',
    )
  })
})

describe('tensors that do not fit', () => {
  it.each<[string, Partial<Parameters<typeof pickledTensor>[0]>, string]>([
    ['a storage that is not there', { key: '1' }, 'storage data/"1" is not in the archive'],
    ['a key that leads elsewhere', { key: '../version' }, 'is not in the archive'],
    [
      'too many elements in the storage',
      { numel: 7 },
      'tensor "x": its storage "model/data/0" has 24 bytes but 7 elements of float32 need 28',
    ],
    ['too few', { numel: 5 }, 'has 24 bytes but 5 elements'],
    ['another element size', { storageClass: 'DoubleStorage' }, '6 elements of float64 need 48'],
    ['a negative count', { numel: -6 }, 'expected a number of elements'],
    ['a count beyond 2^53', { numel: 2n ** 62n }, 'elements of its storage but got the bigint'],
    [
      'a tensor beyond its storage',
      { shape: [7], strides: [1] },
      'has 7 elements but its storage 6',
    ],
    [
      'an offset beyond it',
      { offset: 1 },
      'storage_offset 1, size [2,3] and stride [3,1] reach' + ' element 7 but its storage has 6',
    ],
    ['strides beyond it', { strides: [4, 1] }, 'reach element 7'],
    ['a negative offset', { offset: -1 }, 'storage_offset must be'],
    ['a huge offset', { offset: 2n ** 53n - 1n }, 'reach element'],
    ['an empty tensor beyond it', { shape: [0], strides: [1], offset: 7 }, 'reach element 7'],
    ['a negative dimension', { shape: [-2, 3] }, 'size must be a tuple'],
    ['a negative stride', { strides: [-3, 1] }, 'stride must be a tuple'],
    ['a dimension beyond 2^53', { shape: [2n ** 60n, 3] }, 'size must be a tuple'],
    ['a product beyond 2^53', { shape: [2n ** 40n, 2n ** 40n] }, 'too many elements'],
    [
      'a product beside a zero',
      { shape: [2n ** 40n, 2n ** 40n, 0], strides: [1, 1, 1] },
      'too many',
    ],
    ['huge strides', { strides: [2n ** 53n - 1n, 2n ** 53n - 1n] }, 'reach element'],
    ['an expanded tensor', { shape: [2 ** 30], strides: [0] }, 'save tensor.contiguous() instead'],
    ['fewer strides than dimensions', { strides: [1] }, '2 dimensions but stride has 1'],
  ])('refuses %s', async (_what, changes, message) => {
    await expectRefused(sixWith(changes), `${path}: tensor "x": `)
    await expectRefused(sixWith(changes), message)
  })

  it('refuses malformed calls and ids', async () => {
    const rebuild = op.global('torch._utils', '_rebuild_tensor_v2')
    const x = (value: Buffer) => checkpoint(op.dict(op.string('x'), value))
    await expectRefused(x(op.call(rebuild)), 'takes 6 or 7 arguments but has 0')
    const rest = [op.int(0), op.tuple(), op.tuple(), op.bool(false), op.orderedDict()]
    const withStorage = (storage: Buffer, ...more: Buffer[]) =>
      x(op.call(rebuild, storage, ...rest, ...more))
    await expectRefused(withStorage(op.int(1)), 'expected a storage of five parts')
    await expectRefused(withStorage(op.persistent(op.string('0'))), 'a storage of five parts')
    const id = (tag: Buffer, storageClass: Buffer, key: Buffer) =>
      op.persistent(op.tuple(tag, storageClass, key, op.string('cpu'), op.int(6)))
    const float = op.global('torch', 'FloatStorage')
    await expectRefused(
      withStorage(id(op.string('module'), float, op.string('0'))),
      'persistent id',
    )
    await expectRefused(
      withStorage(id(op.string('storage'), op.none(), op.string('0'))),
      'class of',
    )
    await expectRefused(withStorage(id(op.string('storage'), rebuild, op.string('0'))), 'class of')
    await expectRefused(
      withStorage(id(op.string('storage'), float, op.int(0))),
      'a string as the key',
    )
    const good = id(op.string('storage'), float, op.string('0'))
    await expect(read(withStorage(good, op.none()))).resolves.toBeDefined()
    const negative = op.dict(op.string('neg'), op.bool(true))
    await expectRefused(withStorage(good, negative), 'conjugate or negative view')
    const parameter = op.global('torch._utils', '_rebuild_parameter')
    await expectRefused(x(op.call(parameter)), 'expected a tensor but got nothing')
    await expectRefused(x(op.call(parameter, op.call(parameter, good))), 'expected a tensor')
  })

  it('refuses what is not a flat dict of tensors', async () => {
    await expectRefused(checkpoint(pickledTensor(six)), 'expected a dict of tensors by name')
    await expectRefused(checkpoint(op.list(pickledTensor(six))), 'but got a list')
    const tensors = pickledStateDict({ w: six })
    await expectRefused(
      checkpoint(op.dict(op.string('model'), tensors)),
      'tensor "model": expected a tensor but got a dict; the checkpoint must be a flat dict',
    )
    await expectRefused(checkpoint(op.dict(op.int(3), pickledTensor(six))), 'got the number 3')
    const twice = op.dict(op.string('w'), pickledTensor(six), op.string('w'), pickledTensor(six))
    await expectRefused(checkpoint(twice), 'tensor "w": comes twice')
  })
})

describe('the archive around the pickle', () => {
  const body = pickle(pickledStateDict({ x: six }))
  const storages = { '0': Uint8Array.from({ length: 24 }, (_, index) => index) }
  const text = (value: string) => new TextEncoder().encode(value)

  it.each([
    { sizes: 'header' },
    { sizes: 'descriptor' },
    { sizes: 'descriptor64', zip64: true },
    { sizes: 'header', zip64: true },
    { comment: 'a comment with PK\x05\x06 in it, as long as it likes to be' },
  ] as const)('reads archives with %j', async (options) => {
    const { tensors } = await read(makePytorchCheckpoint(body, storages, options))
    const { byteOffset, byteLength } = tensors.get('x')!
    expect((await readFile(path)).subarray(byteOffset, byteOffset + byteLength)).toEqual(
      Buffer.from(storages['0']),
    )
  })

  it('accepts little-endian files only', async () => {
    const order = (value: string) =>
      makePytorchCheckpoint(body, storages, {
        extra: [{ name: 'model/byteorder', data: text(value) }],
      })
    await expect(read(order('little'))).resolves.toBeDefined()
    await expectRefused(order('big'), 'byteorder must be little but is "big"')
    await expectRefused(order('little'.repeat(10)), 'at most 16 are read')
  })

  it.each<[string, Parameters<typeof makePytorchCheckpoint>[2], string]>([
    [
      'a compressed entry',
      { extra: [{ name: 'model/x', data: text(''), method: 8 }] },
      'zip entry "model/x": is compressed (method 8) but must be stored',
    ],
    [
      'an encrypted entry',
      { extra: [{ name: 'model/x', data: text(''), flags: 1 }] },
      'is encrypted',
    ],
    [
      'a name with ..',
      { extra: [{ name: 'model/../../x', data: text('') }] },
      'leads out of the arch',
    ],
    ['an absolute name', { extra: [{ name: '/etc/passwd', data: text('') }] }, 'leads out of'],
    ['a backslash', { extra: [{ name: 'model\\..\\x', data: text('') }] }, 'leads out of'],
    ['a name twice', { extra: [{ name: 'model/data/0', data: text('') }] }, 'comes twice'],
    [
      'another local name',
      { extra: [{ name: 'model/x', localName: 'model/y', data: text('') }] },
      'has another name in its header',
    ],
    [
      'entries in one place',
      { extra: [{ name: 'model/data.pkx', localHeader: 0, data: text('') }] },
      'overlaps the entry before it',
    ],
    [
      'an entry that claims 4 GB',
      { extra: [{ name: 'model/x', data: text(''), size: 0xfffffffe }] },
      'but the data ends at byte',
    ],
    [
      'an entry that claims 2^60 bytes',
      {
        zip64: true,
        sizes: 'descriptor64',
        extra: [{ name: 'model/x', data: text(''), size: 2 ** 60 }],
      },
      'but the data ends at byte',
    ],
    [
      'a header beyond the data',
      { extra: [{ name: 'model/x', localHeader: 1e6, data: text('') }] },
      'lies beyond the data',
    ],
    [
      'a header that is none',
      { extra: [{ name: 'model/x', localHeader: 2, data: text('') }] },
      'overlaps the entry before it',
    ],
    [
      'a size that is too small',
      { extra: [{ name: 'model/x', data: text('abc'), size: 1 }] },
      'another size or CRC after its data',
    ],
    ['two pickles', { extra: [{ name: 'other/data.pkl', data: body }] }, 'but found 2'],
    [
      'a TorchScript program',
      { extra: [{ name: 'model/constants.pkl', data: body }] },
      'TorchScript',
    ],
  ])('refuses %s', async (_what, options, message) => {
    await expectRefused(makePytorchCheckpoint(body, storages, options), message)
  })

  it('checks the CRC of the pickle', async () => {
    const bytes = makePytorchCheckpoint(body, storages)
    bytes[bytes.indexOf('_rebuild')] = 0x2d
    await expectRefused(bytes, /zip entry "model\/data.pkl": expected CRC 0x.* but its bytes give/)
  })

  it('checks the header before each entry', async () => {
    const at = (offset: number) => {
      const bytes = makePytorchCheckpoint(body, storages, { sizes: 'header' })
      bytes[offset]! ^= 1
      return bytes
    }
    await expectRefused(at(0), 'zip entry "model/data.pkl": has no header at byte 0')
    await expectRefused(at(6), 'other flags or another method')
    await expectRefused(at(8), 'other flags or another method')
    await expectRefused(at(14), 'another size or CRC in its header')
    await expectRefused(at(18), 'another size or CRC in its header')
    await expectRefused(at(22), 'another size or CRC in its header')
    await expectRefused(at(26), 'another name')
    await expectRefused(at(30), 'another name')
  })

  it('refuses a pickle too long to be one', async () => {
    const data = Buffer.alloc(64 * 1024 * 1024 + 1)
    await expectRefused(makePytorchCheckpoint(data), 'but at most 67108864 are read')
  })

  it('refuses archives without a pickle, or cut off', async () => {
    await expectRefused(makeZip([{ name: 'a', data: text('b') }]), 'data.pkl but found 0')
    const bytes = makePytorchCheckpoint(body, storages)
    await expectRefused(bytes.subarray(0, -1), 'its end record is missing')
    await expectRefused(
      bytes.subarray(100),
      /pytorch_model\.bin: zip end record: the directory should/,
    )
    await expectRefused(Buffer.concat([bytes, bytes.subarray(0, 50)]), 'its end record is missing')
    await expectRefused(Buffer.alloc(0), 'its end record is missing')
    await expectRefused(text('version https://git-lfs.github.com/spec/v1'), 'git lfs pull')
  })

  it('refuses directories that claim more than there is', async () => {
    const patched = (at: number, value: number, bytes = 4) => {
      const archive = makePytorchCheckpoint(body, storages)
      archive.writeUIntLE(value, archive.length - 22 + at, bytes)
      return archive
    }
    await expectRefused(patched(12, 0xfffffff0), 'the directory should take bytes')
    await expectRefused(patched(16, 0xfffffff0), 'the directory should take bytes')
    await expectRefused(patched(8, 0xfffefffe), '65534 entries cannot be in a directory')
    await expectRefused(patched(8, 0x00020002), 'entries take')
    await expectRefused(patched(4, 1, 2), 'several parts')
    await expectRefused(patched(16, 0), 'no directory signature')
    const archive = makePytorchCheckpoint(body, storages, { zip64: true })
    archive.writeBigUInt64LE(2n ** 62n, archive.length - 22 - 20 + 8)
    await expectRefused(archive, 'ZIP64 end record: should lie at byte 46116860184273')
  })

  it('tells how to convert files of old PyTorch', async () => {
    const legacy = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')
    await expectRefused(legacy, 'save it again with torch.save of PyTorch 1.6 or later')
  })
})
