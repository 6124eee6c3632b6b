// The operations of a device, as native code has them from the headers of metal/ (metal/operation.h).

import { addon } from './addon.js'

/** An operation as its header states it. */
export interface OperationLayout {
  /** As files have it: `rms_norm`. */
  readonly name: string
  /** As the recorder and messages have it: `rmsNorm`. */
  readonly apiName: string
  /** By which native code knows it. */
  readonly number: number
  /** Of the parameter struct, in its order. */
  readonly fields: readonly { readonly name: string; readonly isFloat: boolean }[]
  /** In the order of kernels. */
  readonly buffers: readonly {
    readonly name: string
    readonly isWritten: boolean
    readonly isOptional: boolean
  }[]
}

let table: ReadonlyMap<string, OperationLayout> | undefined

/** All operations by name. Loads the addon at the first call. */
export function operationTable(): ReadonlyMap<string, OperationLayout> {
  table ??= new Map(
    addon()
      .operations()
      .map((operation, number) => [operation.name, { ...operation, number }]),
  )
  return table
}

/** Throws when there is none of this name: a mistake of the recorder, or an addon of another version. */
export function operationNamed(name: string): OperationLayout {
  const operation = operationTable().get(name)
  if (!operation) throw new Error(`[${name}] this build of the addon has no such operation`)
  return operation
}

/** The bytes of an operation's parameter struct, little-endian like every machine Node runs on here. */
export function encodeParams(
  { apiName, fields }: OperationLayout,
  params: Readonly<Record<string, number>>,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * fields.length))
  for (const [index, { name, isFloat }] of fields.entries()) {
    const value = params[name]
    if (value === undefined) throw new Error(`[${apiName}] the parameter ${name} is not given`)
    if (isFloat) view.setFloat32(4 * index, value, true)
    else if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) {
      view.setUint32(4 * index, value, true)
    } else throw new RangeError(`[${apiName}] ${name} must be below 2^32 but is ${value}`)
  }
  const unknown = Object.keys(params).find((name) => !fields.some((field) => field.name === name))
  if (unknown) throw new Error(`[${apiName}] there is no parameter ${unknown}`)
  return new Uint8Array(view.buffer)
}
