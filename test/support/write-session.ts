// Writes a session file of many bytes to the path given, and prints the code of the error if there is one:
//   node --import tsx write-session.ts <path> <MiB>

import { writeSessionFile } from '../../lib/sessions/session-file.js'

const [path, size] = process.argv.slice(2)
const length = (Number(size) * 2 ** 20) / 4
const code = await writeSessionFile(path!, {
  model: { hash: 'f'.repeat(64), description: 'a model' },
  position: 0,
  consumed: undefined,
  fields: ['a', 'b'].map((name) => ({
    name,
    dtype: 'float32' as const,
    shape: [length / 2],
    data: new Uint8Array(new Float32Array(length / 2).fill(1).buffer),
  })),
}).then(
  () => 'written',
  (error) => error.code,
)
process.stdout.write(code)
