// The HTTP server: from a connection to a route, and from an error to a status.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isError } from '../support/realms.js'
import { ApiError, apiErrorOf } from './api-error.js'
import { answerClientError } from './client-error.js'
import { SlowReaderError } from './event-stream.js'
import { ClientGoneError, type Exchange, sendJson } from './exchange.js'
import { routeOf } from './routes.js'
import type { Serving } from './serving.js'

// What a client may take to send headers, and a whole request.
const HEADERS_MS = 10_000
const REQUEST_MS = 60_000
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
  readonly #running = new Set<AbortController>()

  constructor(serving: Serving) {
    this.#serving = serving
    this.#server = createServer(
      {
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
        connectionsCheckingInterval: 1000,
        keepAliveTimeout: 5000,
      },
      (request, response) => void this.#handle(request, response),
    )
    this.#server.maxConnections = MOST_CONNECTIONS
    this.#server.on('clientError', answerClientError)
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
    this.#server.closeIdleConnections()
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

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const serving = this.#serving
    const controller = new AbortController()
    this.#running.add(controller)
    const timer = setTimeout(() => {
      const seconds = serving.settings.totalTimeout
      controller.abort(new ApiError(504, `the request took longer than ${seconds} s`))
    }, 1000 * serving.settings.totalTimeout)
    response.once('close', () => {
      if (!response.writableFinished) controller.abort(new ClientGoneError())
      if (serving.isDraining) this.#server.closeIdleConnections()
    })
    const path = request.url!.split('?', 1)[0]!
    const exchange = { request, response, path, serving, controller }
    let route = 'other'
    try {
      route = await this.#answer(exchange)
    } catch (error) {
      this.#fail(exchange, error)
    } finally {
      clearTimeout(timer)
      this.#running.delete(controller)
      const isGone = controller.signal.reason instanceof ClientGoneError
      serving.metrics.countRequest(route, isGone ? 499 : response.statusCode)
    }
  }

  async #answer(exchange: Exchange): Promise<string> {
    const { request, response, path, serving } = exchange
    const { headers, method } = request
    const { access } = serving
    for (const [name, value] of Object.entries(HARDENING)) response.setHeader(name, value)
    access.checkPlace(headers)
    for (const [name, value] of Object.entries(access.corsHeaders(headers))) {
      response.setHeader(name, value)
    }
    if (method === 'OPTIONS' && headers.origin !== undefined) {
      response.writeHead(204, access.preflightHeaders(headers)).end()
      return 'preflight'
    }
    // On a connection from before.
    if (serving.isDraining) {
      const headers = { connection: 'close', 'retry-after': '1' }
      throw new ApiError(503, 'the server is shutting down', { headers })
    }
    const route = routeOf(method, path)
    if (!route.isOpen) access.checkKey(headers)
    await route.answer(exchange)
    return route.name
  }

  #fail({ request, response, serving, controller }: Exchange, thrown: unknown): void {
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
    else {
      response.write(`data: ${JSON.stringify(body)}\n\n`)
      response.end()
    }
  }
}

/** On all answers. */
const HARDENING = { 'x-content-type-options': 'nosniff' }
