// What a value is, whatever realm it comes from. In a vm context, under jest or in Electron there are several
// `Float32Array`s, `Promise`s and `Error`s, and `instanceof` knows one of them.

// A getter of the prototype of all typed arrays, which reads what the engine keeps.
const nameOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)!.get! as (this: unknown) => string | undefined

/** `Float32Array` and the like; undefined for what is no typed array. A `Buffer` is a `Uint8Array`. */
export function typedArrayName(value: unknown): string | undefined {
  return nameOf.call(value)
}

/** Whether a value is an array of the type that `wanted` makes. */
export function isTypedArray<T>(
  value: unknown,
  wanted: { readonly name: string; readonly prototype: T },
): value is T {
  return typedArrayName(value) === wanted.name
}

/** Whether a value is an error, DOMExceptions among them. */
export function isError(value: unknown): value is Error {
  return /^\[object (Error|DOMException)\]$/.test(Object.prototype.toString.call(value))
}

/** What an error says, and what was thrown instead of one. */
export function messageOf(thrown: unknown): string {
  return isError(thrown) ? thrown.message : String(thrown)
}

/** Whether `await` would wait for a value. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return isObject && typeof (value as { then?: unknown }).then === 'function'
}
