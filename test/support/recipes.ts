// Code of documentation, as programs that have the package installed.

import { readFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from './checkpoints.js'
import { ROOT } from './child-process.js'
import { programWords } from './compiled.js'

/** A fenced block of a page. */
export interface Block {
  language: string
  text: string
}

/** The fenced blocks of a page, in their order. */
export async function blocksOf(page: string): Promise<Block[]> {
  const text = await readFile(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: language!,
    text: text!,
  }))
}

/** A folder of somebody who has installed the package: it can be imported, and its command be called. */
export async function installedFolder(): Promise<{ folder: string; path: string }> {
  const folder = await temporaryFolder()
  const [modules, bin] = [join(folder, 'node_modules'), join(folder, 'bin')]
  const installed = join(modules, 'ssm-metal')
  await mkdir(installed, { recursive: true })
  await mkdir(bin)
  const [cli] = programWords(join(ROOT, 'lib/cli.ts'))
  await symlink(join(cli!, '..'), join(installed, 'lib'))
  const exported = { name: 'ssm-metal', type: 'module', exports: './lib/index.js' }
  await writeFile(join(installed, 'package.json'), JSON.stringify(exported))
  await symlink(join(ROOT, 'node_modules/openai'), join(modules, 'openai'))
  for (const name of ['models', 'LICENSE']) await symlink(join(ROOT, name), join(folder, name))
  const command = `#!/bin/sh\nexec '${process.execPath}' '${cli}' "$@"\n`
  await writeFile(join(bin, 'ssm-metal'), command, { mode: 0o755 })
  return { folder, path: `${bin}:${process.env.PATH}` }
}

/**
 * What an output must match to be the one that a page shows: `…` is what differs from run to run, and numbers with a
 * point, and the spaces that they are aligned with, depend on the processor.
 */
export function patternOf(shown: string): RegExp {
  const escaped = shown.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const loose = escaped
    .replaceAll('…', '[^\\n]*')
    .replace(/\d+\\\.\d+/g, '\\d+\\.\\d+')
    .replace(/(\\\+|-)(?=\\d)/g, '[+-]')
    .replace(/ +/g, ' +')
    .replace(/-{3,}:?/g, '-+:?')
  return new RegExp(`^${loose}$`)
}
