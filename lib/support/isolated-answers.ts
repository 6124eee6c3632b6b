// The other side of isolated-thread.ts: what its scripts are made of.

import { parentPort } from 'node:worker_threads'
import type { Reply } from './isolated-thread.js'

/**
 * Answers what an `IsolatedThread` asks, one request after another. What `answer` throws goes back by name and message.
 *
 * @example answerRequests((request: Request) => render(request))
 */
export function answerRequests<Request, Answer>(
  answer: (request: Request) => Answer | Promise<Answer>,
): void {
  const post = (reply: Reply<Answer>) => parentPort!.postMessage(reply)
  parentPort!.on('message', async (request: Request) => {
    try {
      post({ answer: await answer(request) })
    } catch (error) {
      const { name = 'Error', message = String(error) } = (error ?? {}) as Partial<Error>
      post({ error: { name, message } })
    }
  })
  post({ ready: true })
}
