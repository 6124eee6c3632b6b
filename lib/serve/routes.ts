// Which path is answered by what.

import { ApiError } from './api-error.js'
import { chatRoute } from './chat-route.js'
import { completionsRoute } from './completions-route.js'
import type { Exchange } from './exchange.js'
import { healthRoute, metricsRoute, modelRoute, modelsRoute } from './model-routes.js'
import { pageRoute } from './page-routes.js'
import { responsesRoute } from './responses-route.js'
import { detokenizeRoute, tokenizeRoute } from './text-routes.js'

export interface Route {
  /** For metrics: a few names, whatever clients ask for. */
  readonly name: string
  readonly method: 'GET' | 'POST'
  /** Asks for no key. */
  readonly isOpen?: true
  readonly answer: (exchange: Exchange) => Promise<void>
}

const get = (name: string, answer: Route['answer']): Route => ({ name, method: 'GET', answer })
const post = (name: string, answer: Route['answer']): Route => ({ name, method: 'POST', answer })
const open = (name: string, answer: Route['answer']): Route => ({
  ...get(name, answer),
  isOpen: true,
})

const ROUTES = new Map(
  [
    post('/v1/chat/completions', chatRoute),
    post('/v1/completions', completionsRoute),
    post('/v1/responses', responsesRoute),
    get('/v1/models', modelsRoute),
    post('/tokenize', tokenizeRoute),
    post('/detokenize', detokenizeRoute),
    get('/metrics', metricsRoute),
    open('/health', healthRoute),
    open('/', pageRoute('index.html', 'html')),
    open('/page.css', pageRoute('page.css', 'css')),
    open('/page.js', pageRoute('page.js', 'js')),
  ].map((route: Route) => [route.name, route]),
)

const ONE_MODEL = get('/v1/models/', modelRoute)

/** The route of a path, which has to match to the letter. Throws a 404, or a 405 for another method. */
export function routeOf(method: string | undefined, path: string): Route {
  const route = ROUTES.get(path) ?? (path.startsWith(ONE_MODEL.name) ? ONE_MODEL : undefined)
  if (!route) {
    const known = [...ROUTES.keys()].join(', ')
    throw new ApiError(404, `there is no such path: this server has ${known}`, {
      code: 'unknown_url',
    })
  }
  if (method === route.method || (method === 'HEAD' && route.method === 'GET')) return route
  throw new ApiError(405, `${route.name} is for ${route.method} requests`, {
    headers: { allow: route.method === 'GET' ? 'GET, HEAD' : 'POST' },
  })
}
