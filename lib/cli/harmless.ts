// Text that others wrote, for a terminal.

// Control characters but tab and line feed: of ASCII, DEL, and those that stand for ESC and a letter (C1).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g

/**
 * A text whose control characters are shown and do nothing: no escape code moves the cursor, sets the window's title or
 * writes to the clipboard. Line ends of two characters become one.
 *
 * @example harmless('\x1b[2J') // '␛[2J'
 */
export function harmless(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(CONTROLS, (character) => {
    const code = character.charCodeAt(0)
    if (code < 0x20) return String.fromCharCode(0x2400 + code)
    return code === 0x7f ? '\u2421' : '\ufffd'
  })
}
