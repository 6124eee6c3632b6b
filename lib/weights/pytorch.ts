// Checkpoints of torch.save: a zip archive with a pickle that describes the tensors, `data.pkl`, and
// an entry of raw elements for each storage, `data/<key>`. The pickle is read, never executed.

import { resolve } from 'node:path'
import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'
import {
  type CheckpointFile,
  bitsPerElement,
  safeElementCount,
  type FileDtype,
  isCount,
  type TensorEntry,
} from './checkpoint.js'
import { FileReader } from './file-reader.js'
import {
  describePickle,
  isKind,
  type PickleDict,
  type PickleNames,
  type PickleValue,
  readPickle,
} from './pickle.js'
import { readZipDirectory, readZipEntry, type ZipEntry } from './zip.js'

/** Bytes; about 100 for a tensor. */
const MAX_PICKLE_LENGTH = 64 * 1024 * 1024

const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2'
// Parameters that kept their gradients, and those that also have Python attributes (as the A_log and
// D of Mamba do). Their first argument is the tensor; the others do not concern its values.
const REBUILD_PARAMETER = 'torch._utils._rebuild_parameter'
const REBUILD_PARAMETER_WITH_STATE = 'torch._utils._rebuild_parameter_with_state'

const STORAGE_DTYPES: ReadonlyMap<string, FileDtype> = new Map([
  ['torch.FloatStorage', 'float32'],
  ['torch.HalfStorage', 'float16'],
  ['torch.BFloat16Storage', 'bfloat16'],
  ['torch.DoubleStorage', 'float64'],
  ['torch.LongStorage', 'int64'],
  ['torch.IntStorage', 'int32'],
  ['torch.ShortStorage', 'int16'],
  ['torch.CharStorage', 'int8'],
  ['torch.ByteStorage', 'uint8'],
  ['torch.BoolStorage', 'bool'],
])

// torch.save names nothing else for a dict of tensors of these dtypes.
const NAMES: PickleNames = {
  functions: new Set([REBUILD_TENSOR, REBUILD_PARAMETER, REBUILD_PARAMETER_WITH_STATE]),
  classes: new Set(STORAGE_DTYPES.keys()),
}

const LEGACY_ADVICE =
  'it was saved by PyTorch before 1.6 (or without its zip format); load it there and' +
  ' save it again with torch.save of PyTorch 1.6 or later'

/**
 * Reads which tensors a PyTorch checkpoint (`pytorch_model.bin`, saved by PyTorch 1.6 or later) has
 * and where they lie. Their data is not read, and no code in the file is ever executed.
 *
 * The checkpoint must be a dict of tensors by name, or have one under `state_dict`; numbers, strings
 * and None beside the tensors are ignored. Several names may share one storage (tied weights).
 *
 * @throws CorruptFileError if the archive or its pickle is damaged, names any Python function that
 *   tensors do not need, or describes a tensor that does not fit its storage. The error of `fs.open`
 *   if the file cannot be opened.
 *
 * @example
 * const { tensors } = await readPytorchCheckpoint('pytorch_model.bin')
 * tensors.get('backbone.embedding.weight') // { dtype: 'float16', shape: [50288, 768], … }
 */
export async function readPytorchCheckpoint(path: string): Promise<CheckpointFile> {
  return FileReader.use(path, async (file) => {
    await refuseLegacy(file)
    const entries = await readZipDirectory(file)
    const prefix = findPrefix(file, entries)
    await checkByteOrder(file, entries.get(`${prefix}/byteorder`))
    const pickleEntry = entries.get(`${prefix}/data.pkl`) as ZipEntry
    const bytes = await readZipEntry(file, pickleEntry, MAX_PICKLE_LENGTH)
    const root = readPickle(bytes, `${path}: data.pkl`, NAMES)
    return {
      tensors: readStateDict(path, root, (key) => entries.get(`${prefix}/data/${key}`)),
      metadata: Object.create(null),
    }
  })
}

