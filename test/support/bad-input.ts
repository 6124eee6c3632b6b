// Damaged and hostile checkpoints: each must be an error that names the file and the part concerned,
// what was expected and what came.

import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import { copyOfFixture, type RawTensors, rewriteConfig, rewriteTensors } from './checkpoints.js'

export type ErrorClass = new (message: string) => Error
export type Config = Record<string, unknown>

/** What is done to a copy of a fixture, and what must come of it. */
export interface BadInput {
  what: string
  /** The name of the fixture. */
  of: string
  damage: (folder: string) => Promise<unknown>
  /** Defaults to `CorruptFileError`. */
  error?: ErrorClass
  /** In the message, besides what it says. */
  file: string
  says: RegExp
}

export const weights = 'model.safetensors'
export const config = 'config.json'

/** Rewrites a file of `folder`: `change` alters what it holds in place. */
type Rewrite<T> = (folder: string, rewrite: (contents: T) => T) => Promise<unknown>

const caseOf =
  <T>(file: string, rewrite: Rewrite<T>) =>
  (
    what: string,
    of: string,
    change: (contents: T) => unknown,
    says: RegExp,
    error?: ErrorClass,
  ): BadInput => ({
    what,
    of,
    damage: (folder) =>
      rewrite(folder, (contents) => {
        change(contents)
        return contents
      }),
    file,
    says,
    ...(error && { error }),
  })

/** Tensors that are wrong. */
export const tensorCase = caseOf<RawTensors>(weights, rewriteTensors)

/** A configuration that is wrong. */
export const configCase = caseOf<Config>(config, rewriteConfig)

/** Sets `key` of a configuration, such as `ssm_cfg.headdim`; undefined takes it out. */
export const set = (key: string, value: unknown) => (values: Config) => {
  const path = key.split('.')
  const inner = path.slice(0, -1).reduce((object, name) => object[name] as Config, values)
  if (value === undefined) delete inner[path.at(-1)!]
  else inner[path.at(-1)!] = value
}

/** Loading must fail with an error of this class whose message has all of `says`. */
export async function expectRefused(
  path: string,
  error: ErrorClass,
  ...says: (string | RegExp)[]
): Promise<void> {
  const caught: unknown = await loadModel(path, { device: 'cpu' }).then(
    () => undefined,
    (reason) => reason,
  )
  expect(caught).toBeInstanceOf(error)
  for (const text of says) {
    expect((caught as Error).message).toEqual(
      typeof text === 'string' ? expect.stringContaining(text) : expect.stringMatching(text),
    )
  }
}

/** A test for each case. */
export function describeRefused(name: string, cases: readonly BadInput[]): void {
  describe(name, () => {
    it.each(cases)('$what ($of)', async ({ of, damage, error, file, says }) => {
      const folder = await copyOfFixture(of)
      await damage(folder)
      await expectRefused(folder, error ?? CorruptFileError, join(folder, file), says)
    })
  })
}
