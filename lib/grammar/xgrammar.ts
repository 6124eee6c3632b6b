// Loads xgrammar, a grammar engine in WebAssembly, as @mlc-ai/web-xgrammar publishes it. On the grammar thread.

import { readFileSync } from 'node:fs'
import { compileFunction } from 'node:vm'
import type * as Xgrammar from '@mlc-ai/web-xgrammar'
import { requireFrom } from '../support/location.js'

export type { CompiledGrammar, GrammarCompiler, GrammarMatcher } from '@mlc-ai/web-xgrammar'

const PAGE_BYTES = 65_536

interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

// The declarations of WebAssembly are the DOM's.
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Memory: new () => WasmMemory
    RuntimeError: new (message: string) => Error
    instantiate(
      binary: Uint8Array,
      imports: object,
    ): Promise<{ instance: { exports: Record<string, unknown> } }>
  }
}

/** What the package sees of `WebAssembly`: its memory grows no further than to `maxMemoryMiB`. */
function boundedWebAssembly(maxMemoryMiB: number): object {
  const TOO_LARGE = `it needed more than ${maxMemoryMiB} MiB`
  let isFull = false
  const instantiate = async (binary: Uint8Array, imports: object) => {
    const result = await WebAssembly.instantiate(binary, imports)
    for (const memory of Object.values(result.instance.exports)) {
      if (!(memory instanceof WebAssembly.Memory)) continue
      memory.grow = (pages) => {
        if (memory.buffer.byteLength + pages * PAGE_BYTES > maxMemoryMiB * 2 ** 20) {
          isFull = true
          throw new RangeError(TOO_LARGE)
        }
        return WebAssembly.Memory.prototype.grow.call(memory, pages)
      }
    }
    return result
  }
  // The package takes a memory that did not grow for a reason to abort, and says no more than that.
  class RuntimeError extends WebAssembly.RuntimeError {
    constructor(message: string) {
      super(isFull ? TOO_LARGE : message)
    }
  }
  return { instantiate, RuntimeError }
}

/**
 * The package in `file`. It calls itself an ES module but is CommonJS, so neither `import` nor `require` takes it.
 * It is told that this is no Node, because what it imports there it has no use for, and has no console: what it
 * would print are its own reasons to abort.
 *
 * @example loadXgrammar(require.resolve('@mlc-ai/web-xgrammar'), 256)
 */
export function loadXgrammar(file: string, maxMemoryMiB: number): typeof Xgrammar {
  const exports = {}
  const given = new Map<string, unknown>([
    ['exports', exports],
    ['module', { exports }],
    ['require', requireFrom(file)],
    ['__filename', file],
    ['WebAssembly', boundedWebAssembly(maxMemoryMiB)],
    ['console', { log() {}, warn() {}, error() {} }],
    ['process', undefined],
  ])
  const text = readFileSync(file, 'utf8')
  compileFunction(text, [...given.keys()], { filename: file })(...given.values())
  return exports as typeof Xgrammar
}
