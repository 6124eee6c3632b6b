// The recipes of docs/recipes: the code on the pages is what is run, and what it prints is what they show.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Block, blocksOf, installedFolder, patternOf } from '../support/recipes.js'
import { ROOT } from '../support/child-process.js'

const execute = promisify(execFile)
const FOLDER = 'docs/recipes'
const RUN = ['script', 'chat', 'fork', 'classify', 'watch', 'convert', 'workers']
// Of processes that load a model, on a machine that does something else too.
const MINUTES = 120_000
const TYPES_ONLY = ['benchmark', 'electron']

const read = (name: string) => blocksOf(`${FOLDER}/${name}.md`)

/** Runs a block as a reader would; resolves to its standard output. */
async function outputOf({ language, text }: Block): Promise<string> {
  const { folder, path } = await installedFolder()
  const env = { ...process.env, PATH: path, NODE_NO_WARNINGS: '1' }
  const options = { cwd: folder, env, timeout: MINUTES }
  if (language === 'sh') return (await execute('sh', ['-c', text], options)).stdout
  await writeFile(join(folder, 'recipe.mjs'), text)
  return (await execute(process.execPath, ['recipe.mjs'], options)).stdout
}

describe('recipes', () => {
  it('are all on the list', async () => {
    const names = (await readdir(join(ROOT, FOLDER))).map((name) => name.replace('.md', '')).sort()
    expect(names).toEqual(['README', 'server', ...RUN, ...TYPES_ONLY].sort())
  })

  it.each(RUN)(
    '%s prints what it shows',
    async (name) => {
      const blocks = await read(name)
      expect(blocks.length % 2).toBe(0)
      for (let i = 0; i < blocks.length; i += 2) {
        const [code, shown] = [blocks[i]!, blocks[i + 1]!]
        expect([['js', 'sh'].includes(code.language), shown.language]).toEqual([true, 'text'])
        expect(await outputOf(code)).toMatch(patternOf(shown.text))
      }
    },
    MINUTES,
  )

  it(
    'server prints what it shows',
    async () => {
      const [command, code, shown] = (await read('server')) as [Block, Block, Block]
      const port = await freePort()
      const { folder, path } = await installedFolder()
      const server = command.text.replace('8080', port).replace(/ &\n$/, '')
      const child = spawn('sh', ['-c', `exec ${server}`], {
        cwd: folder,
        env: { ...process.env, PATH: path },
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      onTestFinished(() => void child.kill())
      await once(child.stdout, 'data') // the address
      const output = await outputOf({ ...code, text: code.text.replace('8080', port) })
      expect(output).toMatch(patternOf(shown.text))
      child.kill()
      await once(child, 'exit')
    },
    MINUTES,
  )
})

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return String(port)
}
