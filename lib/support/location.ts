// Where this package lies. The only place that asks, and not before somebody wants to know: code that a
// bundler has put into an application has neither the package's files nor, mostly, `import.meta.url`.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of this package; undefined when its code was bundled into another file. */
export function packageFolder(): string | undefined {
  const file = ownFile()
  return file === undefined ? undefined : dirname(dirname(dirname(file)))
}

/**
 * A script of this package: `.ts` in the repository, `.js` in the package; undefined in a bundle.
 *
 * @example scriptOf('bench/trial-process') // '.../node_modules/ssm-metal/dist/bench/trial-process.js'
 */
export function scriptOf(name: string): string | undefined {
  const file = ownFile()
  return file === undefined ? undefined : `${join(dirname(dirname(file)), name)}${extension(file)}`
}

/** Whether TypeScript runs as it is, which needs a loader in child processes too. */
export function isTypeScript(): boolean {
  return extension(ownFile() ?? '') === '.ts'
}

/** The file that this code was bundled into, for messages; undefined where it was not, or nothing tells. */
export function bundleFile(): string | undefined {
  const file = ownFile() === undefined ? codeFile() : undefined
  return file !== undefined && existsSync(file) ? file : undefined
}

/**
 * The `require` of a file. Not by an import of `createRequire`, whose calls webpack takes for its own.
 *
 * @example requireFrom('/app/main.js').resolve('tsx')
 */
export function requireFrom(file: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(file)
}

/**
 * What to do about a package that was bundled.
 *
 * @example `the built-in model is not there. ${KEEP_EXTERNAL}`
 */
export const KEEP_EXTERNAL =
  'keep ssm-metal external, and ship node_modules with it beside the bundle: ' +
  '`--external:ssm-metal` for esbuild, `externals: { "ssm-metal": "commonjs ssm-metal" }` for webpack, ' +
  '`external: ["ssm-metal"]` for Rollup and Vite, `serverExternalPackages: ["ssm-metal"]` for Next.js ' +
  '(docs/bundling.md in the package has recipes, also for Electron and single executables)'

/**
 * The path under which the system finds a file. Electron keeps an application in one archive, `app.asar`, of
 * which only Node's own functions know; what the system must open lies in `app.asar.unpacked`. Other paths,
 * and those of files that were not unpacked, come back as they are.
 *
 * @example onDisk('/app.asar/m/model.safetensors') // '/app.asar.unpacked/m/model.safetensors'
 */
export function onDisk(path: string): string {
  const unpacked = path.replace(ARCHIVE, '.asar.unpacked$1')
  return unpacked !== path && existsSync(unpacked) ? unpacked : path
}

/** Whether a path leads into an archive of Electron. */
export function isInArchive(path: string): boolean {
  return ARCHIVE.test(path)
}

const ARCHIVE = /\.asar([/\\])/

const extension = (file: string) => /\.[^.]*$/.exec(file)?.[0] ?? ''

/** This module's file, when it is where it belongs. */
function ownFile(): string | undefined {
  const file = codeFile()
  const isOurs =
    file !== undefined && /[/\\](lib|dist)[/\\]support[/\\]location\.(ts|js)$/.test(file)
  // webpack writes down where the file lay when the bundle was made.
  return isOurs && existsSync(file) ? file : undefined
}

/** The file that this code is in, if anything tells. */
function codeFile(): string | undefined {
  // Not `new URL('...', import.meta.url)`: bundlers take that for a file to copy.
  const url: string | undefined = import.meta.url
  if (url?.startsWith('file:')) return fileURLToPath(url)
  // In a bundle for CommonJS.
  return typeof __filename === 'string' ? __filename : undefined
}
