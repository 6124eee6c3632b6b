// The file of a task: a row a line.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isMissing } from '../support/small-file.js'
import { messageOf } from '../support/realms.js'
import { FORMATS, type TaskName, taskOf } from './formats.js'
import type { Item, Row } from './item.js'

export interface Task {
  name: TaskName
  items: Item[]
  /** SHA-256 of what was read, in hexadecimal digits. */
  hash: string
}

/**
 * Reads the rows of a file in JSON Lines. Labels may be in a file of their own beside it, as those of PIQA are:
 * `valid-labels.lst` for `valid.jsonl`.
 *
 * @throws Error led by the path, and the line, of what is wrong.
 */
export async function readTask(path: string, name: TaskName | undefined): Promise<Task> {
  const text = await readText(path)
  const hash = createHash('sha256').update(text)
  const rows = rowsOf(path, text)
  if (rows.length === 0) throw new Error(`${path}: has no rows`)
  if (rows.every(({ row }) => !('label' in row))) {
    const labels = await labelsBeside(path)
    if (labels !== undefined) {
      hash.update(labels)
      addLabels(path, rows, labels)
    }
  }
  const task = name ?? found(path, rows[0]!.row)
  const items = rows.map(({ row, line }) => {
    try {
      return FORMATS[task].item(row)
    } catch (error) {
      throw new Error(`${path}:${line}: as a row of ${task}: ${messageOf(error)}`)
    }
  })
  return { name: task, items, hash: hash.digest('hex') }
}

interface NumberedRow {
  row: Row
  line: number
}

function rowsOf(path: string, text: string): NumberedRow[] {
  return text.split('\n').flatMap((written, index) => {
    if (written.trim() === '') return []
    const line = index + 1
    let row: unknown
    try {
      row = JSON.parse(written)
    } catch (error) {
      throw new Error(`${path}:${line}: is no JSON: ${messageOf(error)}`)
    }
    if (typeof row === 'object' && row !== null && !Array.isArray(row)) {
      return [{ row: row as Row, line }]
    }
    throw new Error(`${path}:${line}: must be a JSON object in one line`)
  })
}

function found(path: string, row: Row): TaskName {
  try {
    return taskOf(row)
  } catch (error) {
    throw new Error(`${path}: ${messageOf(error)}`)
  }
}

async function labelsBeside(path: string): Promise<string | undefined> {
  try {
    return await readText(path.replace(/(\.jsonl)?$/, '-labels.lst'))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function addLabels(path: string, rows: NumberedRow[], text: string): void {
  const labels = text.split('\n').filter((line) => line.trim() !== '')
  if (labels.length !== rows.length) {
    throw new Error(`${path}: has ${rows.length} rows, and the file of labels ${labels.length}`)
  }
  for (const [i, each] of rows.entries()) each.row = { ...each.row, label: labels[i]!.trim() }
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Error(`${path}: is not a text in UTF-8`)
  }
}
