// GET /v1/models, /health and /metrics.

import { ApiError } from './api-error.js'
import { type Exchange, sendJson, sendText } from './exchange.js'
import { checkModelName, type Serving } from './serving.js'

/** The model, and what clients choose by. */
function describeModel({ name, created, model: { facts }, settings }: Serving): object {
  return {
    id: name,
    object: 'model',
    created,
    owned_by: 'ssm-metal',
    max_tokens: settings.maxTokens,
    ...(facts && {
      architecture: facts.architecture,
      device: facts.device,
      has_chat_template: facts.hasChatTemplate,
      state_bytes: facts.stateBytes,
      ...(facts.maxContext !== undefined && { max_context: facts.maxContext }),
    }),
  }
}

export async function modelsRoute({ response, serving }: Exchange): Promise<void> {
  sendJson(response, 200, { object: 'list', data: [describeModel(serving)] })
}

/** One model by its name, which may have slashes. */
export async function modelRoute({ response, serving, path }: Exchange): Promise<void> {
  let name: string
  try {
    name = decodeURIComponent(path.slice('/v1/models/'.length))
  } catch {
    throw new ApiError(400, 'the path is not encoded as it must be')
  }
  checkModelName(name, serving)
  sendJson(response, 200, describeModel(serving))
}

/** Whether requests are answered; says nothing about the model, for it asks for no key. */
export async function healthRoute({ response }: Exchange): Promise<void> {
  sendJson(response, 200, { status: 'ok' })
}

export async function metricsRoute({ response, serving }: Exchange): Promise<void> {
  const { metrics, model, gate } = serving
  const text = metrics.text(model.model, { texts: gate.taken })
  sendText(response, 200, 'text/plain; version=0.0.4; charset=utf-8', text)
}
