// Calls as JSON: `{"name": ..., "arguments": {...}}`, or a list of such.

import type { WrittenCall } from './call.js'

/**
 * The calls of a block; undefined for what is none.
 *
 * @example parseJsonCalls('{"name": "clock", "arguments": {}}') // [{ name: 'clock', arguments: {} }]
 */
export function parseJsonCalls(block: string): WrittenCall[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(block)
  } catch {
    return undefined
  }
  const calls = (Array.isArray(value) ? value : [value]).map(callOf)
  return calls.every((call) => call !== undefined) ? calls : undefined
}

function callOf(value: unknown): WrittenCall | undefined {
  const { name, arguments: given = {} } = (value ?? {}) as Record<string, unknown>
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given)
  if (typeof name !== 'string' || !isObject) return undefined
  return { name, arguments: given as Record<string, unknown> }
}
