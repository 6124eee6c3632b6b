// Uses the library as a program does, where it has something to say: the built-in model, files of its own that are
// damaged, errors, an abort, a process of its own. Only the last line that it prints is its own.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  bench,
  createDevice,
  loadModel,
  type Notice,
  perplexity,
  Tokenizer,
} from '../../lib/index.js'
import { ownCacheFile } from '../../lib/machine/cache-folder.js'
import { savedTuningPath, usableSavedTuning } from '../../lib/operations/saved-tuning.js'

mkdirSync(dirname(savedTuningPath()), { recursive: true })
writeFileSync(savedTuningPath(), '{')
writeFileSync(ownCacheFile('checks.json'), '{')

const notices: Notice[] = []
const onNotice = (notice: Notice) => void notices.push(notice)

// Without anybody who listens, and with.
usableSavedTuning()
usableSavedTuning(onNotice)
for (const options of [{}, { onNotice }]) {
  await using model = await loadModel(undefined, { device: 'cpu', ...options })
  await model.generate('The old man', { maxTokens: 3 })
  for await (const _ of model.stream('The old man', { logprobs: 2 })) break
  await perplexity(model, 'The old man looked at the sea.')
  const signal = AbortSignal.abort()
  await model.generate('The', { signal }).catch(() => {})
  await model.generate('', {}).catch(() => {})
  await model.logits([1e9]).catch(() => {})
}
await loadModel('no/such-model').catch(() => {})
await Tokenizer.fromFile(savedTuningPath()).catch(() => {})
{
  using device = createDevice('cpu', { threads: 1 })
  try {
    device.record(async () => {})
  } catch {}
}
await bench({ promptTokens: [4], generationTokens: [2], repetitions: 1, device: 'cpu', onNotice })
process.stdout.write(JSON.stringify(notices.map(({ code }) => code)))
