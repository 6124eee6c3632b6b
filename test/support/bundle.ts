// The library in one file, as the bundler of an application puts it there.

import { join } from 'node:path'
import { type BuildOptions, build } from 'esbuild'
import { ROOT } from './child-process.js'
import { temporaryFolder } from './checkpoints.js'

/** Bundles a program that imports `ssm-metal`, in a folder of its own; resolves to the file. */
export async function bundle(
  program: string,
  format: 'cjs' | 'esm',
  options: BuildOptions = {},
): Promise<string> {
  const outfile = join(await temporaryFolder(), `application.${format === 'cjs' ? 'cjs' : 'mjs'}`)
  await build({
    stdin: { contents: program, resolveDir: ROOT },
    alias: { 'ssm-metal': join(ROOT, 'lib/index.ts') },
    bundle: true,
    platform: 'node',
    format,
    target: 'node20.19',
    outfile,
    logLevel: 'error',
    ...options,
  })
  return outfile
}
