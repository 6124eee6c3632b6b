// Asks an isolated thread and is then done: node --import tsx test/support/ask-thread.ts [late]

import { IsolatedThread } from '../../lib/support/isolated-thread.js'
import type { Work } from './isolated-script.js'

const thread = new IsolatedThread<Work, { echo: unknown }>({
  script: '../test/support/isolated-script',
  maxMemoryMiB: 64,
})
const work: Work = process.argv[2] === 'late' ? { spin: true } : { echo: 'there' }
const answer = await thread.ask(work, 300).catch((error: Error) => ({ echo: error.message }))
console.log(answer.echo)