// Both old formats begin with a pickle instead of a zip archive.
async function refuseLegacy(file: FileReader): Promise<void> {
  const head = await file.read(0, Math.min(file.size, 2), 'the first bytes')
  if (head[0] === 0x80 && (head[1] ?? 0) <= 5) {
    throw new CorruptFileError(`${file.path}: expected a zip archive; ${LEGACY_ADVICE}`)
  }
}

/** The folder that holds everything in the archive; its name is that of the file when it was saved. */
function findPrefix(file: FileReader, entries: Map<string, ZipEntry>): string {
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
  const prefix = pickles[0]?.slice(0, -'/data.pkl'.length)
  if (prefix === undefined || pickles.length > 1) {
    throw new CorruptFileError(
      `${file.path}: expected one zip entry <folder>/data.pkl but found ${pickles.length};` +
        ' not a checkpoint of torch.save?',
    )
  }
  if (entries.has(`${prefix}/constants.pkl`)) {
    throw new CorruptFileError(
      `${file.path}: expected a state dict but this is a TorchScript program;` +
        ' save model.state_dict() with torch.save instead',
    )
  }
  return prefix
}

async function checkByteOrder(file: FileReader, entry: ZipEntry | undefined): Promise<void> {
  // PyTorch before 2.1 wrote none and ran on little-endian machines.
  if (entry === undefined) return
  const order = (await readZipEntry(file, entry, 16)).toString('latin1').trim()
  if (order !== 'little') {
    throw new CorruptFileError(
      `${file.path}: byteorder must be little but is ${quote(order)};` +
        ' save the checkpoint again on a little-endian machine',
    )
  }
}

type FindStorage = (key: string) => ZipEntry | undefined

function readStateDict(
  path: string,
  root: PickleValue,
  findStorage: FindStorage,
): Map<string, TensorEntry> {
  if (!isKind(root, 'dict')) {
    throw new CorruptFileError(
      `${path}: expected a dict of tensors by name but got ${describePickle(root)}`,
    )
  }
  // What stands beside a `state_dict` is the trainer's: epochs, optimizer state and the like.
  const nested = root.items.find(([key, value]) => key === 'state_dict' && isKind(value, 'dict'))
  const { items } = (nested?.[1] as PickleDict | undefined) ?? root
  const tensors = new Map<string, TensorEntry>()
  for (const [name, value] of items) {
    if (typeof name !== 'string') {
      throw new CorruptFileError(
        `${path}: expected names of tensors as keys but got ${describePickle(name)}`,
      )
    }
    if (value === null || typeof value !== 'object' || isKind(value, 'bytes')) continue
    const fail: Fail = (problem) => {
      throw new CorruptFileError(`${path}: tensor ${quote(name)}: ${problem}`)
    }
    if (tensors.has(name)) fail('comes twice')
    tensors.set(name, { name, file: resolve(path), ...readTensor(value, findStorage, fail) })
  }
  return tensors
}

type Fail = (problem: string) => never

function readTensor(
  value: PickleValue,
  findStorage: FindStorage,
  fail: Fail,
): Omit<TensorEntry, 'name' | 'file'> {
  const inner = isKind(value, 'call') && value.callee !== REBUILD_TENSOR ? value.args[0] : value
  if (!isKind(inner, 'call') || inner.callee !== REBUILD_TENSOR) {
    return fail(
      `expected a tensor but got ${describePickle(inner)}; the checkpoint must be a flat dict of` +
        ' tensors: save that part of it alone with torch.save',
    )
  }
  // (storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata])
  const { args } = inner
  if (args.length < 6 || args.length > 7) {
    fail(`_rebuild_tensor_v2 takes 6 or 7 arguments but has ${args.length}`)
  }
  const metadata = args[6] ?? null
  if (metadata !== null && !(isKind(metadata, 'dict') && metadata.items.length === 0)) {
    fail('is a conjugate or negative view; save tensor.resolve_conj().resolve_neg() instead')
  }
  const storage = readStorage(args[0], findStorage, fail)
  const view = readView(args, storage.count, fail)
  const { dtype } = storage
  const bytes = bitsPerElement(dtype) / 8
  return {
    dtype,
    shape: view.shape,
    ...(view.strides && { strides: view.strides }),
    byteOffset: storage.byteOffset + view.offset * bytes,
    byteLength: view.extent * bytes,
  }
}

