// A folder that appears under its name only when it is complete.

import { randomUUID } from 'node:crypto'
import { copyFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isMissing } from '../support/small-file.js'

/**
 * Makes a folder beside `path`, lets `write` fill it, and gives it its name. A failure leaves nothing; whoever kills the
 * process leaves a hidden folder with another name. Throws for a path where there is something, but for an empty folder.
 */
export async function writeNewFolder(
  path: string,
  write: (folder: string) => Promise<void>,
): Promise<void> {
  await checkFree(path)
  await mkdir(dirname(path), { recursive: true })
  const partial = join(dirname(path), `.${basename(path)}.${randomUUID()}.partial`)
  await mkdir(partial)
  try {
    await write(partial)
    // Again: converting takes long. An empty folder gives way.
    await checkFree(path)
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    throw error
  }
}

/** Throws where something is at `path`, but for an empty folder. */
export async function checkFree(path: string): Promise<void> {
  const found = await stat(path).catch((error) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (!found) return
  if (!found.isDirectory()) {
    throw new Error(`[convert] ${path} is there and no folder: name a new folder`)
  }
  const names = await readdir(path)
  if (names.length > 0) {
    throw new Error(
      `[convert] ${path} is not empty (${names[0]}): name a new folder, or remove this one first`,
    )
  }
}

// What belongs to a model besides its configuration and weights.
const COMPANIONS =
  /^(?:tokenizer.*\.json|tokenizer\.model|.*\.tiktoken|special_tokens_map\.json|added_tokens\.json|vocab\.(?:json|txt)|merges\.txt|chat_template\.(?:jinja|json)|generation_config\.json|LICENSE.*|NOTICE.*)$/i
const TEMPLATES = 'additional_chat_templates'

/** Copies a model's tokenizer, chat templates, generation settings and licence. */
export async function copyCompanions(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (COMPANIONS.test(name) && (await stat(join(from, name))).isFile()) {
      await copyFile(join(from, name), join(to, name))
    }
  }
  const templates = await readdir(join(from, TEMPLATES)).catch(() => [])
  if (templates.length === 0) return
  await mkdir(join(to, TEMPLATES))
  for (const name of templates.filter((each) => each.endsWith('.jinja'))) {
    await copyFile(join(from, TEMPLATES, name), join(to, TEMPLATES, name))
  }
}

/** Writes a file to the disk itself: a system may write down a folder's new name first. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}
