// The thread for what may take for ever: late, too large, thrown, in order, ended.

import { afterEach, describe, expect, it } from 'vitest'
import { IsolatedThread, ThreadLostError } from '../../lib/support/isolated-thread.js'
import { bundle } from '../support/bundle.js'
import { ROOT, runChild } from '../support/child-process.js'
import type { Work } from '../support/isolated-script.js'
import { execFileSync } from 'node:child_process'

interface Answer {
  echo: unknown
  asked: number
}

const threads: IsolatedThread<unknown, unknown>[] = []
afterEach(() => {
  for (const thread of threads.splice(0)) thread.dispose()
})

function start(maxMemoryMiB = 64): IsolatedThread<Work, Answer> {
  const script = '../test/support/isolated-script'
  const thread = new IsolatedThread<Work, Answer>({ script, maxMemoryMiB })
  threads.push(thread as IsolatedThread<unknown, unknown>)
  return thread
}

// Of a machine that does something else too; what is late on purpose has a shorter limit.
const AMPLE = 30_000

describe('an isolated thread', () => {
  it('answers one request after another, in order, on one thread', async () => {
    const thread = start()
    const waits = [30, 0, 10, 0]
    const order: number[] = []
    const answers = await Promise.all(
      waits.map(async (afterMs, index) => {
        const answer = await thread.ask({ echo: index, afterMs }, AMPLE)
        order.push(index)
        return answer
      }),
    )
    expect(answers).toEqual(waits.map((_, index) => ({ echo: index, asked: index + 1 })))
    expect(order).toEqual([0, 1, 2, 3])
    expect(thread.generation).toBe(1)
  })

  it('ends with what is late, and starts again for those who wait', async () => {
    const thread = start()
    await thread.ask({ echo: 'warm' }, AMPLE)
    const late = thread.ask({ spin: true }, 50)
    const next = thread.ask({ echo: 'next' }, AMPLE)
    await expect(late).rejects.toThrow(ThreadLostError)
    await expect(late).rejects.toThrow('it took longer than 50 ms')
    expect(await next).toEqual({ echo: 'next', asked: 1 })
    expect(thread.generation).toBe(2)
  })

  it('does not count the time that the thread takes to start', async () => {
    // Far less than a thread needs to be there.
    const thread = start()
    const answers = [thread.ask({ echo: 1 }, AMPLE), thread.ask({ echo: 2 }, AMPLE)]
    expect((await Promise.all(answers)).map(({ echo }) => echo)).toEqual([1, 2])
  })

  it('takes an answer that came while this thread was busy', async () => {
    const thread = start()
    await thread.ask({ echo: 'warm' }, AMPLE)
    // Where this thread goes on with its timers before it looks for messages.
    await new Promise((resolve) => setTimeout(resolve, 1))
    const answer = thread.ask({ echo: 'there' }, 100)
    const end = performance.now() + 500
    while (performance.now() < end);
    expect(await answer).toMatchObject({ echo: 'there' })
    expect(thread.generation).toBe(1)
  })

  it('ends with what needs too much memory', async () => {
    const thread = start(32)
    await expect(thread.ask({ allocate: true }, AMPLE)).rejects.toThrow(
      'it needed more than 32 MiB',
    )
    expect(await thread.ask({ echo: 'after' }, AMPLE)).toEqual({ echo: 'after', asked: 1 })
  })

  it('passes errors on by name and message, and goes on', async () => {
    const thread = start()
    const error = await thread
      .ask({ throws: { name: 'SomeError', message: 'so it is' } }, AMPLE)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ name: 'SomeError', message: 'so it is' })
    expect(await thread.ask({ echo: 1 }, AMPLE)).toEqual({ echo: 1, asked: 2 })
  })

  it('says when the script ended by itself', async () => {
    const thread = start()
    await expect(thread.ask({ exits: true }, AMPLE)).rejects.toThrow('its thread has ended')
    expect(await thread.ask({ echo: 1 }, AMPLE)).toMatchObject({ echo: 1 })
  })

  it('rejects what cannot be sent, also while the thread starts, and goes on', async () => {
    const thread = start()
    const unsendable = { echo: () => 1 }
    const first = thread.ask(unsendable, AMPLE)
    const second = thread.ask({ echo: 2 }, AMPLE)
    await expect(first).rejects.toThrow(/could not be cloned/)
    expect(await second).toMatchObject({ echo: 2 })
    await expect(thread.ask(unsendable, AMPLE)).rejects.toThrow(/could not be cloned/)
    expect(await thread.ask({ echo: 3 }, AMPLE)).toMatchObject({ echo: 3 })
    expect(thread.generation).toBe(1)
  })

  it('tells everybody who waits when it is disposed of', async () => {
    const thread = start()
    const waiting = [thread.ask({ spin: true }, AMPLE), thread.ask({ echo: 1 }, AMPLE)]
    thread.dispose()
    for (const one of waiting) await expect(one).rejects.toThrow(ThreadLostError)
    await expect(thread.ask({ echo: 2 }, AMPLE)).rejects.toThrow('the thread has ended')
    thread.dispose()
  })

  it('has nothing of the environment', async () => {
    const thread = start()
    expect(await thread.ask({ environment: true }, AMPLE)).toEqual({ env: {}, argv: [] })
  })

  it('fails for a script that is not there, again and again', async () => {
    const thread = new IsolatedThread<Work, Answer>({ script: 'no-such-script', maxMemoryMiB: 32 })
    threads.push(thread as IsolatedThread<unknown, unknown>)
    for (const _ of [1, 2]) {
      await expect(thread.ask({ echo: 1 }, AMPLE)).rejects.toThrow(/Cannot find module/)
    }
  })
})

describe('a process with an isolated thread', () => {
  it.each([
    ['answered', 'there'],
    ['late', 'it took longer than 300 ms'],
  ])('ends by itself: %s', async (how, says) => {
    const { code, stdout, stderr } = await runChild('test/support/ask-thread.ts', [how])
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${says}\n`, stderr: '' })
  })

  it('says what to do where the library was bundled', async () => {
    const program = `
      import { ChatTemplate } from 'ssm-metal'
      new ChatTemplate('x').render([{ role: 'user', content: 'y' }]).catch((error) => console.log(error.message))`
    const file = await bundle(program, 'esm')
    expect(execFileSync(process.execPath, [file], { cwd: ROOT, encoding: 'utf8' })).toMatch(
      /was bundled, and the script of its threads was not: keep ssm-metal external/,
    )
  })
})
