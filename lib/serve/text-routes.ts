// POST /tokenize and /detokenize, as llama-server has them.

import { type Exchange, sendJson } from './exchange.js'
import { Fields } from './fields.js'
import { readJsonBody } from './json-body.js'
import { checkModelName } from './serving.js'

export async function tokenizeRoute({ request, response, serving }: Exchange): Promise<void> {
  const fields = new Fields(await readJsonBody(request, serving.settings.maxBody))
  checkModelName(fields.string('model'), serving)
  const content = fields.string('content')
  if (content === undefined) throw fields.wrong('content', 'a string', undefined)
  const addSpecialTokens = fields.boolean('add_special') ?? false
  const parseSpecial = fields.boolean('parse_special') ?? true
  const withPieces = fields.boolean('with_pieces') ?? false
  fields.end()
  await serving.model.use(async ({ tokenizer }) => {
    const ids = [...tokenizer!.encode(content, { addSpecialTokens, parseSpecial })]
    const piece = (id: number) => tokenizer!.decode([id], PIECE)
    const tokens = withPieces ? ids.map((id) => ({ id, piece: piece(id) })) : ids
    sendJson(response, 200, { tokens })
  })
}

export async function detokenizeRoute({ request, response, serving }: Exchange): Promise<void> {
  const fields = new Fields(await readJsonBody(request, serving.settings.maxBody))
  checkModelName(fields.string('model'), serving)
  const tokens = fields.list('tokens')
  const isId = (token: unknown) => Number.isSafeInteger(token) && (token as number) >= 0
  if (!tokens?.every(isId)) throw fields.wrong('tokens', 'a list of token ids', tokens)
  fields.end()
  await serving.model.use(async ({ tokenizer, config }) => {
    const most = config.vocabSize - 1
    if ((tokens as number[]).some((token) => token > most)) {
      throw fields.wrong('tokens', `a list of token ids up to ${most}`, tokens)
    }
    sendJson(response, 200, { content: tokenizer!.decode(tokens as number[], PIECE) })
  })
}

const PIECE = { skipSpecialTokens: false, keepLeadingSpace: true } as const
