// Where a checkpoint has its chat templates. They lie beside the tokenizer, in one of three kinds of files.

import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { CorruptFileError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import { messageOf } from '../support/realms.js'
import { isMissing, readSmallFile } from '../support/small-file.js'
import { describe, isObject, readJsonObject } from '../tokenizer/json-file.js'

/** The largest published ones have about 20 kB. */
export const LARGEST_TEMPLATE = 1024 * 1024
const MOST_TEMPLATES = 64

/** Templates by name; the usual one is called `default`. */
export type Templates = ReadonlyMap<string, string>

export interface FoundTemplates {
  templates: Templates
  /** The file that has them. */
  source: string
}

/**
 * The templates in `folder`, as transformers finds them: in `chat_template.jinja` and `additional_chat_templates/*.jinja`,
 * else in `tokenizer_config.json`, else in `chat_template.json`. A file that cannot be used is left out with a
 * notice.
 */
export async function readTemplates(
  folder: string,
  onNotice?: OnNotice,
): Promise<FoundTemplates | undefined> {
  for (const read of [
    readTexts,
    readConfig('tokenizer_config.json'),
    readConfig('chat_template.json'),
  ]) {
    try {
      const found = await read(folder)
      if (found && found.templates.size > 0) return found
    } catch (error) {
      onNotice?.({
        code: 'FILE_NOT_USED',
        message: `the chat template is not used: ${messageOf(error)}`,
      })
    }
  }
  return undefined
}

async function readTexts(folder: string): Promise<FoundTemplates | undefined> {
  const templates = new Map<string, string>()
  const source = join(folder, 'chat_template.jinja')
  const text = readSmallFile(source, LARGEST_TEMPLATE)
  if (text !== undefined) templates.set('default', text)
  const others = join(folder, 'additional_chat_templates')
  for (const file of await filesOf(others)) {
    if (!file.endsWith('.jinja')) continue
    if (templates.size >= MOST_TEMPLATES) {
      throw new CorruptFileError(`${others}: has more than ${MOST_TEMPLATES} templates`)
    }
    const other = readSmallFile(join(others, file), LARGEST_TEMPLATE)
    if (other !== undefined) templates.set(basename(file, '.jinja'), other)
  }
  return { templates, source: text === undefined ? others : source }
}

async function filesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

function readConfig(name: string) {
  return async (folder: string): Promise<FoundTemplates | undefined> => {
    const source = join(folder, name)
    const value = (await readJsonObject(source))?.chat_template
    if (value === undefined || value === null) return undefined
    if (typeof value === 'string') {
      return { templates: new Map([['default', checked(value, source)]]), source }
    }
    const wrong = (part: unknown): never => {
      throw new CorruptFileError(
        `${source}: chat_template must be a text or a list of { name, template } but has ${describe(part)}`,
      )
    }
    if (!Array.isArray(value) || value.length > MOST_TEMPLATES) return wrong(value)
    const templates = value.map((part: unknown): [string, string] => {
      if (!isObject(part)) return wrong(part)
      const { name, template } = part
      if (typeof name !== 'string' || typeof template !== 'string') return wrong(part)
      return [name, checked(template, source)]
    })
    return { templates: new Map(templates), source }
  }
}

function checked(template: string, source: string): string {
  if (template.length <= LARGEST_TEMPLATE) return template
  throw new CorruptFileError(
    `${source}: chat_template must have at most ${LARGEST_TEMPLATE} characters but has ${template.length}`,
  )
}
