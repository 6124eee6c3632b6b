// Renders chat templates with transformers, which it installs from PyPI into a place of its own.

import { execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder } from '../../lib/machine/cache-folder.js'
import type { ChatMessage } from '../../lib/chat/messages.js'

// Expected texts are theirs: another version may mean other texts.
const PACKAGES = ['transformers==5.24.0', 'jinja2==3.1.6', 'numpy==2.4.6']

export interface Case {
  messages: ChatMessage[]
  add_generation_prompt: boolean
  tools: object[] | null
  documents: object[] | null
  arguments: Record<string, unknown>
  /** What transformers made of it: a text, what the template said by raise_exception, or what failed. */
  text?: string
  refusal?: string
  error?: string
}

export interface Renders extends Head {
  templates: Rendered[]
}

/** What all of them have in common. */
export interface Head {
  by: string
  /** For `new Date(...now)`. */
  now: [number, number, number, number, number, number]
  specialTokens: Record<string, string>
}

export interface Rendered {
  name: string
  template: string
  cases: Case[]
}

/** Random conversations with each template in a folder, and what transformers makes of them. */
export function rendersOf(
  place: string,
  { count, seed }: { count: number; seed: number },
): Renders {
  return JSON.parse(runPython('render.py', [place, String(count), String(seed)])) as Renders
}

/** What a script of this folder prints. */
export function runPython(script: string, args: readonly string[]): string {
  return execFileSync(python(), [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

function python(): string {
  const folder = join(cacheFolder() ?? tmpdir(), 'transformers-5.24.0')
  const program = join(folder, 'bin/python')
  if (existsSync(join(folder, 'complete'))) return program
  rmSync(folder, { recursive: true, force: true })
  execFileSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' })
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES]
  execFileSync(program, install, { stdio: 'inherit' })
  execFileSync(program, ['-c', `open(${JSON.stringify(join(folder, 'complete'))}, 'w').close()`])
  return program
}
