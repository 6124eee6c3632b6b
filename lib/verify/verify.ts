// Holds every operation of a device against the reference, the plain loops of the CPU device.

import { throwIfAborted, type Signal } from '../support/abort.js'
import type { ActivationType, Device } from '../operations/device.js'
import type { OperationName } from '../operations/recorder.js'
import type { DType } from '../operations/tensor.js'
import { excess, type WorstElement, worstElement } from './tolerance.js'
import { attentionCases } from './cases/attention.js'
import type { Case, Recordable } from './cases/case.js'
import { linearCases } from './cases/linear.js'
import { deltaCases } from './cases/delta.js'
import { mamba2Cases } from './cases/mamba2.js'
import { pagedAttentionCases } from './cases/paged-attention.js'
import { rowCases, tokenCases } from './cases/rows.js'
import { Inputs, SharedNumbers } from './inputs.js'
import { messageOf } from '../support/realms.js'
import { numbersOf } from '../weights/convert.js'

/** How close to the reference an operation came. */
export interface Outcome {
  operation: OperationName
  /** Of activations, and of weights where there are any. */
  dtype: string
  shape: string
  passed: boolean
  /** Of the element that is furthest from what is allowed: |result - reference|. */
  error: number
  /** What lib/verify/tolerance.ts allows there. */
  limit: number
  /** Why it could not run. */
  failure?: string
}

export interface Verification extends Outcome {
  /** Median of the timed runs, each from JavaScript and back. */
  milliseconds: number
  /** Bytes that the operation must at least read and write, by that time. */
  gigabytesPerSecond: number
}

export interface VerifyOptions {
  /** Only these operations. */
  operations?: readonly OperationName[] | undefined
  /** Leaves out the shapes of published models. */
  smallOnly?: boolean | undefined
  signal?: Signal | undefined
}

const TIMED_RUNS = 5

/** All cases for a device that computes in these types. */
export function* allCases(activationTypes: readonly ActivationType[]): Generator<Case> {
  for (const type of activationTypes) {
    yield* linearCases(type)
    yield* mamba2Cases(type)
    yield* deltaCases(type)
    yield* attentionCases(type)
    yield* pagedAttentionCases(type)
    yield* rowCases(type)
  }
  yield* tokenCases()
}

/** The operations that have cases, which is all of them. Needs no addon. */
export function verifiedOperations(): OperationName[] {
  return [...new Set([...allCases(['float32'])].map(({ operation }) => operation))].sort()
}

/**
 * Runs each operation on `device` and on `reference` (float32) with the same numbers and compares.
 * Yields one verification a case, in order; an operation that fails to run is one that did not pass.
 *
 * @example
 * for await (const { operation, passed } of verify(device, reference)) console.log(operation, passed)
 */
export async function* verify(
  device: Device,
  reference: Device,
  { operations, smallOnly, signal }: VerifyOptions = {},
): AsyncGenerator<Verification, void, void> {
  const wanted = new Set(operations ?? verifiedOperations())
  for (const each of allCases(device.activationTypes)) {
    if (!wanted.has(each.operation) || (smallOnly && each.large)) continue
    throwIfAborted(signal)
    yield await verifyCase(each, device, reference, signal)
  }
}

/**
 * Runs a case once on each device and compares. An operation that fails to run is one that did not
 * pass; rejects with `signal.reason` when aborted. `after` may go on with the tensors of `device`.
 */
export async function compareCase(
  given: Case,
  device: Device,
  reference: Device,
  signal: Signal | undefined,
  after?: (actual: Recordable, inputs: Inputs) => Promise<void>,
): Promise<Outcome> {
  const { operation, dtype, shape, activationType } = given
  const numbers = new SharedNumbers()
  const tested = new Inputs(device, numbers, activationType, activationType)
  const exact = new Inputs(reference, numbers, 'float32', activationType)
  try {
    const actual = given.build(tested)
    const expected = given.build(exact)
    await run(reference, expected, 1, signal)
    await run(device, actual, 1, signal)
    const compared = compare(actual, expected)
    await after?.(actual, tested)
    return { operation, dtype, shape, ...compared }
  } catch (error) {
    throwIfAborted(signal)
    const failure = messageOf(error)
    return {
      ...{ operation, dtype, shape, passed: false },
      ...{ error: Number.NaN, limit: Number.NaN, failure },
    }
  } finally {
    tested.dispose()
    exact.dispose()
  }
}

async function verifyCase(
  given: Case,
  device: Device,
  reference: Device,
  signal: Signal | undefined,
): Promise<Verification> {
  let milliseconds = 0
  let gigabytesPerSecond = 0
  const outcome = await compareCase(given, device, reference, signal, async (actual, inputs) => {
    milliseconds = await run(device, actual, TIMED_RUNS, signal)
    gigabytesPerSecond = inputs.bytes / 1e6 / milliseconds
  })
  return { ...outcome, milliseconds, gigabytesPerSecond }
}

/** Runs it so many times; returns the median in milliseconds. */
async function run(
  device: Device,
  { record }: Recordable,
  times: number,
  signal: Signal | undefined,
): Promise<number> {
  using list = device.record(record)
  const measured: number[] = []
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    await list.run({ signal })
    measured.push(performance.now() - start)
  }
  return measured.sort((a, b) => a - b)[times >> 1]!
}

/** The element of all outputs that is furthest from what lib/verify/tolerance.ts allows. */
export function compare(actual: Recordable, expected: Recordable) {
  let worst: WorstElement = { index: 0, error: 0, limit: 0 }
  for (const [i, tensor] of actual.outputs.entries()) {
    const dtype: DType = tensor.dtype
    const correct = numbersOf(expected.outputs[i]!)
    // NaN on both sides would pass for equal.
    if (!correct.every(Number.isFinite))
      throw new Error(`output ${i} of the reference is not finite`)
    const element = worstElement(numbersOf(tensor), correct, dtype)
    if (!element) continue
    const difference = excess(element) - excess(worst)
    // Of outputs that are all exact, the one that need not be says more.
    if (difference > 0 || (worst.error === 0 && worst.limit === 0)) worst = element
  }
  return { error: worst.error, limit: worst.limit, passed: excess(worst) <= 1 }
}
