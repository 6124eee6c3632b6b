// Chat templates of the project's own, which use what published ones do, against what transformers made of them
// (npm run chat-template-fixtures).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ChatTemplate } from '../../lib/chat/chat-template.js'
import { isSame, renderCase } from '../../scripts/chat-templates/same.js'
import type { Head, Rendered } from '../../scripts/chat-templates/transformers.js'
import { ROOT } from '../support/child-process.js'

const folder = join(ROOT, 'test/fixtures/chat-templates')
const { head, templates } = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as {
  head: Head
  templates: Rendered[]
}
const templateOf = (text: string) =>
  new ChatTemplate(text, {
    specialTokens: head.specialTokens,
    now: () => new Date(...head.now),
  })

// Of the fixtures: what @huggingface/jinja cannot read, or has no place here. They must fail, not differ.
const isMissing = ({ template }: Rendered) => template.includes('{# not implemented #}')
const files = templates.filter(({ name }) => name.endsWith('.jinja'))
const expressions = templates.filter((one) => !files.includes(one) && !isMissing(one))

describe.each(files)('$name', ({ name, template, cases }) => {
  it('is the template that was rendered', () => {
    expect(readFileSync(join(folder, name), 'utf8')).toBe(template)
  })

  it('gives what transformers does', async () => {
    expect(cases.filter((one) => one.text !== undefined).length).toBeGreaterThan(2)
    for (const one of cases) {
      const here = await renderCase(templateOf(template), one)
      if (!isSame(here, one)) expect({ ...here, of: one.messages }).toEqual({ ...one })
    }
  })
})

describe('expressions', () => {
  it('are those of the file', () => {
    const lines = templates.filter((one) => !files.includes(one)).map(({ template }) => template)
    const text = readFileSync(join(folder, 'expressions.txt'), 'utf8')
    expect(`${lines.join('\n')}\n`).toBe(text)
  })

  it.each(expressions)('$template', async ({ template, cases }) => {
    const [one] = cases
    const here = await renderCase(templateOf(template), one!)
    if (!isSame(here, one!)) {
      const { text, refusal, error } = one!
      expect(here).toEqual({ text, refusal, error })
    }
  })

  it.each(templates.filter(isMissing))('$template is an error', async ({ template, cases }) => {
    expect(cases[0]!.text).toBeDefined()
    expect(await renderCase(templateOf(template), cases[0]!)).toEqual({
      error: expect.stringMatching(/cannot be used for this conversation: /),
    })
  })
})
