// npm run compare-templates -- FOLDER: published chat templates here and in transformers (docs/chat.md).

import { ChatTemplate } from '../../lib/chat/chat-template.js'
import { isSame, renderCase } from './same.js'
import { rendersOf } from './transformers.js'

async function main(place: string | undefined, count = '200', seed = '1'): Promise<void> {
  if (place === undefined) {
    console.error('usage: npm run compare-templates -- FOLDER [COUNT] [SEED]')
    process.exitCode = 2
    return
  }
  const { by, now, specialTokens, templates } = rendersOf(place, {
    count: Number(count),
    seed: Number(seed),
  })
  console.log(`${by}, ${count} conversations a template, seed ${seed}`)
  const total = { equal: 0, different: 0 }
  for (const { name, template: text, cases } of templates) {
    const template = new ChatTemplate(text, { specialTokens, now: () => new Date(...now) })
    const results = []
    for (const one of cases) results.push({ one, here: await renderCase(template, one) })
    const different = results.filter(({ one, here }) => !isSame(here, one))
    const texts = cases.filter((one) => one.text !== undefined).length
    total.equal += cases.length - different.length
    total.different += different.length
    console.log(
      `${name}: ${cases.length - different.length} equal (${texts} texts), ${different.length} different`,
    )
    for (const { one, here } of different.slice(0, 3)) {
      const { text, refusal, error, ...given } = one
      console.log(`  there: ${JSON.stringify({ text, refusal, error }).slice(0, 2000)}`)
      console.log(`  here:  ${JSON.stringify(here).slice(0, 2000)}`)
      console.log(`  of:    ${JSON.stringify(given).slice(0, 2000)}`)
    }
  }
  console.log(`in all ${total.equal} equal, ${total.different} different`)
  process.exitCode = total.different > 0 ? 1 : 0
}

await main(...(process.argv.slice(2) as [string?]))
