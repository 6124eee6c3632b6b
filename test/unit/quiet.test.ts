// Nothing in the library writes to the terminal: whoever uses it gets notices, and only the command line prints.

import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT } from '../support/child-process.js'

const execute = promisify(execFile)

/** What of a TypeScript text could write to the terminal. */
function writesOf(text: string): string[] {
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && /^(console|emitWarning|deprecate|debuglog)$/.test(node.text)) {
      found.push(node.text)
    }
    if (ts.isIdentifier(node) && /^std(out|err)$/.test(node.text)) {
      // Those of a child process, and of an error that tells how one ended, are not ours.
      const { parent } = node
      const isOther =
        ts.isPropertyAccessExpression(parent) && /^child$|error/.test(parent.expression.getText())
      if (!isOther && !ts.isPropertySignature(parent)) found.push(parent.getText())
    }
    // Their child writes where this process does, unless it is told otherwise.
    if (
      ts.isCallExpression(node) &&
      /^(exec|execFile|spawn)Sync$/.test(node.expression.getText())
    ) {
      if (!/\bstdio\b/.test(node.getText())) found.push(node.getText())
    }
    if (
      ts.isStringLiteralLike(node) &&
      /^(inherit|overlapped|\/dev\/(tty|std(out|err)))$/.test(node.text)
    ) {
      found.push(node.text)
    }
    if (
      ts.isCallExpression(node) &&
      /\b(write|writev|writeSync|writevSync|openSync)$/.test(node.expression.getText())
    ) {
      const [first] = node.arguments
      if (first && /^[12]$/.test(first.getText())) found.push(node.getText())
    }
    if (
      ts.isPropertyAssignment(node) &&
      node.name.getText() === 'stdio' &&
      /\b[12]\b/.test(node.initializer.getText())
    ) {
      found.push(node.getText())
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('text.ts', text, ts.ScriptTarget.Latest, true))
  return found
}

async function sources(folder: string, ending: RegExp): Promise<string[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true })
  return names.filter((name) => ending.test(name)).map((name) => join(folder, name))
}

it.each([
  "console.log('x')",
  'globalThis.console.error(x)',
  'process.stdout.write(x)',
  "import { stderr } from 'node:process'",
  'const { stderr: s } = process',
  "process.emitWarning('x')",
  'writeSync(2, x)',
  "fork(file, [], { stdio: 'inherit' })",
  "fork(file, [], { stdio: ['ignore', 2, 'pipe'] })",
  "createWriteStream('/dev/tty')",
  "execFileSync('sysctl', ['-n', 'x'])",
])('the search finds %s', (text) => {
  expect(writesOf(text)).not.toEqual([])
})

it('no file of the library writes to the terminal', async () => {
  const files = (await sources('lib', /\.ts$/)).filter((name) => !/^lib\/cli[./]/.test(name))
  expect(files.length).toBeGreaterThan(80)
  const found = await Promise.all(
    files.map(async (name) =>
      writesOf(await readFile(join(ROOT, name), 'utf8')).map((what) => `${name}: ${what}`),
    ),
  )
  expect(found.flat()).toEqual([])
})

it('nor does the addon', async () => {
  const files = await sources('native', /\.(cpp|h|mm)$/)
  expect(files.length).toBeGreaterThan(80)
  const pattern =
    /\b(std::c(out|err|log)|f?printf|f?puts|putchar|perror|NSLog|os_log\w*|syslog|dprintf)\b/
  expect('std::fprintf(stderr, "x")').toMatch(pattern)
  for (const name of files) {
    const code = (await readFile(join(ROOT, name), 'utf8')).replaceAll(/\/\/.*$/gm, '')
    expect(code, name).not.toMatch(pattern)
  }
})

it('a program that uses it prints what it prints itself', async () => {
  const { NODE_NO_WARNINGS: _, ...env } = process.env
  const program = join(ROOT, 'test/support/quiet-program.ts')
  const { stdout, stderr } = await execute(process.execPath, ['--import', 'tsx', program], {
    cwd: ROOT,
    env: { ...env, XDG_CACHE_HOME: await temporaryFolder() },
  })
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual(['TUNING_IGNORED', 'DEFAULT_MODEL', 'DEFAULT_MODEL'])
})
