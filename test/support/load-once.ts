// Loads a model once, in a process of its own, and prints what became of it as one line of JSON:
//   node --import tsx load-once.ts <reference checkpoint> <device> [<checks after which onProgress throws>]

import { loadModel, type Notice } from '../../lib/index.js'
import { fixture } from './checkpoints.js'

const [name, device, most] = process.argv.slice(2)
const notices: Notice[] = []
const checks: string[] = []
const facts = await loadModel(fixture(name!), {
  device: device as 'auto' | 'cpu' | 'metal',
  onNotice: (notice) => notices.push(notice),
  onProgress: ({ phase, loaded, total }) => {
    if (phase === 'check') checks.push(`${loaded} of ${total}`)
    if (phase === 'check' && loaded === Number(most)) throw new Error('no more')
  },
}).then(
  async (model) => {
    const { tokens } = await model.generate([1, 2, 3, 4], { maxTokens: 3 })
    const { name: device, cpuLevel } = model.device
    model.dispose()
    return { device, cpuLevel, tokens }
  },
  ({ message, code, operation, error, limit }) => ({ message, code, operation, error, limit }),
)
process.stdout.write(`${JSON.stringify({ ...facts, notices, checks })}\n`)
