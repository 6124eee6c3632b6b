// A chat as its users see it: in a terminal, whose screen is read, and through a pipe.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Chat, loadModel, type Model, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { type ChildOptions, ROOT, runChild } from '../support/child-process.js'
import { PseudoTerminal, type PseudoTerminalOptions } from '../support/pseudo-terminal.js'

const CLI = join(ROOT, 'lib/cli.ts')
const TOKENS = 12
const WORDS = ['chat', '--device', 'cpu', '--repeat-penalty', '1.1']
const short = (tokens = TOKENS) => [...WORDS, '--chat-template', 'plain', '-n', String(tokens)]
const SHORT = short()
const [CONTROL_C, CONTROL_D, UP, LEFT, BACKSPACE] = ['\x03', '\x04', '\x1b[A', '\x1b[D', '\x7f']

let model: Model
beforeAll(async () => {
  model = await loadModel(undefined, { device: 'cpu', chatTemplate: PLAIN_CHAT_TEMPLATE })
})
afterAll(() => model.dispose())

const OPTIONS = { maxTokens: TOKENS, repetitionPenalty: 1.1, stop: '\nUser:' }
const answerOf = async (chat: Chat, message: string) =>
  (await chat.send(message, OPTIONS)).text.trimStart()

/** What a new chat answers, message by message. */
async function answers(...messages: string[]): Promise<string[]> {
  using chat = model.createChat()
  const said: string[] = []
  for (const message of messages) said.push(await answerOf(chat, message))
  return said
}

/** Lines that are an answer, as one text. */
const oneLine = (text: string) => text.replaceAll('\n', '')

function inTerminal(words: readonly string[], options: PseudoTerminalOptions = {}): PseudoTerminal {
  return new PseudoTerminal(CLI, words, { columns: 120, rows: 40, ...options })
}

/** The chat waits for a message, `count` of which were typed before. */
const prompts = (count: number) => (lines: string[]) =>
  lines.filter((line) => /^> ?/.test(line)).length === count + 1 && lines.at(-1) === '>'

/** What stands below the line that was typed, up to the next prompt; nothing where it has not been typed. */
function below(lines: string[], typed: string): string {
  const start = lines.lastIndexOf(`> ${typed}`)
  if (start < 0) return ''
  const rest = lines.slice(start + 1)
  const end = rest.findIndex((line) => /^[>.]( |$)/.test(line))
  return rest.slice(0, end < 0 ? undefined : end).join('\n')
}

