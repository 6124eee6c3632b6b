// The program of docs/ai-sdk.md, as it stands there but for where the package is.

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { ROOT } from '../support/child-process.js'

it('runs', async () => {
  const text = await readFile(join(ROOT, 'docs/ai-sdk.md'), 'utf8')
  const [, program] = /```js\n(.*?)```/s.exec(text)!
  const own = program!
    .replace("'ssm-metal/ai-sdk'", JSON.stringify(join(ROOT, 'lib/ai-sdk/index.ts')))
    .replace("'ssm-metal'", JSON.stringify(join(ROOT, 'lib/index.ts')))
  // Where it finds `ai`.
  const folder = join(ROOT, `build/documented-${process.pid}`)
  await mkdir(folder)
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'program.ts')
  await writeFile(file, own)
  let written = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((part) => {
    written += String(part)
    return true
  })
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  onTestFinished(() => void vi.restoreAllMocks())
  await import(file)
  expect(written.trim().length).toBeGreaterThan(20)
  expect(log).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.any(Number))
})
