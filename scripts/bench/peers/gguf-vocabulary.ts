// The vocabulary of our GGUF files.

import type { GgufValue } from './gguf.js'

/**
 * A made-up byte-level BPE: node-llama-cpp's public loadModel() aborts the process on a file without a vocabulary. Only
 * token numbers are used here.
 */
export function vocabulary(size: number): Record<string, GgufValue> {
  let extra = 0
  // GPT-2's spelling of bytes: printable ones stand for themselves.
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    const isPlain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCodePoint(isPlain ? byte : 256 + extra++)
  })
  const last = size - 1
  const tokens = Array.from({ length: size }, (_, i) => {
    if (i === last) return '<|endoftext|>'
    return bytes[i] ?? `<t${i}>`
  })
  return {
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    // 1: normal, 3: control.
    'tokenizer.ggml.token_type': {
      type: 'int32s',
      value: tokens.map((_, i) => (i === last ? 3 : 1)),
    },
    // An empty list of merges is refused.
    'tokenizer.ggml.merges': { type: 'strings', value: [`${bytes[97]} ${bytes[98]}`] },
    'tokenizer.ggml.bos_token_id': { type: 'uint32', value: last },
    // Otherwise an ordinary token would be taken for the end.
    'tokenizer.ggml.eos_token_id': { type: 'uint32', value: last },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
  }
}
