// Makes small PyTorch checkpoints, and pickles that torch.save would never write.

import { makeZip, type ZipWriterEntry, type ZipWriterOptions } from './zip-writer.js'

/** Instructions of a pickle, one function for each form. Concatenate and wrap with `pickle`. */
export const op = {
  none: () => Buffer.from('N'),
  bool: (value: boolean) => Buffer.of(value ? 0x88 : 0x89),
  /** BININT1, BININT2, BININT or LONG1, as Python chooses. */
  int: (value: number | bigint): Buffer => {
    if (value >= 0 && value < 0x100) return Buffer.of(0x4b, Number(value))
    if (value >= 0 && value < 0x10000) return tagged(0x4d, 2, (b) => b.writeUInt16LE(Number(value)))
    if (value >= -0x80000000 && value < 0x80000000) {
      return tagged(0x4a, 4, (b) => b.writeInt32LE(Number(value)))
    }
    return Buffer.concat([Buffer.of(0x8a, 8), Buffer.from(BigInt64Array.of(BigInt(value)).buffer)])
  },
  float: (value: number) => tagged(0x47, 8, (b) => b.writeDoubleBE(value)),
  string: (text: string) => {
    const bytes = Buffer.from(text)
    return Buffer.concat([tagged(0x58, 4, (b) => b.writeUInt32LE(bytes.length)), bytes])
  },
  tuple: (...items: Buffer[]) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  list: (...items: Buffer[]) => Buffer.concat([Buffer.from(']('), ...items, Buffer.from('e')]),
  dict: (...keysAndValues: Buffer[]) =>
    Buffer.concat([Buffer.from('}('), ...keysAndValues, Buffer.from('u')]),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  call: (callee: Buffer, ...args: Buffer[]) =>
    Buffer.concat([callee, op.tuple(...args), Buffer.from('R')]),
  orderedDict: () => op.call(op.global('collections', 'OrderedDict')),
  persistent: (id: Buffer) => Buffer.concat([id, Buffer.from('Q')]),
  put: (index: number) => Buffer.of(0x71, index),
  get: (index: number) => Buffer.of(0x68, index),
}

function tagged(code: number, length: number, write: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(length)
  write(bytes)
  return Buffer.concat([Buffer.of(code), bytes])
}

/** A whole pickle: header, body, STOP. */
export function pickle(body: Buffer, protocol = 2): Buffer {
  return Buffer.concat([Buffer.of(0x80, protocol), body, Buffer.from('.')])
}

export interface PickledTensor {
  /** As in `torch.FloatStorage`. */
  storageClass: string
  key: string
  /** Elements of the storage. */
  numel: number | bigint
  offset?: number | bigint
  shape: (number | bigint)[]
  strides: (number | bigint)[]
}

/** A tensor as torch.save pickles it. */
export function pickledTensor(tensor: PickledTensor): Buffer {
  return op.call(
    op.global('torch._utils', '_rebuild_tensor_v2'),
    op.persistent(
      op.tuple(
        op.string('storage'),
        op.global('torch', tensor.storageClass),
        op.string(tensor.key),
        op.string('cpu'),
        op.int(tensor.numel),
      ),
    ),
    op.int(tensor.offset ?? 0),
    op.tuple(...tensor.shape.map(op.int)),
    op.tuple(...tensor.strides.map(op.int)),
    op.bool(false),
    op.orderedDict(),
  )
}

/** A pickled dict of tensors by name. */
export function pickledStateDict(tensors: Record<string, PickledTensor>): Buffer {
  return op.dict(
    ...Object.entries(tensors).flatMap(([name, t]) => [op.string(name), pickledTensor(t)]),
  )
}

/** The archive that torch.save makes of a pickle and its storages by key. */
export function makePytorchCheckpoint(
  dataPickle: Buffer,
  storages: Record<string, Uint8Array> = {},
  options: ZipWriterOptions & { extra?: ZipWriterEntry[] } = {},
): Buffer {
  const text = (value: string) => new TextEncoder().encode(value)
  const stored = Object.entries(storages).map(([key, data]) => ({
    name: `model/data/${key}`,
    data,
  }))
  return makeZip(
    [
      { name: 'model/data.pkl', data: dataPickle },
      ...stored,
      { name: 'model/version', data: text('3\n') },
      ...(options.extra ?? []),
    ],
    options,
  )
}
