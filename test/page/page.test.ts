// The server's page in a browser: SSM_METAL_SCREENSHOTS=FOLDER leaves pictures of it.

/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="dom.asynciterable" />

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'
import { metric, serverForTest, startServer, type TestServer } from '../support/serving.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { FIXTURES } from '../support/checkpoints.js'
import { axe, type Browser, type Page, startBrowser } from './browser.js'

const PICTURES = process.env.SSM_METAL_SCREENSHOTS

let browser: Browser
let server: TestServer
let page: Page
/** What the browser has complained of. */
let complaints: string[]
beforeAll(async () => {
  ;[browser, server] = await Promise.all([startBrowser(), startServer({ maxTokens: 4096 })])
  // What unpacks the browser the first time.
}, 120_000)
afterAll(async () => {
  await browser?.close()
  await server?.stop()
})
beforeEach(async () => {
  page = await browser.newPage()
  complaints = []
  page.on('console', (message) => void complaints.push(message.text()))
  // The same text each time, which does not end by itself.
  await page.evaluateOnNewDocument(() => {
    const send = globalThis.fetch
    globalThis.fetch = (url, init) => {
      const more = { seed: 1, logit_bias: { 0: -100 } }
      if (typeof init?.body !== 'string') return send(url, init)
      return send(url, { ...init, body: JSON.stringify({ ...JSON.parse(init.body), ...more }) })
    }
  })
  page.on('pageerror', (error) => void complaints.push(error.message))
})
afterEach(async () => {
  await page.close()
})

async function open({ url }: { url: string } = server): Promise<void> {
  await page.goto(url)
  await page.waitForFunction(() => document.title !== 'ssm-metal')
}

const textOf = (selector: string) =>
  page.$eval(selector, ({ textContent }) => textContent as string)
const answers = () =>
  page.evaluate(() =>
    [...document.querySelectorAll('.assistant .text')].map(({ textContent }) => textContent!),
  )
const untilStatus = (text: string) =>
  page.waitForFunction(
    (text: string) => document.getElementById('status')!.textContent === text,
    {},
    text,
  )
/** Resolves when the last answer has more than so many characters. */
const untilLonger = (length: number) =>
  page.waitForFunction(
    (length: number) =>
      ([...document.querySelectorAll('.assistant .text')].at(-1)?.textContent ?? '').length >
      length,
    {},
    length,
  )

/** Into what has the focus. */
async function say(text: string): Promise<void> {
  await page.keyboard.type(text)
  await page.keyboard.press('Enter')
}

/** Goes by Tab to the element with this id. */
async function tabTo(id: string): Promise<void> {
  for (let i = 0; i < 12; i++) {
    if ((await page.evaluate(() => document.activeElement?.id)) === id) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`no Tab leads to ${id}`)
}

describe('by keyboard alone', () => {
  it('a text is asked for, streams, is stopped, and goes on', async () => {
    await open()
    await say('Tell me about the sea')
    await untilLonger(20)
    const early = (await answers())[0]!
    await untilLonger(early.length + 40)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    const stopped = (await answers())[0]!
    expect(stopped.startsWith(early)).toBe(true)
    while ((await metric(server, 'texts')) > 0);
    expect(await answers()).toEqual([stopped])

    await tabTo('continue')
    await page.keyboard.press('Enter')
    await untilLonger(stopped.length + 40)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    const [longer, ...others] = await answers()
    expect(others).toEqual([])
    expect(longer!.startsWith(stopped)).toBe(true)

    await tabTo('clear')
    await page.keyboard.press('Enter')
    expect(await answers()).toEqual([])
    expect(complaints).toEqual([])
  })

  it('Shift and Enter begin a line', async () => {
    await open()
    await page.keyboard.type('One')
    await page.keyboard.down('Shift')
    await page.keyboard.press('Enter')
    await page.keyboard.up('Shift')
    await page.keyboard.type('two')
    expect(await page.$eval('#input', ({ value }) => value)).toBe('One\ntwo')
    expect(await answers()).toEqual([])
  })
})

describe('figures', () => {
  it('come with the text, from its beginning on', async () => {
    await open()
    expect(await textOf('#state')).toMatch(/^\d+\.\d MiB$/)
    await say('The first question, with some words')
    await untilLonger(40)
    expect(Number(await textOf('#rate'))).toBeGreaterThan(1)
    expect(Number(await textOf('#prompt'))).toBeGreaterThan(5)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    await say('The second one')
    await page.waitForFunction(() => document.querySelectorAll('.assistant').length === 2)
    await untilLonger(5)
    // While it goes on.
    expect(await textOf('#status')).toBe('Working …')
    expect(Number(await textOf('#cached'))).toBeGreaterThan(5)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    expect(Number(await textOf('#answer'))).toBeGreaterThan(0)
    expect(complaints).toEqual([])
  })
})