describe('in a terminal', () => {
  it('answers, goes back, saves and loads, and leaves at Control-D', async () => {
    const file = join(await temporaryFolder(), 'chat.session')
    const [first, second] = await answers('The sea', 'And the ship?')
    const [other] = await answers('The house')
    const terminal = inTerminal(SHORT)
    let count = 0
    const say = async (text: string) => {
      await terminal.until(prompts(count))
      terminal.type(`${text}\r`)
      count += 1
      return below(await terminal.until(prompts(count)), text)
    }
    const limit = 'the answer has reached its --max-tokens'
    const shown = (answer: string | undefined) => `${answer!.trimEnd()}\n${limit}`
    expect(await say('The sea')).toBe(shown(first))
    expect(await say(`/save ${file}`)).toBe('saved: 1 turn')
    expect(await say('And the ship?')).toBe(shown(second))
    expect(await say('/rewind')).toBe('taken back: 1 turn left')
    expect(await say('/fork')).toBe('branch 2 of 2: 1 turn')
    expect(await say('/rewind 2')).toBe('there are 1 turns to take back, not 2')
    expect(await say('/reset')).toBe('a new conversation')
    expect(await say('The house')).toBe(shown(other))
    expect(await say('/fork 1')).toBe('branch 1 of 2: 1 turn')
    expect(await say(`/load ${file}`)).toBe('loaded: 1 turn')
    expect(await say('And the ship?')).toBe(shown(second))
    expect(await say('/stats')).toMatch(/^2 turns, branch 1 of 2\nprompt \d+ tokens, /)
    expect(await say('/help')).toMatch(/\/save FILE .*\n\/load FILE/)
    expect(await say('/savee x')).toContain('did you mean /save?')
    terminal.type(CONTROL_D)
    expect(await terminal.ended).toBe(0)
    expect((await readFile(file)).includes('The sea')).toBe(true)
  })

  it('Control-C stops an answer, and what there is of it stays', async () => {
    // One that is not known to be plain, so that nothing but Control-C ends an answer.
    const template = join(await temporaryFolder(), 'template.jinja')
    await writeFile(template, `${PLAIN_CHAT_TEMPLATE}{# #}`)
    const endless = ['-n', '1000000', '--ignore-eos', '--chat-template', template]
    const terminal = inTerminal([...WORDS, ...endless])
    await terminal.until(prompts(0))
    terminal.type('The sea\r')
    await terminal.until((lines) => below(lines, 'The sea').length > 200)
    terminal.type(`typed meanwhile${CONTROL_C}`)
    await terminal.until(prompts(1))
    terminal.type('/stats\r')
    await terminal.until(/1 turn, branch 1 of 1\n.*\(abort\)/)
    await terminal.until(prompts(2))
    terminal.type(CONTROL_C)
    await terminal.until(/once more leaves/)
    terminal.type(CONTROL_C)
    expect(await terminal.ended).toBe(0)
  })

  it('survives a resize in the middle of an answer, and of a line', async () => {
    const terminal = inTerminal(short(200), { columns: 60 })
    using chat = model.createChat()
    const { text } = await chat.send('The sea', { ...OPTIONS, maxTokens: 200 })
    await terminal.until(prompts(0))
    terminal.type('The sea\r')
    await terminal.until((lines) => below(lines, 'The sea').length > 20)
    terminal.resize(100, 30)
    const isThere = (lines: string[]) => lines.at(-1) === '>'
    const lines = await terminal.until(isThere)
    expect(oneLine(below(lines, 'The sea')).replaceAll(' ', '')).toContain(
      oneLine(text).replaceAll(' ', ''),
    )
    terminal.type('a long line of text that is edited while')
    await terminal.until(/edited while$/)
    terminal.resize(30, 30)
    terminal.type(' it is narrow')
    await terminal.until(/narrow$/)
    terminal.resize(100, 30)
    terminal.type(CONTROL_C)
    await terminal.until(isThere)
    terminal.type(CONTROL_D)
    expect(await terminal.ended).toBe(0)
  })

  it('has history, editing of wide characters, and messages of several lines', async () => {
    const several = 'first\nsecond'
    const [wide] = await answers('日本語')
    const terminal = inTerminal(SHORT)
    await terminal.until(prompts(0))
    terminal.type(`日本x語${LEFT}${BACKSPACE}\r`)
    await terminal.until(prompts(1))
    expect(below(terminal.lines(), '日本語')).toContain(wide!.trimEnd())
    terminal.type('/reset\r')
    await terminal.until(prompts(2))
    terminal.type(`${UP}${UP}\r`)
    const lines = await terminal.until(prompts(3))
    expect(below(lines, '日本語')).toContain(wide!.trimEnd())
    const [answer] = await answers(several)
    const ways: [string, string][] = [
      ['first\\\rsecond\r', '. second'],
      ['"""first\rsecond"""\r', '. second"""'],
      ['"""\rfirst\rsecond\r"""\r', '. """'],
    ]
    let count = 3
    for (const [typed, last] of ways) {
      terminal.type('/reset\r')
      await terminal.until(prompts(++count))
      terminal.type(typed)
      const lines = await terminal.until(prompts(++count))
      const end = lines.lastIndexOf(last)
      expect(end, lines.join('\n')).toBeGreaterThan(0)
      expect(lines.slice(end + 1, -1).join('\n')).toContain(answer!.trimEnd())
    }
    terminal.type('/reset\r')
    await terminal.until(prompts(++count))
    terminal.paste(several)
    await terminal.until(/\. second$/)
    terminal.type('\r')
    const pasted = await terminal.until(prompts(++count))
    expect(pasted.slice(pasted.lastIndexOf('. second') + 1, -1).join('\n')).toContain(
      answer!.trimEnd(),
    )
    terminal.type('/exit\r')
    expect(await terminal.ended).toBe(0)
  })

  it('uses colour unless it is told not to', async () => {
    for (const [env, has] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
      [{ TERM: 'dumb' }, false],
    ] as const) {
      const terminal = inTerminal(SHORT, { env })
      await terminal.until(/^> ?$/m)
      terminal.type(CONTROL_D)
      expect(await terminal.ended).toBe(0)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(/\x1b\[[12]m/.test(terminal.output)).toBe(has)
      expect(terminal.output.includes('\x1b[?2004h')).toBe(!('TERM' in env))
      expect(terminal.output.includes('\x1b[?2004l')).toBe(!('TERM' in env))
    }
  })
})

describe('escape codes of a model', () => {
  it('are shown in a terminal, and do nothing', async () => {
    const terminal = inTerminal(['generate', '-p', 'x', '--regex', '\\x1b\\[31mred\\x07\\x9b'])
    await terminal.until(/␛\[31mred␇\ufffd/)
    expect(await terminal.ended).toBe(0)
  })
})

describe('through a pipe', () => {
  const run = (words: readonly string[], input: string, options: ChildOptions = {}) =>
    runChild(CLI, words, { input, ...options })

  it('answers a message a line, and nothing else stands on standard output', async () => {
    const [first, second] = await answers('The sea', 'And\nthe ship?')
    const input = 'The sea\n\n"""And\nthe ship?"""\n'
    const { code, stdout, stderr } = await run(SHORT, input)
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `${first}\n${second}\n`,
      stderr: 'ssm-metal: no model named, using the built-in rene-tiny (19 M parameters)\n',
    })
  })

  it('--json prints an object for each answer, and --session goes on from a file', async () => {
    const file = join(await temporaryFolder(), 'chat.session')
    const [first, second] = await answers('The sea', 'And the ship?')
    const words = [...SHORT, '--json', '--session', file]
    const said: string[] = []
    for (const message of ['The sea', 'And the ship?']) {
      const { code, stdout } = await run(words, `${message}\n`)
      expect(code).toBe(0)
      const result = JSON.parse(stdout)
      expect(result).toMatchObject({ message, finishReason: 'length' })
      said.push(result.text.trimStart())
    }
    expect(said).toEqual([first, second])
  })

  it('ends with an error at a command that fails', async () => {
    const { code, stdout, stderr } = await run(SHORT, '/load nowhere.session\nThe sea\n')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/ssm-metal chat: .*nowhere\.session/)
    const open = await run(SHORT, 'The sea\\\n')
    expect(open.code).toBe(1)
    expect(open.stderr).toContain('the input ended within a message of several lines')
  })

  it('says what it does unasked for a base model', async () => {
    const words = ['chat', '--device', 'cpu', '-n', '2']
    const { code, stderr } = await run(words, 'The sea\n')
    expect(code).toBe(0)
    expect(stderr).toContain('the model has no chat template')
    expect(stderr).toContain('with --repeat-penalty 1.1')
  })
})
