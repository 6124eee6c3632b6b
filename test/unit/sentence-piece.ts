// Small tokenizers as SentencePiece makes them.

/** All bytes, some words, an added token and two special ones, in SentencePiece's spelling. */
export function sentencePieceDefinition(decoder: object): object {
  const words = ['\u2581', '\u2581the', 'state', '\u2581\u2581a', '日本', 'é', '\u2581<0x41>']
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...words]
  return {
    added_tokens: [
      { id: 1, content: '<s>', special: true },
      { id: 2, content: '</s>', special: true },
      { id: tokens.length + 2, content: '\u2581\u2581\u2581', special: false },
    ],
    decoder,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  }
}

export const llamaDecoder = {
  type: 'Sequence',
  decoders: [
    { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ],
}
