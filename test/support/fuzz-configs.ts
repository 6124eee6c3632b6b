// Run as a child process by bad-files.test.ts: gives values of the configuration of each fixture, or of the header of its
// weights, other ones, and loads it. Prints a line for each outcome and how often it came; a crash shows as the end of the
// process. Arguments: the folder of the fixtures, one to work in, the seed, the number of cases.

import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadModel } from '../../lib/load-model.js'
import { Memory } from '../../lib/operations/tensor.js'
import { seededIntegers } from '../unit/random.js'
import { outcomeOf } from './fuzz-outcome.js'

type Json = unknown
type Container = Record<string, Json> | Json[]

const [fixtures, folder, seed, cases] = process.argv.slice(2) as [string, string, string, string]
const draw = seededIntegers(Number(seed))
const pick = <T>(list: readonly T[]): T => structuredClone(list[draw(list.length)]!)

// Loading one of these models takes a few milliseconds and a few hundred kilobytes.
const MOST_MILLISECONDS = 10_000
const MOST_BYTES = 2 ** 28

const VALUES: readonly Json[] = [
  ...[
    -1,
    0,
    1,
    2,
    3,
    5,
    0.5,
    1e-320,
    1e308,
    -1e308,
    2 ** 24,
    2 ** 24 + 1,
    2 ** 31,
    2 ** 32,
    2 ** 53,
  ],
  ...[null, true, false, '', 'auto', '64', 'mamba', 'x'.repeat(10_000), [], [0], [null], {}],
  ...[{ __float__: 'NaN' }, { __float__: 'Infinity' }, { __float__: '-Infinity' }, [[[[[]]]]]],
]

/** Values like the one that was there. */
function similar(value: Json): Json {
  if (typeof value === 'number')
    return pick([-value, value + 1, value - 1, value * 2, value / 2, value / 3])
  if (typeof value === 'boolean') return !value
  if (typeof value === 'string') return pick([value.slice(1), `${value}s`, value.toUpperCase()])
  if (!Array.isArray(value)) return pick(VALUES)
  return pick([value.slice(1), [...value, ...value], value.toReversed(), [...value, pick(VALUES)]])
}

/** Every place of a value, however deep. */
function placesOf(container: Container): { container: Container; key: string }[] {
  return Object.entries(container).flatMap(([key, value]) => [
    { container, key },
    ...(typeof value === 'object' && value !== null ? placesOf(value as Container) : []),
  ])
}

function damage(json: Container): void {
  for (let changes = 1 + draw(3); changes > 0; changes--) {
    const places = placesOf(json)
    if (places.length === 0) return
    const { container, key } = places[draw(places.length)]!
    const values = container as Record<string, Json>
    const kind = draw(5)
    if (kind === 0) delete values[key]
    else values[key] = kind < 3 ? pick(VALUES) : similar(values[key])
  }
}

/** The header of a .safetensors file, damaged; what follows stays. */
async function damagedHeader(file: string): Promise<Buffer> {
  const bytes = await readFile(file)
  const end = 8 + Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.subarray(8, end).toString()) as Container
  damage(header)
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, bytes.subarray(end)])
}

async function damagedConfig(file: string): Promise<Buffer> {
  const text = await readFile(file, 'utf8')
  const config = JSON.parse(
    text.replace(/(?<!")Infinity/g, '{"__float__":"Infinity"}'),
  ) as Container
  damage(config)
  return Buffer.from(JSON.stringify(config))
}

let largest = 0
const { allocate } = Memory
Memory.allocate = (byteLength) => {
  largest = Math.max(largest, byteLength)
  return allocate.call(Memory, byteLength)
}

const names = (await readdir(fixtures)).filter((name) => !/ops|README/.test(name))
const outcomes = new Map<string, number>()
for (let i = 0; i < Number(cases); i++) {
  const source = join(fixtures, names[i % names.length]!)
  const copy = join(folder, `${seed}-${i}`)
  await mkdir(copy)
  const files = await readdir(source)
  const json = files.filter((file) => file === 'config.json' || file.endsWith('.safetensors'))
  const changeable = json.filter((file) => !file.startsWith('golden'))
  // Mostly configurations.
  const changed =
    changeable.includes('config.json') && draw(4) > 0 ? 'config.json' : pick(changeable)
  for (const file of files) {
    if (file.startsWith('golden')) continue
    if (file !== changed) await symlink(join(source, file), join(copy, file))
    else if (file === 'config.json')
      await writeFile(join(copy, file), await damagedConfig(join(source, file)))
    else await writeFile(join(copy, file), await damagedHeader(join(source, file)))
  }
  largest = 0
  const before = performance.now()
  let outcome = await outcomeOf(copy, () =>
    loadModel(copy, { device: 'cpu', threads: 1, cacheDir: folder }),
  )
  const time = performance.now() - before
  if (time > MOST_MILLISECONDS) outcome = `WRONG ${copy} took ${Math.round(time)} ms: ${outcome}`
  if (largest > MOST_BYTES) outcome = `WRONG ${copy} allocated ${largest} bytes: ${outcome}`
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  if (!outcome.startsWith('WRONG') || process.env.KEEP === undefined)
    await rm(copy, { recursive: true })
}
for (const [outcome, count] of outcomes) process.stdout.write(`${count} ${outcome}\n`)
