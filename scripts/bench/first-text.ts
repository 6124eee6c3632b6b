// Time from the start of a process to the first text of the built-in model, in a folder where the packed
// package was just installed with install scripts blocked. Installing is not counted.
//   npm run first-text -- [-r 5] [--tarball ssm-metal-0.1.0.tgz]

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { thisHost } from '../../lib/addon/host.js'
import { prebuiltPath } from '../../lib/addon/load.js'
import { formatDuration } from '../../lib/support/format.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { values } = parseArgs({
  options: {
    repetitions: { type: 'string', short: 'r', default: '5' },
    tarball: { type: 'string' },
  },
})
const repetitions = Number(values.repetitions)
if (!Number.isInteger(repetitions) || repetitions < 1) {
  throw new RangeError(`[first-text] -r must be a positive integer but is ${values.repetitions}`)
}

const folder = mkdtempSync(join(tmpdir(), 'ssm-metal-first-text-'))
try {
  await measureIn(folder)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measureIn(folder: string): Promise<void> {
  install(folder, values.tarball ? resolve(values.tarball) : pack(folder))
  const installed = join(folder, 'node_modules/ssm-metal')
  const cli = join(installed, 'dist/cli.js')
  writeFileSync(
    join(folder, 'first.js'),
    `import { loadModel } from 'ssm-metal'
     const model = await loadModel()
     for await (const { text } of model.stream('The old man looked at the sea')) process.stdout.write(text)`,
  )
  const addon = addonOf(installed, cli)
  const rows: [string, string[]][] = [
    ['a program of three lines', [join(folder, 'first.js')]],
    ['ssm-metal generate', [cli, 'generate', '-p', 'The old man looked at the sea']],
  ]
  console.log(`from the start of the process to the first text, ${addon}:`)
  for (const [what, words] of rows) {
    // The first start of a new user: what is kept from one process to the next is not there yet.
    const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') }
    rmSync(env.XDG_CACHE_HOME, { recursive: true, force: true })
    const times: number[] = []
    for (let i = 0; i < repetitions; i++) times.push(await timeToText(words, env))
    const [first, ...others] = times.map((time) => formatDuration(time))
    console.log(`  ${what}: ${first} at the first start; ${others.join(', ')} after that`)
  }
}

/** Packs this clone; returns the tarball. */
function pack(folder: string): string {
  const words = ['pack', '--json', '--pack-destination', folder]
  const output = execFileSync('npm', words, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 2],
  })
  return join(folder, JSON.parse(output.slice(output.indexOf('[\n')))[0].filename)
}

function install(folder: string, tarball: string): void {
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  const words = ['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball]
  execFileSync('npm', words, { cwd: folder, stdio: ['ignore', 2, 2] })
}

/** Which addon the installed package loads. One without a prebuilt binary borrows what this clone compiled. */
function addonOf(installed: string, cli: string): string {
  const path = prebuiltPath(installed, thisHost())
  let origin = ''
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true })
    copyFileSync(join(root, 'build/Release/ssm.node'), path)
    origin = ' (compiled in this clone: `npm run prebuilds` makes what is published)'
  }
  const facts = JSON.parse(
    execFileSync(process.execPath, [cli, 'info', '--json'], { encoding: 'utf8' }),
  )
  return `${facts.addon}${origin}, Node ${facts.node}, ${facts.processor}`
}

/** Milliseconds from the start of a Node process until it writes to standard output; ends it then. */
async function timeToText(words: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const start = performance.now()
  const child = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  let time = Number.NaN
  child.stdout.once('data', () => {
    time = performance.now() - start
    child.kill()
  })
  await once(child, 'close')
  if (Number.isNaN(time)) throw new Error(`[first-text] no text came: ${errors}`)
  return time
}
