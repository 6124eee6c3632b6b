// POST /v1/chat/completions

import { ChatForm } from './chat-form.js'
import { chatPrompt } from './chat-prompt.js'
import { chatRequest } from './chat-request.js'
import type { Exchange } from './exchange.js'
import { Fields } from './fields.js'
import { readJsonBody } from './json-body.js'
import { answerTexts } from './reply.js'
import { checkModelName } from './serving.js'
import { toolPlan } from './tools/tool-plan.js'

export async function chatRoute(exchange: Exchange): Promise<void> {
  const { request, serving } = exchange
  const { settings, model: served } = serving
  const fields = new Fields(await readJsonBody(request, settings.maxBody))
  checkModelName(fields.string('model'), serving)
  await served.use(async (model) => {
    const { maxTokens } = settings
    const { generationDefaults } = model
    const asked = chatRequest(fields, { maxTokens, generationDefaults })
    const { tools, messages, templateArguments, continues } = asked
    const plan = toolPlan(model, tools, asked.options.responseFormat)
    await answerTexts(exchange, model, {
      operation: 'chat',
      request: asked,
      choices: asked.n,
      prompts: async () => [
        await chatPrompt(model, { messages, templateArguments, plan, continues }),
      ],
      form: new ChatForm(model.tokenizer!, { logprobs: asked.logprobs, plan }),
    })
  })
}
