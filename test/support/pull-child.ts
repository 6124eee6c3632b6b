// Fetches a repository into a cache and prints the folder; for tests that kill it on the way. Words: name, cache.

import { fetchSnapshot } from '../../lib/hub/fetch.js'

const [name, cache] = process.argv.slice(2)
const snapshot = await fetchSnapshot(
  { kind: 'model', name: name!, revision: 'main' },
  async (names) => names,
  { cache: cache! },
).catch((error: Error) => {
  process.stderr.write(`${error.name}: ${error.message}\n`)
  process.exit(1)
})
process.stdout.write(`${snapshot}\n`)
