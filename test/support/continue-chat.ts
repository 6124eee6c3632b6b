// Goes on with a saved chat, in a process of its own: FILE MESSAGE OPTIONS, prints JSON. The built-in model, without a
// prompt cache: what is reused is from the file.

import { loadModel, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'

const [file, message, options] = process.argv.slice(2)
const model = await loadModel(undefined, { promptCache: false })
const chat = model.createChat({ template: PLAIN_CHAT_TEMPLATE })
await chat.load(file!)
const before = chat.messages
const { tokens, text, usage } = await chat.send(message!, JSON.parse(options!))
console.log(JSON.stringify({ before, tokens, text, usage, after: chat.messages }))
chat.dispose()
model.dispose()
