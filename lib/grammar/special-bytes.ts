// Special tokens have no text. Where a grammar names one, it is spelt in bytes that no text has.

/** No UTF-8 has it: tokens of text with this byte are never allowed. */
export const NO_TEXT = 0xff

// Seven bits of an id each, so that all but the first are ASCII.
const BITS = [14, 7, 0]

/** How a special token is spelt. */
export const specialTokenBytes = (token: number): Uint8Array =>
  Uint8Array.of(NO_TEXT, ...BITS.map((shift) => (token >> shift) & 0x7f))
