// npm run tool-template-fixtures -- PLACE: writes what transformers makes of conversations with tools by published
// templates, which PLACE has (docs/chat.md).

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runPython } from './transformers.js'

const folder = fileURLToPath(new URL('../../test/fixtures/tool-templates', import.meta.url))
const [place] = process.argv.slice(2)
if (place === undefined) {
  console.error('usage: npm run tool-template-fixtures -- PLACE')
  process.exitCode = 2
} else {
  writeFileSync(join(folder, 'expected.json'), `${runPython('tools.py', [place, folder])}\n`)
}
