// Run as a child process by bad-files.test.ts: damages whole model folders bit by bit, loads each and
// generates from it. Prints a line for each outcome and how often it came; a crash shows as the end
// of the process. Arguments: a folder to work in, the seed, the number of cases.

import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadModel } from '../../lib/load-model.js'
import { seededIntegers } from '../unit/random.js'
import { outcomeOf } from './fuzz-outcome.js'

const [reference, folder, seed, cases] = process.argv.slice(2) as [string, string, string, string]
const random = seededIntegers(Number(seed))
const names = (await readdir(reference)).filter((name) => !/ops|README/.test(name))
const outcomes = new Map<string, number>()

for (let i = 0; i < Number(cases); i++) {
  const copy = join(folder, String(i))
  await mkdir(copy)
  await cp(join(reference, names[i % names.length]!), copy, { recursive: true })
  await rm(join(copy, 'golden.safetensors'))
  const files = await readdir(copy)
  const file = join(copy, files[random(files.length)]!)
  const bytes = await readFile(file)
  for (let flips = 1 + random(4); flips > 0; flips--) {
    // Half of the damage where the structure is: in the first kilobytes.
    const within = random(2) === 0 ? bytes.length : Math.min(bytes.length, 4096)
    bytes[random(within)]! ^= 1 << random(8)
  }
  await writeFile(file, bytes)
  const options = { device: 'cpu', threads: 1, cacheDir: folder } as const
  const outcome = await outcomeOf(copy, () => loadModel(copy, options))
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  await rm(copy, { recursive: true })
}
for (const [outcome, count] of outcomes) process.stdout.write(`${count} ${outcome}\n`)
