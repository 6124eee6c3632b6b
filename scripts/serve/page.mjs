// Drives the page of a running server in headless Chromium: node page.mjs URL FOLDER. Types, sees text arrive, stops it, goes
// on, and leaves screenshots for desktop and phone, light and dark. Exit code 1 for what axe-core finds. It needs
// packages that are no dependencies: npm install --no-save @sparticuz/chromium puppeteer-core axe-core

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import chromium from '@sparticuz/chromium'
import puppeteer from 'puppeteer-core'

const [url, folder] = process.argv.slice(2)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const executablePath = await chromium.executablePath()
const browser = await puppeteer.launch({ args: chromium.args, executablePath, headless: 'shell' })
const page = await browser.newPage()
const wrong = []
page.on('console', (message) => wrong.push(message.text()))
page.on('pageerror', (error) => wrong.push(error.message))

const hasStatus = (text) =>
  page.waitForFunction((text) => document.getElementById('status').textContent === text, {}, text)
const hasText = (length) =>
  page.waitForFunction(
    (length) => document.querySelector('.assistant .text')?.textContent.length > length,
    {},
    length,
  )

for (const [device, width, height] of [
  ['desktop', 1200, 800],
  ['phone', 390, 844],
]) {
  for (const scheme of ['light', 'dark']) {
    await page.setViewport({ width, height })
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    await page.goto(url)
    await page.waitForFunction(() => document.title !== 'ssm-metal')
    await page.focus('#input')
    await page.keyboard.type('Tell me about the sea')
    await page.keyboard.press('Enter')
    await hasText(80)
    await page.keyboard.press('Escape')
    await hasStatus('Stopped.')
    const length = await page.$eval('.assistant .text', (text) => text.textContent.length)
    await page.click('#continue')
    await hasText(length + 20)
    await page.click('#stop')
    await hasStatus('Stopped.')
    await page.screenshot({ path: join(folder, `${device}-${scheme}.png`) })
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => globalThis.axe.run())
    wrong.push(...violations.map(({ id, impact }) => `${device} ${scheme}: ${id} (${impact})`))
  }
}
await browser.close()
for (const message of wrong) console.error(message)
if (wrong.length > 0) process.exitCode = 1
