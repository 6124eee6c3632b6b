// Damages real and made checkpoints at random, always in the same way. A reader must either refuse
// with CorruptFileError or give tensors that lie inside the file: never another error, never a hang,
// never memory for what a file merely claims to hold.

import { type FileHandle, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import { type CheckpointFile, bitsPerElement } from '../../lib/weights/checkpoint.js'
import { parseConfigJson } from '../../lib/support/json.js'
import { readPytorchCheckpoint } from '../../lib/weights/pytorch.js'
import { readSafetensors } from '../../lib/weights/safetensors.js'
import { readSafetensorsIndex } from '../../lib/weights/shards.js'
import {
  makePytorchCheckpoint,
  op,
  pickle,
  pickledStateDict,
  pickledTensor,
} from '../support/pytorch-writer.js'
import { seededIntegers } from './random.js'

const reference = join(import.meta.dirname, '../fixtures/reference')
const MEBIBYTE = 2 ** 20
let folder: string
let path: string
let handle: FileHandle

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fuzz-'))
  path = join(folder, 'damaged.bin')
  handle = await open(path, 'w')
})
afterAll(async () => {
  await handle.close()
  await rm(folder, { recursive: true })
})

type Random = (below: number) => number

const INTERESTING = [0n, 1n, 0x7fn, 0xffn, 0xffffn, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 60n]
const INTERESTING_TEXT = ['-1', '0', '1e3', '1.5', '9007199254740992', '1152921504606846976', '[]']

/** A damaged copy; damage falls into the bytes from `begin` to `end`, where the structure is. */
function damage(original: Buffer, begin: number, end: number, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(original)
  for (let count = 1 + random(3); count > 0; count--) {
    const at = Math.min(begin + random(end - begin), bytes.length - 1)
    switch (random(7)) {
      case 0:
        bytes[at]! ^= 1 << random(8)
        break
      case 1:
        bytes[at] = random(256)
        break
      case 2: {
        const width = [1, 2, 4, 8][random(4)]!
        const value = BigInt.asUintN(8 * width, INTERESTING[random(INTERESTING.length)]!)
        const field = Buffer.alloc(8)
        field.writeBigUInt64LE(value)
        field.copy(bytes, at, 0, width)
        break
      }
      case 3:
        if (random(4) === 0) bytes = bytes.subarray(0, random(bytes.length) + 1)
        break
      case 4: {
        // A piece of the structure copied over another, moving what follows.
        const from = begin + random(end - begin)
        const piece = Buffer.from(bytes.subarray(from, Math.min(from + random(64), end)))
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + random(64))])
        break
      }
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(16))])
        break
      default:
        bytes = editNumber(bytes, at, end, random)
    }
    if (bytes.length === 0) return Buffer.of(0)
  }
  return bytes
}

/** Replaces the next decimal number in the text from `at` on. */
function editNumber(bytes: Buffer, at: number, end: number, random: Random): Buffer {
  let start = at
  while (start < Math.min(end, bytes.length) && !isDigit(bytes[start]!)) start++
  let stop = start
  while (stop < bytes.length && isDigit(bytes[stop]!)) stop++
  if (stop === start) return bytes
  const text = INTERESTING_TEXT[random(INTERESTING_TEXT.length)]!
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(text), bytes.subarray(stop)])
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

type Reader = (path: string) => Promise<CheckpointFile>

/** Whether the reader accepted the bytes. Fails the test on anything but a refusal or sound entries. */
async function accepts(read: Reader, bytes: Buffer, what: string): Promise<boolean> {
  // One file changed in place: some file systems flush a file that is truncated and written anew.
  await handle.write(bytes, 0, bytes.length, 0)
  await handle.truncate(bytes.length)
  let checkpoint: CheckpointFile
  try {
    checkpoint = await read(path)
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw new Error(`${what}: ${error}`, { cause: error })
    expect(error.message.startsWith(path), `${what}: ${error.message}`).toBe(true)
    expect(error.message.length, what).toBeLessThan(2000)
    return false
  }
  for (const [name, entry] of checkpoint.tensors) {
    const { dtype, shape, strides, byteOffset, byteLength } = entry
    const count = shape.reduce((product, dim) => product * dim, 1)
    const steps = shape.reduce((sum, dim, axis) => sum + (dim - 1) * (strides?.[axis] ?? 0), 0)
    const span = strides ? 1 + steps : count
    const sound =
      entry.name === name &&
      [byteOffset, byteLength, ...shape, ...(strides ?? [])].every(
        (number) => Number.isSafeInteger(number) && number >= 0,
      ) &&
      byteOffset + byteLength <= bytes.length &&
      // Of a type that is not known here nobody can say how many bytes it should have.
      (dtype.startsWith('"') || span * bitsPerElement(dtype) === byteLength * 8)
    if (!sound) throw new Error(`${what}: unsound ${JSON.stringify(entry)}`)
  }
  return true
}

