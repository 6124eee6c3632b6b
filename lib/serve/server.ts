// The HTTP server: from a connection to a route, and from an error to a status.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isError } from '../support/realms.js'
import { ApiError, apiErrorOf } from './api-error.js'
import { answerClientError, refuse } from './client-error.js'
import { Connections } from './connections.js'
import { SlowReaderError } from './event-stream.js'
import { ClientGoneError, type Exchange, sendJson } from './exchange.js'
import { type Route, routeOf } from './routes.js'
import type { Serving } from './serving.js'
import { targetOf } from './target.js'

/** What a client may take to send a request, in milliseconds. */
export interface Arrival {
  readonly headersMs: number
  /** Headers and body. */
  readonly requestMs: number
}

const ARRIVAL: Arrival = { headersMs: 10_000, requestMs: 60_000 }
const MOST_CONNECTIONS = 1024

/**
 * Listens, answers, and stops without cutting anything off.
 *
 * @example
 * const server = new HttpServer(serving)
 * const url = await server.listen('127.0.0.1', 8080)
 * await server.stop()
 */
export class HttpServer {
  readonly #serving: Serving
  readonly #server: Server
  readonly #connections = new Connections()
  readonly #running = new Set<AbortController>()

  constructor(serving: Serving, { headersMs, requestMs } = ARRIVAL) {
    this.#serving = serving
    const server = createServer({
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(1000, headersMs / 2),
      keepAliveTimeout: 5000,
      // `targetOf` says what is missing.
      requireHostHeader: false,
    })
    server.maxConnections = MOST_CONNECTIONS
    server.on('connection', (socket) => this.#connections.add(socket))
    server.on('clientError', answerClientError)
    server.on('request', (...both) => this.#handle(...both))
    // Asks before it sends the body.
    server.on('checkContinue', (...both) => this.#handle(...both, { isWaiting: true }))
    server.on('checkExpectation', ({ headers }, response) => {
      const message = `Expect may be 100-continue only, and is ${JSON.stringify(headers.expect)}`
      sendJson(response, 417, new ApiError(417, message).body, { connection: 'close' })
    })
    server.on('connect', (_, socket) => {
      refuse(socket, new ApiError(405, 'this is no proxy', { headers: { allow: 'GET, POST' } }))
    })
    this.#server = server
  }

  /** Resolves with the URL when connections are accepted. */
  async listen(host: string, port: number): Promise<string> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
    const { address, family, port: own } = server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${own}`
  }

  /** Takes no more requests; resolves when those under way have ended, of which `drainTimeout` ends what is left. */
  async stop(): Promise<void> {
    const serving = this.#serving
    serving.isDraining = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#connections.drain()
    const timer = setTimeout(() => {
      for (const controller of this.#running) {
        controller.abort(new ApiError(503, 'the server is shutting down'))
      }
      // Whoever does not take that either is cut off.
      setTimeout(() => this.#server.closeAllConnections(), 1000).unref()
    }, 1000 * serving.settings.drainTimeout)
    await closed
    clearTimeout(timer)
  }

  #handle(request: IncomingMessage, response: ServerResponse, { isWaiting = false } = {}): void {
    const controller = new AbortController()
    const { socket } = request
    const carried = { lost: () => controller.abort(new ClientGoneError()) }
    this.#connections.begin(socket, carried)
    response.once('close', () => {
      if (!response.writableFinished) carried.lost()
      this.#connections.end(socket, carried)
    })
    void this.#run({ request, response, controller, serving: this.#serving }, isWaiting)
  }

  /** Never rejects. */
  async #run(asked: Asked, isWaiting: boolean): Promise<void> {
    const { response, serving, controller } = asked
    const { totalTimeout, idleTimeout } = serving.settings
    const timer = setTimeout(() => {
      controller.abort(new ApiError(504, `the request took longer than ${totalTimeout} s`))
    }, 1000 * totalTimeout)
    this.#running.add(controller)
    let name = 'other'
    try {
      const { path, route } = this.#admit(asked, isWaiting)
      name = route.name
      await this.#answer({ ...asked, path }, route, isWaiting)
    } catch (error) {
      this.#fail(asked, error)
    } finally {
      clearTimeout(timer)
      this.#running.delete(controller)
      const isGone = controller.signal.reason instanceof ClientGoneError
      serving.metrics.countRequest(name, isGone ? 499 : response.statusCode)
      // The end of an answer that nobody reads.
      if (!response.writableFinished) response.setTimeout(1000 * idleTimeout)
    }
  }

  /** The route of a request from where requests may come from. */
  #admit(
    { request, response, serving }: Asked,
    isWaiting: boolean,
  ): { path: string; route: Route } {
    const { headers, method } = request
    const { access } = serving
    for (const [name, value] of Object.entries(HARDENING)) response.setHeader(name, value)
    // Nobody knows whether the body that was announced will follow an error.
    if (isWaiting) response.setHeader('connection', 'close')
    const { path, host } = targetOf(request)
    access.checkPlace(host, headers)
    for (const [name, value] of Object.entries(access.corsHeaders(headers))) {
      response.setHeader(name, value)
    }
    if (method === 'OPTIONS' && headers.origin !== undefined) return { path, route: PREFLIGHT }
    // On a connection from before.
    if (serving.isDraining) {
      const headers = { connection: 'close', 'retry-after': '1' }
      throw new ApiError(503, 'the server is shutting down', { headers })
    }
    return { path, route: routeOf(method, path) }
  }

  async #answer(exchange: Exchange, route: Route, isWaiting: boolean): Promise<void> {
    const { request, response, serving } = exchange
    if (!route.isOpen) serving.access.checkKey(request.headers)
    if (isWaiting && Number(request.headers['content-length'] ?? 0) <= serving.settings.maxBody) {
      response.removeHeader('connection')
      response.writeContinue()
    }
    await route.answer(exchange)
  }

  #fail({ request, response, serving, controller }: Asked, thrown: unknown): void {
    // Why all ended says more than what one of them was told.
    const { signal } = controller
    const error = signal.aborted ? signal.reason : thrown
    if (error instanceof ClientGoneError || error instanceof SlowReaderError) {
      response.destroy()
      return
    }
    const { status, body, headers } = apiErrorOf(error)
    if (status >= 500 && !(error instanceof ApiError)) {
      const details = isError(error) ? (error.stack ?? error.message) : String(error)
      serving.log(`${request.method} ${request.url?.slice(0, 200)}: ${details}`)
    }
    if (!response.headersSent) sendJson(response, status, body, headers)
    else if (!response.writableEnded) {
      response.write(`data: ${JSON.stringify(body)}\n\n`)
      response.end()
    }
  }
}

/** A request whose path is not known yet. */
type Asked = Omit<Exchange, 'path'>

/** On all answers. */
const HARDENING = { 'x-content-type-options': 'nosniff' }

/** What a browser asks before a page of another origin may send something. */
const PREFLIGHT: Route = {
  name: 'preflight',
  method: 'GET',
  isOpen: true,
  async answer({ request, response, serving }) {
    response.writeHead(204, serving.access.preflightHeaders(request.headers)).end()
  },
}
