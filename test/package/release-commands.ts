// What the release workflow runs where it installs the tarball, for tests that run the same.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { ROOT } from '../support/child-process.js'

export function releaseCommands(): string[] {
  const { jobs } = parse(readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8'))
  return jobs.install.steps.flatMap(({ run }: { run?: string }) => run ?? [])
}
