// What quantisation costs: bits per byte of a text under a float model, as it is and quantised on load
// to 8 and 4 bits in groups of 32, 64 and 128. Beside them what general compressors need, when they
// are installed (Debian: xz-utils, zstd).
//
//   npm run quality -- MODEL TEXT [--variants float32,8/64,4/64] [--bytes N]

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadModel } from '../../lib/load-model.js'
import type { AffineQuantization } from '../../lib/weights/formats/affine.js'
import { perplexity } from '../../lib/scoring/perplexity.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    variants: { type: 'string', default: 'float32,8/32,8/64,8/128,4/32,4/64,4/128' },
    bytes: { type: 'string' },
  },
})
const [path, file] = positionals
if (!path || !file) {
  console.error('Usage: npm run quality -- MODEL TEXT [--variants float32,8/64,4/64] [--bytes N]')
  process.exit(2)
}
const whole = readFileSync(file)
// Cut between two characters.
let end = Math.min(whole.length, Number(values.bytes ?? whole.length))
while (end < whole.length && (whole[end]! & 0xc0) === 0x80) end -= 1
const text = whole.subarray(0, end)

console.log(`${file}: ${text.length} bytes\n`)
console.log('weights | MB | bits per byte | against float32 | perplexity')
console.log('------- | --: | --: | --: | --:')
let float: number | undefined
for (const variant of values.variants.split(',')) {
  const [bits, groupSize] = variant.split('/').map(Number)
  const quantize = variant === 'float32' ? undefined : ({ bits, groupSize } as AffineQuantization)
  const model = await loadModel(path, { quantize, dtype: quantize ? 'auto' : 'float32' })
  const result = await perplexity(model, text.toString())
  if (variant === 'float32') float = result.bitsPerByte
  const change =
    float === undefined ? '' : `${((result.bitsPerByte / float - 1) * 100).toFixed(3)} %`
  const name = quantize ? `${bits} bits, groups of ${groupSize}` : variant
  console.log(
    `${name} | ${(model.weightBytes / 1e6).toFixed(2)} | ${result.bitsPerByte.toFixed(5)} | ${change} | ` +
      `${result.perplexity.toFixed(3)} ± ${result.perplexityError.toFixed(3)}`,
  )
  model.dispose()
}

console.log('\ncompressor | bits per byte')
console.log('---------- | --:')
for (const [program, ...args] of [
  ['xz', '-9e', '-c'],
  ['zstd', '-19', '--long', '-c'],
] as const) {
  try {
    const size = execFileSync(program, args, {
      input: text,
      maxBuffer: 2 ** 30,
      stdio: 'pipe',
    }).length
    console.log(
      `${program} ${args.slice(0, -1).join(' ')} | ${((8 * size) / text.length).toFixed(4)}`,
    )
  } catch (error) {
    console.log(`${program} | not run: ${(error as Error).message.split('\n')[0]}`)
  }
}