interface Storage {
  dtype: FileDtype
  /** Elements. */
  count: number
  byteOffset: number
}

/** The persistent id of a storage: ('storage', class, key, device, number of elements). */
function readStorage(
  value: PickleValue | undefined,
  findStorage: FindStorage,
  fail: Fail,
): Storage {
  if (!isKind(value, 'persistent') || !isKind(value.id, 'tuple') || value.id.items.length !== 5) {
    return fail(`expected a storage of five parts but got ${describePickle(value)}`)
  }
  // The device is where the tensor was when it was saved, which does not matter here.
  const [tag, storageClass, key, , count] = value.id.items
  if (tag !== 'storage')
    fail(`expected a persistent id of a storage but got ${describePickle(tag)}`)
  const dtype = isKind(storageClass, 'global') ? STORAGE_DTYPES.get(storageClass.name) : undefined
  if (dtype === undefined) {
    return fail(`expected a class of storage but got ${describePickle(storageClass)}`)
  }
  if (typeof key !== 'string') {
    return fail(`expected a string as the key of its storage but got ${describePickle(key)}`)
  }
  if (!isCount(count)) {
    return fail(`expected a number of elements of its storage but got ${describePickle(count)}`)
  }
  const entry = findStorage(key)
  if (entry === undefined) return fail(`its storage data/${quote(key)} is not in the archive`)
  const expected = count * (bitsPerElement(dtype) / 8)
  if (expected !== entry.byteLength) {
    fail(
      `its storage ${quote(entry.name)} has ${entry.byteLength} bytes` +
        ` but ${count} elements of ${dtype} need ${expected}`,
    )
  }
  return { dtype, count, byteOffset: entry.byteOffset }
}

interface View {
  /** All in elements: of the first, per step of each dimension, and from first to last. */
  offset: number
  strides?: readonly number[]
  extent: number
  shape: readonly number[]
}

function readView(args: readonly PickleValue[], available: number, fail: Fail): View {
  const [, offset, size, stride] = args
  if (!isCount(offset)) {
    return fail(`storage_offset must be a count of elements but is ${describePickle(offset)}`)
  }
  const shape = readCounts(size)
  if (!shape) return fail('size must be a tuple of integers from 0 to 2^53 - 1')
  const strides = readCounts(stride)
  if (!strides) return fail('stride must be a tuple of integers from 0 to 2^53 - 1')
  if (strides.length !== shape.length) {
    fail(`size has ${shape.length} dimensions but stride has ${strides.length}`)
  }
  const count = safeElementCount(shape)
  if (count === undefined) return fail(`size ${quote(shape)} has too many elements`)
  // Else an expanded tensor of a few bytes could ask its reader for any amount of memory.
  if (count > available) {
    fail(
      `size ${quote(shape)} has ${count} elements but its storage ${available};` +
        ' save tensor.contiguous() instead',
    )
  }
  let extent = count === 0 ? 0 : 1
  if (count > 0) for (const [axis, dim] of shape.entries()) extent += (dim - 1) * strides[axis]!
  // Also when the sum is no longer exact: then it is far larger than any storage.
  if (!(offset + extent <= available)) {
    fail(
      `storage_offset ${offset}, size ${quote(shape)} and stride ${quote(strides)} reach element` +
        ` ${offset + extent} but its storage has ${available}`,
    )
  }
  if (isContiguous(shape, strides, count)) return { offset, shape, extent }
  return { offset, shape, extent, strides }
}

function readCounts(value: PickleValue | undefined): readonly number[] | undefined {
  return isKind(value, 'tuple') && value.items.every(isCount) ? value.items : undefined
}

function isContiguous(
  shape: readonly number[],
  strides: readonly number[],
  count: number,
): boolean {
  // Nothing is ever stepped over in an empty tensor, or along a dimension of one.
  if (count === 0) return true
  let expected = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const dim = shape[axis]!
    if (dim !== 1 && strides[axis] !== expected) return false
    expected *= dim
  }
  return true
}