/** Runs `cases` damaged copies through the reader; some must be refused, or the damage is idle. */
async function fuzz(
  read: Reader,
  cases: number,
  seed: number,
  make: (random: Random) => Buffer,
): Promise<{ accepted: number; refused: number }> {
  const random = seededIntegers(seed)
  const memory = process.memoryUsage.rss()
  let accepted = 0
  for (let index = 0; index < cases; index++) {
    if (await accepts(read, make(random), `seed ${seed}, case ${index}`)) accepted++
  }
  // Claims run to 2^60 bytes; honest work on these files needs a few mebibytes and some garbage.
  expect(process.memoryUsage.rss() - memory).toBeLessThan(400 * MEBIBYTE)
  return { accepted, refused: cases - accepted }
}

describe('safetensors', () => {
  it.each([
    ['ops/conv1d_silu.safetensors', 1500],
    ['ops/ssd_scan.safetensors', 500],
    ['edge-mlx-4bit/model.safetensors', 400],
    ['rene/model.safetensors', 200],
  ])('survives damage to %s', async (file, cases) => {
    const original = await readFile(join(reference, file))
    expect(await accepts(readSafetensors, original, file)).toBe(true)
    const end = 8 + Number(original.readBigUInt64LE())
    const { refused } = await fuzz(readSafetensors, cases, 1, (random) => {
      const damaged = damage(original, random(4) === 0 ? 0 : 8, end, random)
      // Else nearly every edit that moves the header fails at once, on its length.
      const shift = damaged.length - original.length
      if (random(2) === 0 && damaged.length > 8 && end + shift > 8) {
        damaged.writeBigUInt64LE(BigInt(end - 8 + shift))
      }
      return damaged
    })
    expect(refused).toBeGreaterThan(cases / 2)
  })

  it('survives damage to an index', async () => {
    const map = {
      x: 'conv1d_silu.safetensors',
      bias: 'conv1d_silu.safetensors',
      y: 'b.safetensors',
    }
    const original = Buffer.from(JSON.stringify({ metadata: { total_size: 9 }, weight_map: map }))
    const { refused } = await fuzz(readSafetensorsIndex, 500, 2, (random) =>
      damage(original, 0, original.length, random),
    )
    expect(refused).toBe(500)
  })

  it('allocates nothing for a header that claims to be long', async () => {
    for (const claimed of [99_999_999n, 2n ** 32n, 2n ** 53n, 2n ** 60n, 2n ** 64n - 1n]) {
      const bytes = Buffer.alloc(64, '{')
      bytes.writeBigUInt64LE(claimed)
      const before = process.memoryUsage().arrayBuffers
      expect(await accepts(readSafetensors, bytes, String(claimed))).toBe(false)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MEBIBYTE)
    }
  })
})

/** Sets the CRC of the first entry, so that damage to the pickle reaches the interpreter. */
function fixCrcs(bytes: Buffer, pickleStart: number, pickleLength: number): Buffer {
  const crc = crc32(bytes.subarray(pickleStart, pickleStart + pickleLength))
  bytes.writeUInt32LE(crc, pickleStart + pickleLength + 4)
  const directory = bytes.indexOf('PK\x01\x02', 0, 'latin1')
  bytes.writeUInt32LE(crc, directory + 16)
  return bytes
}

