// The AI SDK and OpenAI's client need Node 22: their tests run there, whatever Node the others run on.

import { join } from 'node:path'
import { ForksPoolWorker, type PoolRunnerInitializer } from 'vitest/node'
import { fetchPackage } from '../package/package-managers.js'

const VERSION = '22.23.5'
const isNewEnough = Number(process.versions.node.split('.')[0]) >= 22

/** Whether there is one: this one, or one of the npm registry, where those for Linux are packages without scripts. */
export const HAS_NODE_22 = isNewEnough || process.platform === 'linux'

/** Its program, fetched once for this clone. */
async function node22(): Promise<string> {
  if (isNewEnough) return process.execPath
  const name = `node-linux-${process.arch}`
  return join(await fetchPackage(name, VERSION), name, 'bin/node')
}

/** Before the first worker, which has little time to start. */
export async function setup(): Promise<void> {
  await node22()
}

class Worker extends ForksPoolWorker {
  override readonly name = 'node-22'

  override async start(): Promise<void> {
    const program = await node22()
    const own = process.execPath
    // What `fork` takes, which is called before `start` first waits for something.
    process.execPath = program
    const started = super.start()
    process.execPath = own
    await started
  }
}

/** Forks of Node 22. */
export const NODE_22: PoolRunnerInitializer = {
  name: 'node-22',
  createPoolWorker: (options) => new Worker(options),
}
