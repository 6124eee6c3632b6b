// Writes what a Mac compiles for published models into a folder, a file for each text:
//   npm run kernel-texts -- <folder>
// Needs an addon with Metal's kernels, and no GPU: on a Mac the shipped one, elsewhere that of
// test/metal-device (SSM_METAL_ADDON).
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  ACTIVATIONS,
  PUBLISHED,
  publishedKernels,
  WEIGHTS,
  type WeightsName,
} from '../test/metal-device/published-kernels.js'

const folder = process.argv[2]
if (!folder) {
  console.error('usage: npm run kernel-texts -- <folder>')
  process.exit(2)
}
mkdirSync(folder, { recursive: true })
const known = new Set<string>()
for (const shape of Object.values(PUBLISHED)) {
  for (const weights of Object.keys(WEIGHTS) as WeightsName[]) {
    for (const activations of ACTIVATIONS) {
      const kernels = await publishedKernels(shape, weights, activations)
      for (const { kernel, text } of Object.values(kernels).flat()) {
        if (known.has(text)) continue
        known.add(text)
        writeFileSync(join(folder, `${kernel}-${known.size}.metal`), text)
      }
    }
  }
}
console.log(`${known.size} texts in ${folder}`)
