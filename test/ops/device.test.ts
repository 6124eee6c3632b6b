import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import type { DeviceOptions } from '../../lib/operations/device-options.js'
import {
  DeviceNotAvailableError,
  DisposedError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { encodeParams, operationNamed } from '../../lib/operations/table.js'
import type { DType } from '../../lib/operations/tensor.js'
import { download, upload } from '../support/arrays.js'

const live: Device[] = []

/** A device that is disposed of after the test. */
function makeDevice(options: DeviceOptions = { threads: 2 }): Device {
  const device = createDevice('cpu', options)
  live.push(device)
  return device
}

afterEach(() => {
  for (const device of live.splice(0)) device.dispose()
})

/** A list of many operations that takes some seconds; `out` is the buffer that it writes. */
function longList(device: Device, operations = 400) {
  const x = device.tensor('float32', [128, 1024])
  const weight = device.tensor('float32', [1024, 1024])
  const out = device.tensor('float32', [128, 1024])
  const list = device.record((cl) => {
    for (let i = 0; i < operations; i++) cl.matmul(x, weight, out)
  })
  return { list, x, weight, out }
}

describe('createDevice', () => {
  test("takes 'cpu', and for 'auto' and nothing what there is", () => {
    for (const device of [createDevice(), createDevice('auto'), createDevice('cpu')]) {
      expect(device.name).toBe('cpu')
      expect(device.threads).toBeGreaterThanOrEqual(1)
      device.dispose()
    }
  })

  test('has the threads asked for', () => {
    for (const threads of [1, 2, 3, 17]) expect(makeDevice({ threads }).threads).toBe(threads)
  })

  test.each([0, -1, 1.5, NaN, Infinity, 1025])('refuses %d threads', (threads) => {
    expect(() => createDevice('cpu', { threads })).toThrow(
      /^\[createDevice\] threads must be .* but is /,
    )
  })

  test('refuses threads that are no number', () => {
    expect(() => createDevice('cpu', { threads: '2' as never })).toThrow(TypeError)
  })

  test("says that 'metal' is not there", () => {
    expect(() => createDevice('metal')).toThrow(DeviceNotAvailableError)
    expect(() => createDevice('metal')).toThrow(/^\[createDevice\] device 'metal' /)
  })

  test('refuses unknown names and options', () => {
    expect(() => createDevice('gpu' as never)).toThrow(UnsupportedOptionError)
    expect(() => createDevice('gpu' as never)).toThrow(/but is "gpu"/)
    const misspelt = { thread: 2 } as DeviceOptions
    expect(() => createDevice('cpu', misspelt)).toThrow('did you mean "threads"?')
  })

  test('never lets a sequence depend on those beside it on the CPU', () => {
    for (const options of [{}, { batchInvariant: true }]) {
      using device = createDevice('cpu', options)
      expect(device.batchInvariant).toBe(true)
    }
    // What a program asks for on a Mac does not keep it from running elsewhere.
    using found = createDevice('auto', { batchInvariant: false })
    expect(found.batchInvariant).toBe(found.name === 'cpu')
    const wrong = { batchInvariant: 1 } as unknown as DeviceOptions
    expect(() => createDevice('cpu', wrong)).toThrow(TypeError)
    expect(() => createDevice('cpu', wrong)).toThrow('must be true or false but is 1')
  })

  test('refuses what is for another device', () => {
    for (const [name, options, message] of [
      ['metal', { threads: 2 }, '[createDevice] threads is for the CPU'],
      ['cpu', { gpuTimeout: 2 }, '[createDevice] gpuTimeout is for GPUs'],
      [
        'cpu',
        { batchInvariant: false },
        '[createDevice] batchInvariant cannot be false on the CPU',
      ],
    ] as const) {
      expect(() => createDevice(name, options)).toThrow(UnsupportedOptionError)
      expect(() => createDevice(name, options)).toThrow(message)
    }
  })
})

describe('tensors', () => {
  const device = createDevice('cpu', { threads: 1 })

  test('begin with zeros or with data, and give back what was written', () => {
    expect(device.tensor('float32', [2, 3]).read()).toEqual(new Float32Array(6))
    for (const [dtype, data] of [
      ['float32', Float32Array.of(1.5, -2, Infinity)],
      ['float16', Uint16Array.of(1, 0xffff, 3)],
      ['bfloat16', Uint16Array.of(1, 0xffff, 3)],
      ['uint32', Uint32Array.of(1, 0xffffffff, 3)],
    ] as const) {
      const tensor = device.tensor(dtype, [3], data)
      expect(tensor.read()).toEqual(data)
      tensor.write(data.slice().reverse())
      expect(tensor.read()).toEqual(data.slice().reverse())
      const first = data.slice(0, 2)
      tensor.readInto(first)
      expect(first).toEqual(data.slice().reverse().slice(0, 2))
    }
  })

  test('copy from and to parts of larger arrays', () => {
    const all = Float32Array.from({ length: 10 }, (_, i) => i)
    const tensor = device.tensor('float32', [3], all.subarray(4, 7))
    tensor.readInto(all.subarray(0, 3))
    expect([...all]).toEqual([4, 5, 6, 3, 4, 5, 6, 7, 8, 9])
  })

  test('know their sizes', () => {
    const tensor = device.tensor('float16', [2, 3, 4])
    expect(tensor).toMatchObject({ cols: 4, rows: 6, elements: 24, byteSpan: 48, rowStride: 4 })
    expect(device.tensor('uint32', [])).toMatchObject({ cols: 1, rows: 1, elements: 1 })
  })

  test('have views of columns, of a row of each sequence, and of another shape', () => {
    const numbers = Float32Array.from({ length: 24 }, (_, i) => i)
    const tensor = device.tensor('float32', [2, 3, 4], numbers)
    expect(tensor.view([6, 4]).columns(1, 3)).toMatchObject({ shape: [6, 2], rowStride: 4 })
    expect(tensor.columns(1, 3).isContiguous).toBe(false)
    expect(tensor.columns(1, 3).columns(1, 2)).toMatchObject({ byteOffset: 8, byteSpan: 84 })
    expect(tensor.select(1)).toMatchObject({ shape: [2, 4], rowStride: 12, byteOffset: 16 })
    expect(tensor.view([4]).read()).toEqual(numbers.slice(0, 4))
    expect(device.tensor('float32', [1, 4], numbers.slice(0, 4)).columns(1, 3).read()).toEqual(
      numbers.slice(1, 3),
    )
    tensor.view([2, 2]).write(Float32Array.of(9, 8, 7, 6))
    expect([...tensor.read().slice(0, 5)]).toEqual([9, 8, 7, 6, 4])
  })

  test.each([[[0]], [[2, -1]], [[1.5]], [[NaN]], [[2 ** 30, 2 ** 30]], [['2' as never]]])(
    'refuse shape %j',
    (shape) => {
      expect(() => device.tensor('float32', shape)).toThrow(
        /^\[tensor\] shape must be .* but is \(/,
      )
      expect(() => device.tensor('float32', [4]).view(shape)).toThrow(/^\[view\] shape /)
    },
  )

  test('refuse what does not fit', () => {
    const tensor = device.tensor('float32', [2, 3])
    expect(() => device.tensor('int8' as DType, [1])).toThrow('but is "int8"')
    expect(() => device.tensor('toString' as DType, [1])).toThrow('[tensor] dtype must be')
    expect(() => device.tensor('float32', [2], new Float32Array(3))).toThrow(
      '[tensor] shape (2) has 2 elements but data has 3',
    )
    expect(() => device.tensor('float16', [2], new Float32Array(2))).toThrow(
      'float16 takes a Uint16Array',
    )
    expect(() => tensor.write(new Uint32Array(6))).toThrow('[write] float32 takes a Float32Array')
    expect(() => tensor.write([1, 2] as never)).toThrow('but got an array of 2')
    expect(() => tensor.readInto(new Uint16Array(6))).toThrow('[read] float32 takes a Float32Array')
    expect(() => tensor.write(new Float32Array(7))).toThrow(
      '[write] 7 elements do not fit in shape (2, 3)',
    )
    expect(() => tensor.readInto(new Float32Array(7))).toThrow('[read] 7 elements do not fit')
    expect(() => tensor.columns(0, 2).read()).toThrow('[read] the rows of this view lie apart')
    expect(() => tensor.columns(0, 2).write(new Float32Array(1))).toThrow('[write]')
    for (const [start, end] of [
      [-1, 2],
      [2, 2],
      [0, 4],
      [NaN, 2],
      [0.5, 2],
      [0, 1.5],
    ] as const) {
      expect(() => tensor.columns(start, end), `${start} to ${end}`).toThrow('[columns]')
    }
    for (const index of [-1, 3, 0.5, NaN]) {
      expect(() => device.tensor('float32', [2, 3, 4]).select(index)).toThrow('[select] no row')
    }
    expect(() => tensor.select(0)).toThrow('[select] no row 0 in shape (2, 3)')
    expect(() => tensor.view([7])).toThrow('[view] shape (7) does not fit in shape (2, 3)')
    expect(() => tensor.columns(0, 2).view([2])).toThrow('with rows apart')
  })

  test('an allocation beyond the memory there can be is an error', () => {
    expect(() => device.tensor('float32', [2 ** 48])).toThrow(/cannot allocate \d+ bytes/)
  })

  test('cannot be used after dispose(), nor can their views', () => {
    const tensor = device.tensor('float32', [2, 3])
    const view = tensor.view([3])
    tensor.dispose()
    tensor.dispose()
    expect(() => tensor.read()).toThrow(DisposedError)
    expect(() => tensor.write(new Float32Array(1))).toThrow(DisposedError)
    expect(() => view.read()).toThrow(DisposedError)
    expect(() => device.record((cl) => cl.add(view, view, view))).toThrow(DisposedError)
  })
})

describe('native handles', () => {
  test('that are stale, made up or of another kind are errors', () => {
    const native = addon()
    const memory = native.allocate(64, false)
    native.disposeMemory(memory)
    const next = native.allocate(64, false) // takes the same slot, in another generation
    expect(next).not.toBe(memory)
    for (const handle of [memory, 0, -1, 1, 12345, 2 ** 52, next + 1, NaN, Infinity]) {
      expect(() => native.memorySize(handle), `${handle}`).toThrow(
        'memory was disposed or never existed',
      )
      expect(() => native.disposeMemory(handle)).toThrow('memory was disposed or never existed')
    }
    expect(() => native.disposeList(2 ** 24 * 1000)).toThrow('command list was disposed')
    expect(() => native.deviceThreads(2 ** 24 * 1000)).toThrow('device was disposed')
    expect(() => native.memorySize('1' as never)).toThrow('argument must be a number')
    native.disposeMemory(next)
  })

  test('reads, writes and bindings outside a block of memory are errors', () => {
    const native = addon()
    const memory = native.allocate(16, false)
    const list = native.createList()
    const bytes = new Uint8Array(8)
    for (const offset of [9, 16, 2 ** 52]) {
      expect(() => native.readMemory(memory, offset, bytes)).toThrow('reaches past the end')
      expect(() => native.writeMemory(memory, offset, bytes)).toThrow('reaches past the end')
    }
    expect(() => native.readMemory(memory, -1, bytes)).toThrow('must not be negative')
    expect(() => native.readMemory(memory, 0, new Float32Array(1) as never)).toThrow('Uint8Array')
    const add = operationNamed('add').number
    const count = new Uint8Array([1, 0, 0, 0])
    const fits = [memory, 0, 4, 0]
    native.record(list, add, [...fits, ...fits, ...fits], count)
    for (const [binding, message] of [
      [[memory, 16, 4, 0], '[add] b reaches past the end of its memory'],
      [[memory, 0, 20, 0], '[add] b reaches past the end of its memory'],
      [[memory, 2, 4, 0], '[add] b is not aligned to float32'],
      [[memory, -4, 4, 0], 'a binding is malformed'],
      [[memory, 0, 4, 9], 'a binding is malformed'],
    ] as const) {
      const bindings = [...fits, ...binding, ...fits]
      expect(() => native.record(list, add, bindings, count)).toThrow(message)
    }
    expect(() => native.record(list, add, fits, count)).toThrow('[add] takes 3 buffers but got 1')
    expect(() => native.record(list, add, [...fits, ...fits, ...fits], bytes)).toThrow(
      '[add] takes 4 bytes of parameters but got 8',
    )
    expect(() => native.record(list, 99, [], count)).toThrow('no such operation')
    native.disposeList(list)
    native.disposeMemory(memory)
  })
})

describe('command lists', () => {
  test('run any number of times, and empty ones too', async () => {
    const device = makeDevice()
    const x = upload(device, 'float32', [2], [1, 2])
    const list = device.record((cl) => cl.add(x, x, x))
    for (let i = 0; i < 5; i++) await list.run()
    expect(download(x)).toEqual([32, 64])
    await device.record(() => {}).run()
  })

  test('in flight together, run in the order in which they were started', async () => {
    const device = makeDevice({ threads: 3 })
    // Each list doubles the number and adds its own bit: any other order gives another number.
    const number = upload(device, 'float32', [1], [0])
    const bits = Array.from({ length: 50 }, (_, i) => (i * 7) % 3 === 0)
    const finished: number[] = []
    const runs: Promise<void>[] = []
    for (const round of [bits.slice(0, 22), bits.slice(22, 44), bits.slice(44)]) {
      for (const bit of round) {
        const one = upload(device, 'float32', [1], [bit ? 1 : 0])
        const list = device.record((cl) => {
          cl.add(number, number, number)
          cl.add(number, one, number)
        })
        const order = runs.length
        runs.push(list.run().then(() => void finished.push(order)))
      }
      await Promise.all(runs)
      const expected = round.reduce((sum, bit) => 2 * sum + (bit ? 1 : 0), 0)
      expect(download(number)).toEqual([expected])
      number.write(Float32Array.of(0)) // a float32 holds 24 of the bits exactly
    }
    expect(runs.length).toBe(50)
    expect(finished).toEqual(runs.map((_, i) => i))
  })

  test('keep what they use alive, whatever is disposed of', async () => {
    const device = makeDevice()
    const x = upload(device, 'float32', [2], [1, 2])
    const hidden = upload(device, 'float32', [2], [10, 20])
    const list = device.record((cl) => cl.add(x, hidden, x))
    hidden.dispose()
    const run = list.run()
    list.dispose()
    await run
    expect(download(x)).toEqual([11, 22])
  })

  test('cannot be run after dispose()', async () => {
    const device = makeDevice()
    const list = device.record(() => {})
    list.dispose()
    list.dispose()
    await expect(list.run()).rejects.toThrow(DisposedError)
    await expect(list.run()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  test('can be prepared, for which the CPU has nothing to do', async () => {
    const device = makeDevice()
    const list = device.record(() => {})
    await list.prepare()
    await list.run()
    const other = device.record(() => {})
    list.dispose()
    await expect(list.prepare()).rejects.toThrow(DisposedError)
    device.dispose()
    await expect(other.prepare()).rejects.toThrow(DisposedError)
  })

  test('of which the recording throws do not exist', () => {
    const device = makeDevice()
    expect(() =>
      device.record(() => {
        throw new Error('on purpose')
      }),
    ).toThrow('on purpose')
  })

  test('a failing operation rejects its run, stops it there, and harms no other', async () => {
    const device = makeDevice()
    const tokens = upload(device, 'uint32', [1], [7])
    const table = upload(device, 'float32', [3, 1], [1, 2, 3])
    const out = device.tensor('float32', [1, 1])
    const count = device.tensor('float32', [1])
    const by = (value: number) => upload(device, 'float32', [1], [value])
    const failing = device.record((cl) => {
      cl.add(count, by(1), count)
      cl.embedding(tokens, table, out)
      cl.add(count, by(100), count)
    })
    const good = device.record((cl) => cl.add(count, by(10), count))
    const results = await Promise.allSettled([good.run(), failing.run(), good.run()])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({
      message: '[embedding] token id 7 is outside the vocabulary of 3',
    })
    expect(download(count)).toEqual([21])
    tokens.write(Uint32Array.of(2))
    await failing.run()
    expect(download(out)).toEqual([3])
  })

  test('a failure in a loop that threads share is reported too', async () => {
    const device = makeDevice({ threads: 3 })
    const tokens = device.tensor('uint32', [2000])
    const data = new Uint32Array(2000)
    data[1990] = 5
    tokens.write(data)
    const out = device.tensor('float32', [2000, 512])
    const list = device.record((cl) =>
      cl.embedding(tokens, device.tensor('float32', [4, 512]), out),
    )
    await expect(list.run()).rejects.toThrow(
      '[embedding] token id 5 is outside the vocabulary of 4',
    )
    tokens.write(new Uint32Array(2000))
    await list.run()
  })
})

describe('buffers of a run in flight', () => {
  test('that it writes cannot be read; that it uses cannot be written', async () => {
    const device = makeDevice()
    const { list, x, out } = longList(device, 20)
    const run = list.run()
    expect(() => out.read()).toThrow('a run in flight writes this memory: await it first')
    expect(() => out.write(new Float32Array(1))).toThrow('a run in flight uses this memory')
    expect(() => x.write(new Float32Array(1))).toThrow('a run in flight uses this memory')
    expect(x.view([1]).read()).toEqual(new Float32Array(1))
    await run
    expect(out.view([1]).read()).toEqual(new Float32Array(1))
    x.write(new Float32Array(1))
  })

  test('are free again after a run that failed or was aborted', async () => {
    const device = makeDevice()
    const { list, out } = longList(device)
    const controller = new AbortController()
    const run = list.run({ signal: controller.signal })
    controller.abort()
    await expect(run).rejects.toBe(controller.signal.reason)
    out.read()
    out.write(new Float32Array(1))
  })
})

describe('abort', () => {
  test('stops a run within an operation and rejects with the reason', async () => {
    const device = makeDevice()
    const { list } = longList(device, 1000)
    const controller = new AbortController()
    const run = list.run({ signal: controller.signal })
    run.catch(() => {})
    await sleep(30)
    const reason = new Error('enough')
    const start = performance.now()
    controller.abort(reason)
    await expect(run).rejects.toBe(reason)
    // The whole list takes seconds, one of its operations some milliseconds.
    expect(performance.now() - start).toBeLessThan(500)
    const x = upload(device, 'float32', [1], [1])
    await device.record((cl) => cl.add(x, x, x)).run()
    expect(download(x)).toEqual([2])
  })

  test('stops inside an operation that takes long', async () => {
    const device = makeDevice()
    const [rows, cols] = [2000, 3000]
    const x = device.tensor('float32', [rows, cols])
    const weight = device.tensor('float32', [cols, cols])
    const list = device.record((cl) => cl.matmul(x, weight, device.tensor('float32', [rows, cols])))
    const controller = new AbortController()
    const run = list.run({ signal: controller.signal })
    run.catch(() => {})
    await sleep(30)
    const start = performance.now()
    controller.abort()
    await expect(run).rejects.toBe(controller.signal.reason)
    expect(performance.now() - start).toBeLessThan(500) // of several seconds
  })

  test('before the start means that nothing runs', async () => {
    const device = makeDevice()
    const count = device.tensor('float32', [1])
    const one = upload(device, 'float32', [1], [1])
    const list = device.record((cl) => cl.add(count, one, count))
    await expect(list.run({ signal: AbortSignal.abort('no') })).rejects.toBe('no')
    await expect(list.run({ signal: 5 as never })).rejects.toThrow(/\[run\] signal must be an/)
    await list.run()
    expect(download(count)).toEqual([1])
  })

  test('of one run leaves others alone, and after the end does nothing', async () => {
    const device = makeDevice()
    const { list } = longList(device)
    const count = device.tensor('float32', [1])
    const one = upload(device, 'float32', [1], [1])
    const counting = device.record((cl) => cl.add(count, one, count))
    const [first, last] = [new AbortController(), new AbortController()]
    const runs = [
      list.run({ signal: first.signal }),
      counting.run({ signal: last.signal }),
      counting.run(),
    ]
    first.abort()
    const results = await Promise.allSettled(runs)
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    last.abort()
    await turn()
    expect(download(count)).toEqual([2])
  })

  test('refuses misspelt options', async () => {
    const list = makeDevice().record(() => {})
    const misspelt = { singal: undefined } as object
    await expect(list.run(misspelt)).rejects.toThrow('did you mean "signal"?')
  })
})

describe('device.dispose()', () => {
  test('rejects runs in flight and queued, soon, and can be called twice', async () => {
    const device = makeDevice()
    const { list } = longList(device, 1000)
    const runs = [list.run(), list.run(), list.run()]
    for (const run of runs) run.catch(() => {})
    await sleep(20)
    const start = performance.now()
    device.dispose()
    expect(performance.now() - start).toBeLessThan(500)
    device.dispose()
    for (const run of runs) await expect(run).rejects.toThrow(DisposedError)
  })

  test('makes later runs reject; tensors stay readable', async () => {
    const device = makeDevice()
    const x = upload(device, 'float32', [2], [1, 2])
    const list = device.record((cl) => cl.add(x, x, x))
    await list.run()
    device.dispose()
    await expect(list.run()).rejects.toThrow(DisposedError)
    expect(download(x)).toEqual([2, 4])
  })

  test('comes with `using`', () => {
    let device: Device
    {
      using scoped = createDevice('cpu', { threads: 1 })
      device = scoped
    }
    expect(() => device.handle).toThrow(DisposedError)
  })
})

describe('recording', () => {
  test('ends with the callback: a recorder kept beyond it is of no use', async () => {
    const device = makeDevice()
    const x = device.tensor('float32', [4])
    let kept: Parameters<Parameters<Device['record']>[0]>[0] | undefined
    const list = device.record((cl) => {
      kept = cl
      cl.add(x, x, x)
    })
    expect(() => kept!.add(x, x, x)).toThrow(DisposedError)
    await list.run()
    expect(list.length).toBe(1)
  })

  test('native refuses to add to a list that has run', async () => {
    const native = addon()
    const device = native.createDevice('cpu', 1, [], 30)
    const list = native.createList()
    const memory = native.allocate(16, false)
    const binding = [memory, 0, 16, 0]
    const record = () =>
      native.record(
        list,
        operationNamed('add').number,
        [...binding, ...binding, ...binding],
        encodeParams(operationNamed('add'), { count: 4 }),
      )
    record()
    await new Promise((resolve) => native.run(device, list, new Uint8Array(), 0, resolve))
    expect(record).toThrow(/\[add\] was recorded after its command list had run/)
    native.disposeList(list)
    native.disposeMemory(memory)
    native.disposeDevice(device)
  })

  test('must not be async', () => {
    const device = makeDevice()
    expect(() => device.record((async () => {}) as () => void)).toThrow(/must not be async/)
  })

  test('refuses counts that a parameter struct cannot hold', () => {
    for (const count of [2 ** 32, -1, 1.5, Number.NaN]) {
      expect(() => encodeParams(operationNamed('add'), { count })).toThrow(
        /\[add\] count must be below 2\^32/,
      )
    }
    expect([...encodeParams(operationNamed('add'), { count: 2 ** 32 - 1 })]).toEqual([
      255, 255, 255, 255,
    ])
  })

  test('does not allocate by the size of a chunk that the tokens do not fill', async () => {
    const device = makeDevice()
    const tensor = (...shape: number[]) => device.tensor('float32', shape)
    const list = device.record((cl) =>
      cl.ssdChunkScan(
        {
          x: tensor(1, 4, 8),
          dt: tensor(1, 4, 1),
          A: tensor(1),
          B: tensor(1, 4, 8),
          C: tensor(1, 4, 8),
          D: tensor(1),
          dtBias: tensor(1),
          state: tensor(1, 1, 8, 8),
          rows: device.tensor('uint32', [1]),
          out: tensor(1, 4, 8),
        },
        { chunkSize: 2 ** 32 - 1 },
      ),
    )
    await list.run()
  })

  test('one signal may serve many runs without a warning', async () => {
    const device = makeDevice()
    const x = device.tensor('float32', [4])
    const list = device.record((cl) => cl.add(x, x, x))
    const warnings: Error[] = []
    const note = (warning: Error) => warnings.push(warning)
    process.on('warning', note)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 30 }, () => list.run({ signal })))
    await turn()
    process.off('warning', note)
    expect(warnings).toEqual([])
  })
})
