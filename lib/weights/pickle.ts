// A reader of Python pickles that cannot run anything. A pickle is a program for a stack machine;
// one of its instructions imports any Python function by name, another calls it. Here an import is
// only a name from a list that the caller allows, and a call is only a record of that name and its
// arguments. What such records mean is for the caller to interpret; no function exists to be run.

import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleBytes
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleGlobal
  | PickleCall
  | PicklePersistent

export interface PickleBytes {
  kind: 'bytes'
  bytes: Uint8Array
}
export interface PickleTuple {
  kind: 'tuple'
  items: readonly PickleValue[]
}
export interface PickleList {
  kind: 'list'
  items: PickleValue[]
}
/** A dict or OrderedDict: keys and values in the order in which they were set. */
export interface PickleDict {
  kind: 'dict'
  items: [key: PickleValue, value: PickleValue][]
}
/** An imported class or function: just its name, as `module.name`. */
export interface PickleGlobal {
  kind: 'global'
  name: string
}
/** A function that the pickle wants called: just its name and arguments. */
export interface PickleCall {
  kind: 'call'
  callee: string
  args: readonly PickleValue[]
}
/** Something stored outside the pickle, under this id. */
export interface PicklePersistent {
  kind: 'persistent'
  id: PickleValue
}

/** What a pickle may name. `collections.OrderedDict` is always understood. */
export interface PickleNames {
  /** May be called, as `module.name`. */
  functions: ReadonlySet<string>
  /** May be mentioned but not called. */
  classes: ReadonlySet<string>
}

/** A tensor takes about 30 instructions, so 70 000 tensors; bounds the memory for what they make. */
const MAX_INSTRUCTIONS = 2_000_000
/** Open MARKs. torch.save needs four. */
const MAX_MARKS = 100
/** Bytes of a line that names a module or class. */
const MAX_LINE = 512

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const ORDERED_DICT = 'collections.OrderedDict'

/**
 * Reads a pickle of protocol 2 to 5, as torch.save writes it, into plain values. `where` leads the
 * messages.
 *
 * @throws CorruptFileError if the pickle is damaged, names something that `names` does not list, or
 *   uses an instruction that tensors never need. Nothing is executed in any case.
 *
 * @example
 * const names = { functions: new Set(['torch._utils._rebuild_tensor_v2']), classes: new Set() }
 * const value = readPickle(bytes, 'pytorch_model.bin: data.pkl', names)
 */
export function readPickle(bytes: Buffer, where: string, names: PickleNames): PickleValue {
  return new PickleMachine(bytes, where, names).run()
}

class PickleMachine {
  readonly #bytes: Buffer
  readonly #where: string
  readonly #names: PickleNames
  readonly #stack: PickleValue[] = []
  /** Stack heights at which the open MARKs lie. */
  readonly #marks: number[] = []
  // A map, because an index is whatever 32-bit number the file says.
  readonly #memo = new Map<number, PickleValue>()
  #position = 0
  #instruction = { name: 'PROTO', start: 0 }

  constructor(bytes: Buffer, where: string, names: PickleNames) {
    this.#bytes = bytes
    this.#where = where
    this.#names = names
  }

  run(): PickleValue {
    if (this.#bytes[0] !== PROTO) this.fail('a pickle of protocol 2 to 5 must begin with it')
    for (let count = 0; count < MAX_INSTRUCTIONS; count++) {
      const start = this.#position
      this.#instruction = { name: 'the next instruction', start }
      const code = this.byte()
      const instruction = INSTRUCTIONS.get(code)
      if (instruction === undefined) {
        const hex = `0x${code.toString(16).padStart(2, '0')}`
        return this.#refuse(REFUSED.get(code) ?? `an unknown instruction (${hex})`)
      }
      this.#instruction = { name: instruction.name, start }
      if (instruction.name === 'STOP') return this.#stop()
      instruction.run(this)
    }
    return this.fail(`more than ${MAX_INSTRUCTIONS} instructions`)
  }

  #stop(): PickleValue {
    const value = this.pop()
    if (this.#stack.length > 0 || this.#marks.length > 0) {
      this.fail(`${this.#stack.length} values are left over`)
    }
    const rest = this.#bytes.length - this.#position
    if (rest > 0) this.fail(`${rest} bytes follow it`)
    return value
  }

