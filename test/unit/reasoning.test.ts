// Thoughts and answers apart, however the text is cut.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  opensReasoning,
  ReasoningSplitter,
  type ReasoningTags,
  reasoningTags,
} from '../../lib/generation/reasoning.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { seededIntegers } from './random.js'

const THINK: ReasoningTags = { open: '<think>', close: '</think>' }

function split(pieces: readonly string[], isOpened = false, tags = THINK) {
  const splitter = new ReasoningSplitter(tags, { isOpened })
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.flush()]
  return {
    reasoning: parts.map(({ reasoning }) => reasoning).join(''),
    text: parts.map(({ text }) => text).join(''),
  }
}

describe('a text with thoughts', () => {
  it.each<[string, boolean, string, string]>([
    ['<think>a</think>b', false, 'a', 'b'],
    ['\n<think>\n a b \n</think>\n\n b \n', false, 'a b', 'b \n'],
    ['a</think>b', true, 'a', 'b'],
    ['\n a</think>b', true, 'a', 'b'],
    ['<think>a</think>b', true, 'a', 'b'],
    ['no thoughts', false, '', 'no thoughts'],
    [' spaces stay ', false, '', ' spaces stay '],
    ['never closed ', true, 'never closed', ''],
    ['<think>never closed</thi', false, 'never closed</thi', ''],
    ['<think></think>b', false, '', 'b'],
    ['<think>\n\n</think>\n\nb', false, '', 'b'],
    ['</think>b', true, '', 'b'],
    ['a</think>b</think>c', true, 'a', 'b</think>c'],
    ['a</think>b<think>c', true, 'a', 'b<think>c'],
    ['b <think>a</think>', false, '', 'b <think>a</think>'],
    ['<thin', false, '', '<thin'],
    ['  ', false, '', '  '],
    ['  ', true, '', ''],
    ['', false, '', ''],
    ['a < b </ c</think> d', true, 'a < b </ c', 'd'],
    ['a<<</think>b', true, 'a<<', 'b'],
    ['a</</think>b', true, 'a</', 'b'],
    ['<think>a<think>b</think>c', false, 'a<think>b', 'c'],
  ])('%j, opened %s', (whole, isOpened, reasoning, text) => {
    const expected = { reasoning, text }
    expect(split([whole], isOpened)).toEqual(expected)
    expect(split([...whole], isOpened)).toEqual(expected)
    for (let cut = 0; cut <= whole.length; cut++) {
      expect(split([whole.slice(0, cut), whole.slice(cut)], isOpened)).toEqual(expected)
    }
  })

  it('is split alike in any pieces, and nothing but white space and tags is lost', () => {
    const below = seededIntegers(11)
    const parts = ['<think>', '</think>', ' ', '\n', 'a', 'b c', '<', '</', 'think>', '<thi', 'é😀']
    for (let round = 0; round < 2000; round++) {
      const whole = Array.from({ length: below(8) }, () => parts[below(parts.length)]).join('')
      const isOpened = below(2) === 1
      const pieces: string[] = []
      for (let from = 0; from < whole.length; ) {
        const length = 1 + below(4)
        pieces.push(whole.slice(from, from + length))
        from += length
      }
      const result = split(pieces, isOpened)
      expect({ whole, ...split([whole], isOpened) }).toEqual({ whole, ...result })
      const bare = (text: string) => text.replaceAll(/\s|<\/?think>/g, '')
      // Tags may also come about where a tag between was taken out.
      if (bare(whole) === whole.replaceAll(/\s/g, '')) {
        expect(bare(result.reasoning + result.text)).toBe(bare(whole))
      }
    }
  })

  it('gives what it can at once', () => {
    const splitter = new ReasoningSplitter(THINK, { isOpened: true })
    expect(splitter.push('abc ')).toEqual({ reasoning: 'abc', text: '' })
    expect(splitter.push('d</th')).toEqual({ reasoning: ' d', text: '' })
    expect(splitter.isReasoning).toBe(true)
    expect(splitter.push('en')).toEqual({ reasoning: '</then', text: '' })
    expect(splitter.push('</think>\n')).toEqual({ reasoning: '', text: '' })
    expect(splitter.isReasoning).toBe(false)
    expect(splitter.push('x ')).toEqual({ reasoning: '', text: 'x ' })
    expect(splitter.flush()).toEqual({ reasoning: '', text: '' })
  })

  it('takes tags that came as special tokens', () => {
    const splitter = new ReasoningSplitter(THINK)
    const parts = [
      splitter.pushTag('open'),
      splitter.push('a '),
      splitter.pushTag('close'),
      splitter.push('\nb'),
    ]
    expect(parts.map(({ reasoning, text }) => `${reasoning}|${text}`)).toEqual([
      '|',
      'a|',
      '|',
      '|b',
    ])
  })
})

describe('the tags of a model', () => {
  it.each([
    ["{{ content.split('</think>')[-1] }}", '<think>', '</think>'],
    ['[THINK]{{ x }}[/THINK]', '[THINK]', '[/THINK]'],
    ['<seed:think></seed:think>', '<seed:think>', '</seed:think>'],
  ])('are in its template: %s', (template, open, close) => {
    expect(reasoningTags(template, undefined)).toMatchObject({ open, close })
  })

  it('are none where the template has none', () => {
    expect(reasoningTags('{{ messages }} <think>', undefined)).toBeUndefined()
  })

  it('have ids where they are special tokens', async () => {
    const folder = await temporaryFolder()
    const file = join(folder, 'tokenizer.json')
    const json = JSON.parse(await readFile(fixture('../tokenizer/tokenizer.json'), 'utf8'))
    const add = (id: number, content: string, special: boolean) =>
      json.added_tokens.push({ ...json.added_tokens[0], id, content, special })
    add(600, '<think>', true)
    add(601, '</think>', true)
    add(602, '[THINK]', false)
    await writeFile(file, JSON.stringify(json))
    const tokenizer = await Tokenizer.fromFile(file)
    expect(reasoningTags('</think>', tokenizer)).toEqual({ ...THINK, openId: 600, closeId: 601 })
    const ordinary = { open: '[THINK]', close: '[/THINK]', openId: undefined, closeId: undefined }
    expect(reasoningTags('[/THINK]', tokenizer)).toEqual(ordinary)
  })
})

describe('a prompt', () => {
  it.each([
    ['<|assistant|><think>', true],
    ['<|assistant|><think>\n', true],
    ['<think>\n\n</think>\n\n', false],
    ['<think> x', false],
    ['', false],
  ])('%j opens thoughts: %s', (prompt, opens) => {
    expect(opensReasoning(prompt, THINK)).toBe(opens)
  })
})
