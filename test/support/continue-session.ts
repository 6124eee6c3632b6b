// Goes on from a saved session, in a process of its own: MODEL FILE OPTIONS, prints JSON.

import { loadModel } from '../../lib/index.js'
import { fingerprint } from './session-cases.js'

const [folder, file, options] = process.argv.slice(2)
const model = await loadModel(folder!, { device: 'cpu' })
const session = await model.loadSession(file!)
const before = await fingerprint(session)
const { tokens } = await session.generate([17, 4], JSON.parse(options!))
console.log(
  JSON.stringify({ before, tokens, after: await fingerprint(session), position: session.position }),
)
model.dispose()
