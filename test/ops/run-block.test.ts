// Inputs and outputs of a run: one list, any number of runs in flight, each with its own.

import { describe, expect, test } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { DisposedError } from '../../lib/support/errors.js'
import { operationNamed } from '../../lib/operations/table.js'
import type { TensorData } from '../../lib/operations/tensor.js'
import { upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('inputs and outputs of a run', (device) => {
  test('of one list, with many runs in flight, are each their own', async () => {
    const one = upload(device(), 'float32', [3], [1, 10, 100])
    const list = device().record((cl) => {
      cl.add(cl.input('x', 'float32', [3]), one, cl.output('sum', 'float32', [3]))
    })
    const x = new Float32Array(3)
    const runs = Array.from({ length: 40 }, (_, i) => {
      x.fill(i) // copied before run returns
      return list.run({ inputs: { x } })
    })
    x.fill(-1)
    for (const [i, run] of runs.entries()) {
      const { outputs } = await run
      expect([...outputs.sum!]).toEqual([1 + i, 10 + i, 100 + i])
    }
  })

  test('start as zeros, of every run, and can be read by later operations', async () => {
    const x = upload(device(), 'float32', [1], [2])
    const list = device().record((cl) => {
      const sum = cl.output('sum', 'float32', [1])
      cl.add(sum, x, sum)
      cl.add(sum, cl.input('more', 'float32', [1]), sum)
    })
    for (const more of [3, 4]) {
      const { outputs } = await list.run({ inputs: { more: Float32Array.of(more) } })
      expect(outputs).toEqual({ sum: Float32Array.of(2 + more) })
    }
  })

  test('stand side by side whatever their types, up to 4 KB of each', async () => {
    const list = device().record((cl) => {
      const token = cl.input('token', 'uint32', [1])
      const a = cl.input('a', 'float32', [1012])
      const sum = cl.output('sum', 'float32', [1012])
      cl.add(a, a, sum)
      cl.copy(upload(device(), 'uint32', [1], [7]), cl.output('count', 'uint32', [1]))
      const table = upload(device(), 'float32', [2, 1], [5, 6])
      cl.embedding(token, table, cl.output('row', 'float32', [1, 1]))
    })
    const a = Float32Array.from({ length: 1012 }, (_, i) => i)
    const { outputs } = await list.run({ inputs: { token: Uint32Array.of(1), a } })
    expect(outputs.sum).toEqual(a.map((x) => 2 * x))
    expect(outputs.count).toEqual(Uint32Array.of(7))
    expect(outputs.row).toEqual(Float32Array.of(6))
  })

  test('of a run that failed or was aborted do not come; the next one has its own', async () => {
    const table = upload(device(), 'float32', [2, 1], [5, 6])
    const list = device().record((cl) => {
      cl.embedding(cl.input('token', 'uint32', [1]), table, cl.output('row', 'float32', [1, 1]))
    })
    const run = (token: number, signal?: AbortSignal) =>
      list.run({ inputs: { token: Uint32Array.of(token) }, signal })
    await expect(run(1, AbortSignal.abort('no'))).rejects.toBe('no')
    expect((await run(1)).outputs.row).toEqual(Float32Array.of(6))
  })
})

describe('inputs and outputs of a run', () => {
  describeEachDevice('that do not fit', (device) => {
    const list = () =>
      device().record((cl) => {
        cl.copy(upload(device(), 'uint32', [1], [1]), cl.output('count', 'uint32', [1]))
        cl.add(
          cl.input('a', 'float32', [2]),
          cl.input('b', 'float32', [2]),
          cl.output('sum', 'float32', [2]),
        )
      })
    const a = new Float32Array(2)

    test.each<[string, unknown, RegExp]>([
      [
        'none',
        undefined,
        /input "a" must be a Float32Array of 2 elements, for float32 \(2\), but is undefined/,
      ],
      ['null', null, /inputs must be an object but is null/],
      ['one missing', { a }, /input "b" must be .* but is undefined/],
      ['one too many', { a, b: a, c: a }, /this list has no input "c". It has: a, b/],
      ['too few elements', { a, b: new Float32Array(1) }, /input "b" must be .* but is one of 1/],
      ['another type', { a, b: new Uint32Array(2) }, /input "b" must be a Float32Array/],
      ['a plain array', { a: [1, 2], b: a }, /input "a" must be .* but is an array of 2/],
    ])('are refused, and nothing runs: %s', async (_, inputs, message) => {
      const recorded = list()
      await expect(recorded.run({ inputs: inputs as never })).rejects.toThrow(message)
      await expect(recorded.run({ inputs: inputs as never })).rejects.toThrow(/^\[run\] /)
      expect((await recorded.run({ inputs: { a, b: a } })).outputs.count).toEqual(Uint32Array.of(1))
    })

    test('are refused when they are recorded', () => {
      const record = (kind: 'input' | 'output', ...shapes: number[][]) =>
        device().record((cl) => {
          for (const [i, shape] of shapes.entries()) cl[kind](`t${i}`, 'float32', shape)
        })
      expect(() => record('input', [1025])).toThrow(
        '[input] the inputs of a run take at most 4096 bytes, but with "t0" of shape (1025) they are 4100: use a tensor of the device',
      )
      expect(() => record('output', [1], [1021])).toThrow(/\[output\] .* they are 4100/)
      record('output', [1], [1020])
      const named = (...names: unknown[]) =>
        device().record((cl) => {
          for (const name of names) cl.input(name as string, 'uint32', [1])
        })
      expect(() => named('a', 'a')).toThrow('[input] there is an input "a" already')
      expect(() => named('')).toThrow('[input] the name must be a text but is ""')
      expect(() => named(5)).toThrow('[input] the name must be a text but is 5')
      expect(() => device().record((cl) => void cl.input('a', 'int8' as never, [1]))).toThrow(
        '[input] dtype of "a" must be one of',
      )
    })

    test('an input cannot be written', () => {
      const x = upload(device(), 'float32', [1], [1])
      expect(() => device().record((cl) => cl.add(x, x, cl.input('a', 'float32', [1])))).toThrow(
        '[add] out is written but is an input',
      )
    })

    test('belong to one list, and are read and written by runs alone', () => {
      let kept:
        | ReturnType<Parameters<Parameters<ReturnType<typeof device>['record']>[0]>[0]['input']>
        | undefined
      device().record((cl) => {
        kept = cl.input('a', 'float32', [1])
        expect(() => kept!.read()).toThrow('are given to run() and come with its result')
        expect(() => kept!.write(new Float32Array(1))).toThrow('are given to run()')
        device().record((other) => {
          expect(() => other.add(kept!, kept!, kept!)).toThrow(
            '[add] a is an input or output of another command list',
          )
        })
      })
      expect(() => device().record((cl) => cl.add(kept!, kept!, kept!))).toThrow(DisposedError)
      expect(() => kept!.read()).toThrow(DisposedError)
    })

    test('native checks what JavaScript gives it', () => {
      const native = addon()
      const list = native.createList()
      const block = native.listBlock(list)
      const count = new Uint8Array([1, 0, 0, 0])
      const binding = (offset: number, bytes: number) => [block, offset, bytes, 0]
      const record = (...bindings: number[][]) =>
        native.record(list, operationNamed('add').number, bindings.flat(), count)
      expect(() => record(binding(0, 4), binding(4092, 8), binding(4096, 4))).toThrow(
        '[add] b reaches from the inputs of a run into its outputs',
      )
      record(binding(8, 4), binding(8, 4), binding(4100, 4))
      const run = (inputs: number, outputs: number) => () =>
        native.run(device().handle, list, new Uint8Array(inputs), outputs, () => {})
      expect(run(8, 8)).toThrow('[run] the inputs of this list take 12 to 4096 bytes but are 8')
      expect(run(4097, 8)).toThrow('12 to 4096 bytes but are 4097')
      expect(run(12, 4)).toThrow('[run] the outputs of this list take 8 to 4096 bytes but are 4')
      expect(run(12, 4097)).toThrow('8 to 4096 bytes but are 4097')
      native.disposeMemory(block)
      native.disposeList(list)
    })
  })

  describeEachDevice('errors', (device) => {
    test('have the frames of the caller', async () => {
      const table = upload(device(), 'float32', [2, 1], [5, 6])
      const list = device().record((cl) => {
        cl.embedding(cl.input('token', 'uint32', [1]), table, cl.output('row', 'float32', [1, 1]))
      })
      async function theCaller(): Promise<Record<string, TensorData>> {
        return (await list.run({ inputs: { token: Uint32Array.of(9) } })).outputs
      }
      const error = await theCaller().then(
        () => new Error('did not fail'),
        (reason: Error) => reason,
      )
      if (device().name === 'cpu') {
        expect(error.message).toBe('[embedding] token id 9 is outside the vocabulary of 2')
        expect(error.stack).toMatch(
          /^OperationError: \[embedding\] token id 9 .*\n\s+at theCaller .*run-block/,
        )
      }
    })
  })
})
