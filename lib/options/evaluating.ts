// Options of evaluating a model on the questions of a file, and their flags.

import { TASK_NAMES, type TaskName } from '../eval/formats.js'
import type { Signal } from '../support/abort.js'
import type { OptionTable } from '../support/option-table.js'

export interface EvaluateOptions {
  /** What the rows of the file are. Defaults to what their fields say. */
  task?: TaskName | undefined
  /** Examples before each question. Defaults to 0. */
  shots?: number | undefined
  /** The file that the examples are from, its first rows; of questions with subjects, its first of the same subject. */
  shotsFrom?: string | undefined
  /** Only so many questions, the first of the file. */
  limit?: number | undefined
  /** Tokens that a context and its continuation may have: longer ones are cut on the left. Defaults to the model's context. */
  maxLength?: number | undefined
  /** A file of results: what it has is not computed again, and what is new is appended to it. */
  results?: string | undefined
  signal?: Signal | undefined
  /** Called after each question. */
  onProgress?: ((progress: { questions: number; total: number }) => void) | undefined
}

export const EVALUATION = {
  task: {
    type: 'choice',
    choices: TASK_NAMES,
    description: 'what the rows are; by default what their fields say',
    flag: { name: 'task', placeholder: 'TASK' },
  },
  shots: {
    type: 'integer',
    min: 0,
    max: 1000,
    default: 0,
    description: 'examples before each question, with --shots-from',
    flag: { name: 'shots', saysDefault: true, hidesMaximum: true },
  },
  shotsFrom: {
    type: 'string',
    description: 'the file that the examples are from: its first rows (of the same subject)',
    flag: { name: 'shots-from', placeholder: 'FILE' },
  },
  limit: {
    type: 'integer',
    min: 1,
    description: 'only so many questions, the first of the file',
    flag: { name: 'limit' },
  },
  maxLength: {
    type: 'integer',
    min: 2,
    description: "cut contexts on the left to so many tokens; by default the model's context",
    flag: { name: 'max-length' },
  },
  results: {
    type: 'string',
    description: 'append results to FILE, and go on from those that it has',
    flag: { name: 'results', placeholder: 'FILE' },
  },
  signal: { type: 'signal', description: 'ends the call' },
  onProgress: { type: 'function', description: 'called after each question' },
} as const satisfies OptionTable<EvaluateOptions>
