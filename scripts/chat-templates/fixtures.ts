// npm run chat-template-fixtures: writes what transformers makes of the templates in test/fixtures/chat-templates.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rendersOf } from './transformers.js'

const folder = fileURLToPath(new URL('../../test/fixtures/chat-templates', import.meta.url))
const { templates, ...head } = rendersOf(folder, { count: 20, seed: 7 })

// One case a line, for differences to be read.
const lines = templates.map(({ name, template, cases }) => {
  const texts = cases.map((one) => JSON.stringify(one)).join(',\n')
  return `{"name": ${JSON.stringify(name)}, "template": ${JSON.stringify(template)}, "cases": [\n${texts}\n]}`
})
const text = `{"head": ${JSON.stringify(head)},\n"templates": [\n${lines.join(',\n')}\n]}\n`
writeFileSync(join(folder, 'expected.json'), text)
console.log(`${templates.length} templates by ${head.by}`)
