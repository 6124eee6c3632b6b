// Chromium without a window, and as much of puppeteer's interface as the tests of the page use.

import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { BROWSER } from './environment.js'

export interface Page {
  goto(url: string): Promise<unknown>
  setViewport(size: {
    width: number
    height: number
    hasTouch?: boolean
    isMobile?: boolean
  }): Promise<void>
  emulateMediaFeatures(features: { name: string; value: string }[]): Promise<void>
  evaluate<Arguments extends unknown[], Value>(
    work: string | ((...given: Arguments) => Value | Promise<Value>),
    ...given: Arguments
  ): Promise<Value>
  evaluateOnNewDocument(work: () => void): Promise<unknown>
  waitForFunction<Arguments extends unknown[]>(
    work: string | ((...given: Arguments) => unknown),
    options?: object,
    ...given: Arguments
  ): Promise<unknown>
  $eval<Arguments extends unknown[], Value>(
    selector: string,
    // biome-ignore lint/suspicious/noExplicitAny: an element of any kind
    work: (element: any, ...given: Arguments) => Value,
    ...given: Arguments
  ): Promise<Value>
  click(selector: string): Promise<void>
  focus(selector: string): Promise<void>
  keyboard: {
    type(text: string): Promise<void>
    press(key: string): Promise<void>
    down(key: string): Promise<void>
    up(key: string): Promise<void>
  }
  screenshot(options: { path: string }): Promise<unknown>
  on(event: 'console', listener: (message: { text(): string }) => void): void
  on(event: 'pageerror', listener: (error: Error) => void): void
  close(): Promise<void>
}

export interface Browser {
  newPage(): Promise<Page>
  close(): Promise<void>
}

const browserRequire = createRequire(join(BROWSER, 'package.json'))

/** The text of axe-core, to be evaluated in a page. */
export const axe = (): string => readFileSync(browserRequire.resolve('axe-core/axe.min.js'), 'utf8')

/** @example const browser = await startBrowser() */
export async function startBrowser(): Promise<Browser> {
  const unpacked = join(BROWSER, 'unpacked')
  mkdirSync(unpacked, { recursive: true })
  const before = { ...process.env }
  // Where the package unpacks its files; and that libraries which a bare system lacks are to be among them.
  Object.assign(process.env, { TMPDIR: unpacked, AWS_LAMBDA_JS_RUNTIME: 'nodejs22.x' })
  try {
    const chromium = browserRequire('@sparticuz/chromium')
    const puppeteer = browserRequire('puppeteer-core')
    return await puppeteer.launch({
      executablePath: await chromium.executablePath(),
      // Root has no sandbox. Nothing else is turned off: the page's policy is what is tested.
      args: ['--no-sandbox', '--no-zygote', '--disable-gpu', '--font-render-hinting=none'],
      headless: 'shell',
    })
  } finally {
    for (const name of ['TMPDIR', 'AWS_LAMBDA_JS_RUNTIME', 'LD_LIBRARY_PATH']) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  }
}