  #refuse(what: string): never {
    this.fail(
      `uses ${what}, which a checkpoint of tensors does not need;` +
        ' the file was refused and nothing in it was executed',
    )
  }

  fail(problem: string): never {
    const { name, start } = this.#instruction
    throw new CorruptFileError(`${this.#where}: ${name} at byte ${start}: ${problem}`)
  }

  // Arguments that follow an instruction.

  take(length: number): Buffer {
    const end = this.#position + length
    if (end > this.#bytes.length) {
      this.fail(`needs ${length} bytes but ${this.#bytes.length - this.#position} are left`)
    }
    const bytes = this.#bytes.subarray(this.#position, end)
    this.#position = end
    return bytes
  }

  byte(): number {
    return this.take(1).readUInt8()
  }

  uint32(): number {
    return this.take(4).readUInt32LE()
  }

  uint64(): number {
    // Rounding beyond 2^53 leaves it larger than any file.
    return Number(this.take(8).readBigUInt64LE())
  }

  text(length: number): string {
    const bytes = this.take(length)
    try {
      return UTF8.decode(bytes)
    } catch {
      return this.fail('a string is not valid UTF-8')
    }
  }

  line(): string {
    const rest = this.#bytes.subarray(this.#position, this.#position + MAX_LINE)
    const length = rest.indexOf(0x0a)
    if (length < 0) this.fail('a name does not end')
    const text = this.text(length)
    this.#position++
    return text
  }

  /** A little-endian two's complement integer of `length` bytes. */
  long(length: number): number | bigint {
    const bytes = this.take(length)
    if (length === 0) return 0
    const unsigned = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
    const value = BigInt.asIntN(8 * length, unsigned)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  // The stack.

  push(value: PickleValue): void {
    this.#stack.push(value)
  }

  pop(): PickleValue {
    this.#needItem()
    return this.#stack.pop() as PickleValue
  }

  top(): PickleValue {
    this.#needItem()
    return this.#stack.at(-1) as PickleValue
  }

  #needItem(): void {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) {
      this.fail('needs a value but none is on the stack')
    }
  }

  mark(): void {
    if (this.#marks.length === MAX_MARKS) this.fail(`more than ${MAX_MARKS} open marks`)
    this.#marks.push(this.#stack.length)
  }

  /** Takes all values above the last MARK, and the MARK. */
  popToMark(): PickleValue[] {
    const mark = this.#marks.pop()
    if (mark === undefined) return this.fail('needs a MARK but none is on the stack')
    return this.#stack.splice(mark)
  }

  popItems(count: number): PickleValue[] {
    const items: PickleValue[] = []
    for (let index = 0; index < count; index++) items.push(this.pop())
    return items.reverse()
  }

  // The memo.

  memoize(index = this.#memo.size): void {
    this.#memo.set(index, this.top())
  }

  recall(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) this.fail(`nothing was stored under ${index}`)
    this.push(value)
  }

  // Values.

  dict(items: PickleValue[]): void {
    this.push({ kind: 'dict', items: [] })
    this.setItems(items)
  }

  setItems(items: PickleValue[]): void {
    const dict = this.top()
    if (!isKind(dict, 'dict')) this.fail(`needs a dict but has ${describePickle(dict)}`)
    if (items.length % 2 !== 0) this.fail('a key has no value')
    for (let index = 0; index < items.length; index += 2) {
      dict.items.push([items[index] as PickleValue, items[index + 1] as PickleValue])
    }
  }

  append(items: PickleValue[]): void {
    const list = this.top()
    if (!isKind(list, 'list')) this.fail(`needs a list but has ${describePickle(list)}`)
    // One by one: as arguments of a single call, many would exceed the engine's limit.
    for (const item of items) list.items.push(item)
  }

  global(module: string, name: string): void {
    const fullName = `${module}.${name}`
    const { functions, classes } = this.#names
    if (fullName !== ORDERED_DICT && !functions.has(fullName) && !classes.has(fullName)) {
      this.#refuse(quote(fullName))
    }
    this.push({ kind: 'global', name: fullName })
  }

  stackGlobal(): void {
    const [module, name] = this.popItems(2)
    if (typeof module !== 'string' || typeof name !== 'string') {
      this.fail('needs two strings, a module and a name')
    }
    this.global(module, name)
  }

  reduce(): void {
    const [callee, args] = this.popItems(2) as [PickleValue, PickleValue]
    if (!isKind(args, 'tuple')) this.fail(`needs a tuple but has ${describePickle(args)}`)
    if (!isKind(callee, 'global')) {
      this.fail(`needs the name of a function but has ${describePickle(callee)}`)
    }
    if (callee.name === ORDERED_DICT) {
      if (args.items.length > 0) this.fail(`${ORDERED_DICT} must be called without arguments`)
      this.push({ kind: 'dict', items: [] })
      return
    }
    if (!this.#names.functions.has(callee.name)) this.#refuse(`a call of ${quote(callee.name)}`)
    this.push({ kind: 'call', callee: callee.name, args: args.items })
  }

  /**
   * Sets attributes of an object. state_dict() leaves `_metadata`, versions of the modules, on its
   * OrderedDict; it says nothing about the tensors and is dropped.
   */
  build(): void {
    const [object, state] = this.popItems(2) as [PickleValue, PickleValue]
    if (!isKind(object, 'dict') || !isKind(state, 'dict')) {
      this.#refuse(`attributes of ${describePickle(object)} set from ${describePickle(state)}`)
    }
    this.push(object)
  }
}

