// Streams text from a model:  npx tsx examples/generate.ts MODEL [PROMPT]
// In your own project, import from 'ssm-metal'.

import { loadModel } from '../lib/index.js'

const [path, prompt = 'Once upon a time'] = process.argv.slice(2)
await using model = await loadModel(path!)
for await (const { text } of model.stream(prompt, { maxTokens: 100, temperature: 0.8, seed: 1 })) {
  process.stdout.write(text)
}
process.stdout.write('\n')
