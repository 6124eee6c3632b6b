// A few questions of each dataset's form, made up: what evaluations are tested with.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TaskName } from '../../lib/eval/formats.js'
import { temporaryFolder } from './checkpoints.js'

type Rows = readonly Readonly<Record<string, unknown>>[]

const ai2 = (id: string, stem: string, texts: readonly string[], answerKey: string) => ({
  id,
  question: { stem, choices: texts.map((text, i) => ({ text, label: 'ABCD'[i] })) },
  answerKey,
})

const mmlu = (subject: string, question: string, choices: readonly string[], answer: number) => ({
  question,
  subject,
  choices,
  answer,
})

/** Rows of each task that has a form of its own. */
export const ROWS: Readonly<Record<Exclude<TaskName, 'plain' | 'cloze' | 'text'>, Rows>> = {
  copa: [
    {
      premise: 'The ship was late.',
      choice1: 'The wind was weak.',
      choice2: 'I ate bread.',
      question: 'cause',
      label: 0,
      idx: 0,
    },
    {
      premise: 'The boy opened the door. ',
      choice1: 'Night fell.',
      choice2: 'Snow came into the room.',
      question: 'effect',
      label: 1,
      idx: 1,
    },
    {
      premise: 'The dog barked.',
      choice1: 'It saw a cat.',
      choice2: 'It was a fish.',
      question: 'cause',
      label: 0,
      idx: 2,
    },
  ],
  winogrande: [
    {
      sentence: 'The boy gave the book to the man because _ had asked for it.',
      option1: 'the boy',
      option2: 'the man',
      answer: '2',
    },
    {
      sentence: 'The stone did not fit into the bag since the _ was too small .',
      option1: 'stone',
      option2: 'bag',
      answer: '2',
    },
    {
      sentence: 'Mary thanked Anna, for _ had been kind.',
      option1: 'Mary',
      option2: 'Anna',
      answer: '2',
    },
  ],
  piqa: [
    {
      goal: 'How to keep bread fresh?',
      sol1: 'Put it in a box.',
      sol2: 'Put it in the sea.',
      label: 0,
    },
    { goal: 'To open a door', sol1: 'push the wall', sol2: 'turn the handle and push', label: 1 },
    { goal: 'Light a fire in the rain', sol1: 'use dry wood and a cover', sol2: 'wait', label: 0 },
  ],
  hellaswag: [
    {
      ind: 1,
      activity_label: 'Making bread',
      ctx_a: 'A woman stands in a kitchen.',
      ctx_b: 'she',
      ctx: 'A woman stands in a kitchen. she',
      endings: [
        'takes flour and water.',
        'flies to the moon.',
        'is a stone in the river.',
        'sings  under water.',
      ],
      label: 0,
    },
    {
      ind: 2,
      activity_label: 'Home and Garden',
      ctx_a: 'How to grow a tree [header] Find a place. [title] Look for light.',
      ctx_b: '',
      ctx: '',
      endings: [
        '[step] Dig a hole in the earth.',
        'Eat the tree.',
        '[substeps] Go to sea.',
        'Buy a DOG',
      ],
      label: '0',
    },
    {
      ind: 3,
      activity_label: 'Sailing',
      ctx_a: 'The man is on a BOAT.',
      ctx_b: 'The Wind of ÉTÉ',
      ctx: '',
      endings: [
        'takes him out.',
        'reads.',
        'is a house.',
        'was made of bread, and of cheese, and of wine.',
      ],
      label: 3,
    },
  ],
  arc: [
    ai2('Mercury_1', 'What falls from clouds?', ['rain', 'stones', 'bread', 'houses'], 'A'),
    ai2('Mercury_2', 'Which of these swims?', ['a bird', 'a tree', 'a fish'], 'C'),
    {
      id: 'Mercury_3',
      question: 'What gives light in the day?',
      choices: { text: ['the moon', 'the sun'], label: ['1', '2'] },
      answerKey: '2',
    },
  ],
  openbookqa: [
    ai2('7-980', 'A plant needs', ['light and water', 'a hat', 'a boat', 'music'], 'A'),
    ai2('7-981', 'When it is cold, water becomes', ['fire', 'ice', 'bread', 'wood'], 'B'),
    {
      id: '7-982',
      question_stem: 'Birds have',
      choices: { text: ['wings', 'wheels'], label: ['A', 'B'] },
      answerKey: 'A',
    },
  ],
  mmlu: [
    mmlu(
      'high_school_geography',
      ' What is the largest of these?',
      ['a sea', 'a lake', 'a river', 'a cup'],
      0,
    ),
    mmlu('astronomy', 'The moon goes around', ['the sun', 'the earth', 'a house', 'a ship'], 1),
    mmlu('astronomy', 'How many moons has the earth?', ['one', 'two', 'three', 'none'], 0),
  ],
  lambada: [
    { text: 'The old man went down to the sea and took his boat' },
    { text: 'She opened the door, and there was the dog' },
    { text: "He said nothing, for there was nothing to say. 'Go,' said the king" },
  ],
}

/** A file with these rows, as JSON Lines; in a folder that the test takes along, or in one of its own. */
export async function jsonLines(rows: Rows, name = 'task.jsonl', folder?: string): Promise<string> {
  const path = join(folder ?? (await temporaryFolder()), name)
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  return path
}