describe('what is written', () => {
  const SCRIPT = '<script>document.title="x"</script><img src=x onerror=document.title="x">'

  it('stays text that a reader sees', async () => {
    await open()
    const title = await page.evaluate(() => document.title)
    await say(SCRIPT)
    await untilLonger(5)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    expect(await textOf('.user .text')).toBe(SCRIPT)
    expect(await page.evaluate(() => document.title)).toBe(title)
    expect(
      await page.evaluate(() => document.querySelectorAll('#log script, #log img').length),
    ).toBe(0)
    expect(complaints).toEqual([])
  })

  it('stays text where the model writes it, after a text without a chat template', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(FIXTURES, 'tokenizer-250'))
    // No token twice.
    const said = '<img src=x>'
    const folder = await temporaryFolder()
    await writeScriptedModel(folder, [...tokenizer.encode('yz'), ...tokenizer.encode(said)])
    const scripted = await serverForTest(
      { maxTokens: tokenizer.encode(said).length },
      { chatTemplate: undefined },
      folder,
    )
    await open(scripted)
    expect(await textOf('#label')).toBe('Text to go on from')
    await say('yz')
    await untilStatus('The answer has reached its limit.')
    expect(await answers()).toEqual([said])
    expect(await page.evaluate(() => document.querySelectorAll('#log img').length)).toBe(0)
    expect(complaints).toEqual([])
  })

  it('could not run if it were no text', async () => {
    await open()
    const blocked = await page.evaluate(async () => {
      const violation = new Promise<string>((resolve) => {
        document.addEventListener('securitypolicyviolation', (event) =>
          resolve(event.violatedDirective),
        )
      })
      const script = document.createElement('script')
      script.textContent = 'globalThis.hasRun = true'
      document.body.append(script)
      return [await violation, 'hasRun' in globalThis]
    })
    expect(blocked).toEqual(['script-src-elem', false])
    const fetched = await page.evaluate(() =>
      fetch('https://example.com').then(
        () => 'read',
        () => 'blocked',
      ),
    )
    expect(fetched).toBe('blocked')
  })
})

describe('what goes wrong', () => {
  it('a key is asked for, and used', async () => {
    const guarded = await serverForTest({ apiKey: 'the-key' })
    await page.goto(guarded.url)
    await page.waitForFunction(() => !document.getElementById('access')!.hidden)
    expect(await textOf('#status')).toContain('API key')
    await say('wrong')
    await page.waitForFunction(() =>
      document.getElementById('status')!.textContent!.includes('wrong'),
    )
    await page.$eval('#key', (key) => key.select())
    await say('the-key')
    await page.waitForFunction(() => document.title === 'rene-tiny')
    await say('Hello')
    await untilLonger(5)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
  })

  it('a question that is refused is there to be asked again', async () => {
    const small = await serverForTest({ maxTokens: 4096 }, { maxStreams: 1, maxQueue: 0 })
    const busy = new AbortController()
    const body = { prompt: 'Once', max_tokens: 4096, stream: true, logit_bias: { 0: -100 } }
    await small.post('/v1/completions', body, { signal: busy.signal })
    await open(small)
    await say('Is there room?')
    await page.waitForFunction(() => document.getElementById('status')!.className === 'wrong')
    expect(await textOf('#status')).toContain('busy')
    expect(await page.$eval('#input', ({ value }) => value)).toBe('Is there room?')
    expect(await page.evaluate(() => document.querySelectorAll('.turn').length)).toBe(0)
    busy.abort()
    while ((await metric(small, 'texts')) > 0);
    await page.keyboard.press('Enter')
    await untilLonger(5)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
  })
})

describe.each([
  ['desktop', { width: 1200, height: 800 }],
  ['phone', { width: 360, height: 740, hasTouch: true, isMobile: true }],
])('on a %s', (device, size) => {
  it.each(['light', 'dark'])('it can be read, %s', async (scheme) => {
    await page.setViewport(size)
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    await open()
    await expectAccessible(`${device}-${scheme}-empty`)
    await page.focus('#input')
    const code = 'def f(x):\n    return x'
    await page.$eval(
      '#input',
      (input, text) => {
        input.value = text
      },
      `What is this?\n\n${code}\n\n${'long'.repeat(60)}`,
    )
    await page.keyboard.press('Enter')
    await untilLonger(600)
    // In the middle of a text, with a button that can be pressed and two that cannot.
    await expectAccessible(`${device}-${scheme}-working`)
    await page.keyboard.press('Escape')
    await untilStatus('Stopped.')
    await tabTo('continue')
    await expectAccessible(`${device}-${scheme}-stopped`)
    // As large as the window is while a keyboard is shown.
    await page.setViewport({ ...size, height: 320 })
    await page.focus('#input')
    await expectAccessible(`${device}-${scheme}-low`)
    expect(complaints).toEqual([])
  })
})

/** Nothing is cut off, and axe-core finds nothing. */
async function expectAccessible(name: string): Promise<void> {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}.png`) })
  // A window of another size takes a moment.
  await expect
    .poll(() => page.evaluate(layout), { message: name, timeout: 10_000 })
    .toEqual({ isTooWide: false, isTooHigh: false, isCovered: false, hasLog: true })
  await page.evaluate(axe())
  const { violations } = await page.evaluate<
    [],
    { violations: { id: string; nodes: { html: string }[] }[] }
  >('axe.run()')
  expect(
    violations.map(({ id, nodes }) => [id, nodes[0]?.html]),
    name,
  ).toEqual([])
}

/** Runs in the page. */
function layout() {
  const box = (id: string) => document.getElementById(id)!.getBoundingClientRect()
  const { scrollWidth, scrollHeight, clientWidth, clientHeight } = document.documentElement
  return {
    isTooWide: scrollWidth > clientWidth,
    isTooHigh: scrollHeight > clientHeight,
    isCovered: box('send').bottom > innerHeight || box('input').top < 0,
    hasLog: box('log').height > 40,
  }
}
