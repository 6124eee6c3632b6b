// Which requests a connection carries. Clients may send several before the first is answered; when one goes away, all end.

import type { Socket } from 'node:net'

/** A request under way, as its connection sees it. */
export interface Carried {
  /** The connection was lost before all of the answer was sent. */
  lost(): void
}

/**
 * @example
 * const connections = new Connections()
 * server.on('connection', (socket) => connections.add(socket))
 * connections.begin(socket, { lost: () => controller.abort() })
 */
export class Connections {
  readonly #requests = new Map<Socket, Set<Carried>>()
  #isDraining = false

  add(socket: Socket): void {
    this.#requests.set(socket, new Set())
    socket.once('close', () => {
      // By the socket: the answer to a request that waits for an earlier one knows nothing of it yet.
      for (const request of this.#requests.get(socket) ?? []) request.lost()
      this.#requests.delete(socket)
    })
  }

  begin(socket: Socket, request: Carried): void {
    this.#requests.get(socket)?.add(request)
  }

  /** The answer has been sent, or never will be. */
  end(socket: Socket, request: Carried): void {
    const requests = this.#requests.get(socket)
    requests?.delete(request)
    // The time for reading this answer is not that for making the next one.
    if (requests && requests.size > 0) socket.setTimeout(0)
    if (this.#isDraining && requests?.size === 0) socket.destroySoon()
  }

  /** Closes those without a request, among them what has sent nothing yet, and each other one behind its last answer. */
  drain(): void {
    this.#isDraining = true
    for (const [socket, requests] of this.#requests) if (requests.size === 0) socket.destroy()
  }
}