export function isKind<
  K extends 'bytes' | 'tuple' | 'list' | 'dict' | 'global' | 'call' | 'persistent',
>(value: PickleValue | undefined, kind: K): value is Extract<PickleValue, { kind: K }> {
  return typeof value === 'object' && value !== null && value.kind === kind
}

/** A value in a few words, for a message. */
export function describePickle(value: PickleValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'None'
  if (typeof value === 'string') return `the string ${quote(value)}`
  if (typeof value !== 'object') return `the ${typeof value} ${value}`
  switch (value.kind) {
    case 'global':
      return value.name
    case 'call':
      return `a call of ${value.callee}`
    case 'persistent':
      return 'a storage'
    default:
      return `a ${value.kind}`
  }
}

interface Instruction {
  name: string
  run(machine: PickleMachine): void
}

const PROTO = 0x80

// By code, named as in Python's pickletools. The text-based ones of protocols 0 and 1 are left out:
// torch.save writes protocol 2 or later.
const INSTRUCTIONS: ReadonlyMap<number, Instruction> = new Map(
  (
    [
      [PROTO, 'PROTO', (m) => checkProtocol(m, m.byte())],
      [0x95, 'FRAME', (m) => m.uint64()],
      [0x2e, 'STOP', () => {}],

      [0x4e, 'NONE', (m) => m.push(null)],
      [0x88, 'NEWTRUE', (m) => m.push(true)],
      [0x89, 'NEWFALSE', (m) => m.push(false)],
      [0x4a, 'BININT', (m) => m.push(m.take(4).readInt32LE())],
      [0x4b, 'BININT1', (m) => m.push(m.byte())],
      [0x4d, 'BININT2', (m) => m.push(m.take(2).readUInt16LE())],
      [0x8a, 'LONG1', (m) => m.push(m.long(m.byte()))],
      [0x47, 'BINFLOAT', (m) => m.push(m.take(8).readDoubleBE())],
      [0x58, 'BINUNICODE', (m) => m.push(m.text(m.uint32()))],
      [0x8c, 'SHORT_BINUNICODE', (m) => m.push(m.text(m.byte()))],
      [0x8d, 'BINUNICODE8', (m) => m.push(m.text(m.uint64()))],
      [0x42, 'BINBYTES', (m) => m.push({ kind: 'bytes', bytes: m.take(m.uint32()) })],
      [0x43, 'SHORT_BINBYTES', (m) => m.push({ kind: 'bytes', bytes: m.take(m.byte()) })],
      [0x8e, 'BINBYTES8', (m) => m.push({ kind: 'bytes', bytes: m.take(m.uint64()) })],

      [0x28, 'MARK', (m) => m.mark()],
      [0x30, 'POP', (m) => m.pop()],
      [0x31, 'POP_MARK', (m) => m.popToMark()],
      [0x32, 'DUP', (m) => m.push(m.top())],
      [0x29, 'EMPTY_TUPLE', (m) => m.push({ kind: 'tuple', items: [] })],
      [0x85, 'TUPLE1', (m) => m.push({ kind: 'tuple', items: m.popItems(1) })],
      [0x86, 'TUPLE2', (m) => m.push({ kind: 'tuple', items: m.popItems(2) })],
      [0x87, 'TUPLE3', (m) => m.push({ kind: 'tuple', items: m.popItems(3) })],
      [0x74, 'TUPLE', (m) => m.push({ kind: 'tuple', items: m.popToMark() })],
      [0x5d, 'EMPTY_LIST', (m) => m.push({ kind: 'list', items: [] })],
      [0x6c, 'LIST', (m) => m.push({ kind: 'list', items: m.popToMark() })],
      [0x61, 'APPEND', (m) => m.append(m.popItems(1))],
      [0x65, 'APPENDS', (m) => m.append(m.popToMark())],
      [0x7d, 'EMPTY_DICT', (m) => m.dict([])],
      [0x64, 'DICT', (m) => m.dict(m.popToMark())],
      [0x73, 'SETITEM', (m) => m.setItems(m.popItems(2))],
      [0x75, 'SETITEMS', (m) => m.setItems(m.popToMark())],

      [0x71, 'BINPUT', (m) => m.memoize(m.byte())],
      [0x72, 'LONG_BINPUT', (m) => m.memoize(m.uint32())],
      [0x94, 'MEMOIZE', (m) => m.memoize()],
      [0x68, 'BINGET', (m) => m.recall(m.byte())],
      [0x6a, 'LONG_BINGET', (m) => m.recall(m.uint32())],

      [0x63, 'GLOBAL', (m) => m.global(m.line(), m.line())],
      [0x93, 'STACK_GLOBAL', (m) => m.stackGlobal()],
      [0x51, 'BINPERSID', (m) => m.push({ kind: 'persistent', id: m.pop() })],
      [0x52, 'REDUCE', (m) => m.reduce()],
      [0x62, 'BUILD', (m) => m.build()],
    ] satisfies [number, string, (machine: PickleMachine) => void][]
  ).map(([code, name, run]) => [code, { name, run }]),
)

// Known, and refused by name: they make objects of any class, or have no place in these files.
const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x81, 'NEWOBJ'],
  [0x92, 'NEWOBJ_EX'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x50, 'PERSID'],
  [0x97, 'NEXT_BUFFER'],
  [0x98, 'READONLY_BUFFER'],
  [0x96, 'BYTEARRAY8'],
  [0x8f, 'EMPTY_SET'],
  [0x90, 'ADDITEMS'],
  [0x91, 'FROZENSET'],
  [0x8b, 'LONG4'],
  [0x54, 'BINSTRING'],
  [0x55, 'SHORT_BINSTRING'],
  [0x53, 'STRING (protocol 0)'],
  [0x56, 'UNICODE (protocol 0)'],
  [0x49, 'INT (protocol 0)'],
  [0x4c, 'LONG (protocol 0)'],
  [0x46, 'FLOAT (protocol 0)'],
  [0x70, 'PUT (protocol 0)'],
  [0x67, 'GET (protocol 0)'],
])

function checkProtocol(machine: PickleMachine, version: number): void {
  if (version < 2 || version > 5) machine.fail(`expected protocol 2 to 5 but got ${version}`)
}