describe('PyTorch checkpoints', () => {
  it('survives damage to the zip structure', async () => {
    const original = await readFile(join(reference, 'mamba2-state-spaces/pytorch_model.bin'))
    expect(await accepts(readPytorchCheckpoint, original, 'original')).toBe(true)
    const directory = original.indexOf('PK\x01\x02', 0, 'latin1')
    const { refused } = await fuzz(readPytorchCheckpoint, 600, 3, (random) =>
      random(4) === 0
        ? damage(original, 0, 100, random)
        : damage(
            original,
            random(2) === 0 ? directory : original.length - 120,
            original.length,
            random,
          ),
    )
    expect(refused).toBeGreaterThan(300)
  })

  it('survives damage to the pickle that torch.save wrote', async () => {
    const original = await readFile(join(reference, 'mamba2-state-spaces/pytorch_model.bin'))
    const start = original.indexOf(Buffer.of(0x80, 0x02, 0x7d))
    const length = original.indexOf('PK\x07\x08', 0, 'latin1') - start
    const { accepted, refused } = await fuzz(readPytorchCheckpoint, 600, 4, (random) => {
      const bytes = Buffer.from(original)
      const damaged = damage(bytes.subarray(start, start + length), 0, length, random)
      damaged.copy(bytes, start, 0, length)
      return fixCrcs(bytes, start, length)
    })
    expect(refused).toBeGreaterThan(100)
    // Where a name or an ignored flag was hit. None would mean that the CRC is not repaired.
    expect(accepted).toBeGreaterThan(5)
  })

  const tensor = (storageClass: string, key: string, numel: number) => ({
    storageClass,
    key,
    numel,
    shape: [2, numel / 2],
    strides: [1, 2],
  })
  const state = pickledStateDict({
    a: tensor('HalfStorage', '0', 12),
    b: tensor('BFloat16Storage', '0', 12),
    c: tensor('LongStorage', '1', 4),
  })
  const storages = { '0': new Uint8Array(24), '1': new Uint8Array(32) }

  it('survives damage to small pickles', async () => {
    const original = pickle(state)
    const { accepted } = await fuzz(readPytorchCheckpoint, 3000, 5, (random) =>
      makePytorchCheckpoint(damage(original, 0, original.length, random), storages),
    )
    expect(accepted).toBeGreaterThan(20)
  })

  it('survives random programs', async () => {
    const parts = [
      ...'NQRbtue}]()0120sad.'.split('').map((code) => Buffer.from(code)),
      ...[0x85, 0x86, 0x87, 0x88, 0x89, 0x93, 0x94].map((code) => Buffer.of(code)),
      op.string('storage'),
      op.string('0'),
      op.int(6),
      op.int(-1),
      op.int(2n ** 60n),
      op.float(Number.NaN),
      op.put(1),
      op.get(1),
      op.global('torch', 'HalfStorage'),
      op.global('torch._utils', '_rebuild_tensor_v2'),
      op.orderedDict(),
      pickledTensor(tensor('HalfStorage', '0', 12)),
      state,
    ]
    await fuzz(readPytorchCheckpoint, 3000, 6, (random) => {
      const body = Array.from({ length: 1 + random(30) }, () => parts[random(parts.length)]!)
      return makePytorchCheckpoint(pickle(Buffer.concat(body)), storages)
    })
  })

  it('allocates nothing for sizes that a file claims', async () => {
    const huge = 2n ** 53n - 1n
    for (const changes of [{ numel: huge }, { shape: [huge] }, { shape: [huge], strides: [0] }]) {
      const x = { ...tensor('HalfStorage', '0', 12), strides: [1], ...changes }
      const bytes = makePytorchCheckpoint(pickle(pickledStateDict({ x })), storages)
      const before = process.memoryUsage().arrayBuffers
      expect(await accepts(readPytorchCheckpoint, bytes, String(Object.keys(changes)))).toBe(false)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MEBIBYTE)
    }
  })
})

describe('configurations', () => {
  it('survives damage', async () => {
    const random = seededIntegers(7)
    const folders = (await readdir(reference)).filter((name) => /^(mamba2|rene)/.test(name))
    for (const name of folders) {
      const original = await readFile(join(reference, name, 'config.json'))
      for (let index = 0; index < 500; index++) {
        const text = damage(original, 0, original.length, random).toString()
        try {
          const config = parseConfigJson(text, 'config.json')
          // Where both can read it, both must read the same.
          const standard = parseStandard(text)
          if (standard !== undefined && !text.includes('__float__'))
            expect(config).toEqual(standard)
        } catch (error) {
          if (!(error instanceof CorruptFileError)) throw error
          expect(parseStandard(text), error.message).toBeUndefined()
        }
      }
    }
  })
})

/** What JSON.parse makes of an object's text; undefined where it refuses, or we do by our own rule. */
function parseStandard(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    const ownRule = text.includes('__float__') || value === null || typeof value !== 'object'
    return ownRule || Array.isArray(value) ? undefined : value
  } catch {
    return undefined
  }
}
