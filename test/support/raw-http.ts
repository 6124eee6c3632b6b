// HTTP as it is sent: what no client library would send, and what comes back.

import { connect, type Socket } from 'node:net'
import { once } from 'node:events'

export interface RawAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

/** A connection that is written to by hand. */
export class RawConnection {
  readonly socket: Socket
  #received = ''
  #isOver = false

  constructor(url: string) {
    const { hostname, port } = new URL(url)
    // Half-open, so that the server's end is seen and ours is our own.
    this.socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    this.socket.setEncoding('latin1')
    this.socket.on('error', () => {})
    this.socket.on('data', (text: string) => {
      this.#received += text
    })
    const over = () => {
      this.#isOver = true
    }
    this.socket.once('end', over)
    this.socket.once('close', over)
  }

  /** Writes; resolves when it is with the system, or the connection is gone. */
  send(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.socket.write(data, () => resolve()))
  }

  /** All that has come so far. */
  get received(): string {
    return this.#received
  }

  /** Resolves when what has come matches; rejects when nothing more comes. */
  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#received)) {
      if (this.#isOver) throw new Error(`ended after ${JSON.stringify(this.#received)}`)
      await Promise.race([once(this.socket, 'data'), once(this.socket, 'close')])
    }
  }

  /** The answers, when the server has ended the connection. */
  async answers(): Promise<RawAnswer[]> {
    if (!this.#isOver) await Promise.race([once(this.socket, 'end'), once(this.socket, 'close')])
    this.socket.destroy()
    return parseAnswers(this.#received)
  }
}

/** What a connection is told that sends this and waits. */
export async function exchangeRaw(url: string, sent: string | Uint8Array): Promise<RawAnswer[]> {
  const connection = new RawConnection(url)
  await connection.send(sent)
  return connection.answers()
}

/** Answers one behind another, each with the length that it names, in chunks, or to the end. */
export function parseAnswers(received: string): RawAnswer[] {
  const answers: RawAnswer[] = []
  let rest = received
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) throw new Error(`no answer: ${JSON.stringify(rest.slice(0, 200))}`)
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
    if (!status) throw new Error(`no status: ${JSON.stringify(first)}`)
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    rest = rest.slice(end + 4)
    const length = status === 100 ? 0 : Number(headers['content-length'] ?? rest.length)
    answers.push({ status, headers, body: rest.slice(0, length) })
    rest = rest.slice(length)
  }
  return answers
}

/** A request's head, and its body with its length. */
export function rawRequest(
  line: string,
  { headers = {}, body = '' }: { headers?: Record<string, string>; body?: string } = {},
): string {
  const all: Record<string, string> = { host: 'localhost', ...headers }
  if (body !== '') {
    all['content-type'] ??= 'application/json'
    all['content-length'] ??= String(Buffer.byteLength(body))
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${line}\r\n${lines.join('')}\r\n${body}`
}
