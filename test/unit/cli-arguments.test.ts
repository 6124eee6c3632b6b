import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseArguments } from '../../lib/cli/arguments.js'
import { type Command, defineCommand, UsageError } from '../../lib/cli/command.js'
import { formatBytes, formatCount, formatDuration, formatRate } from '../../lib/support/format.js'
import { commandHelp, programHelp } from '../../lib/cli/help.js'
import { nearest } from '../../lib/support/nearest.js'
import { generateOptions } from '../../lib/cli/options.js'
import { ProgressLine } from '../../lib/cli/progress.js'
import { runProgram } from '../../lib/cli/program.js'

const generate = defineCommand({
  name: 'generate',
  aliases: ['run'],
  summary: 'continue a text',
  usage: '-m MODEL -p PROMPT [options]',
  options: generateOptions,
  example: 'ssm-metal generate -m models/rene -p "Once upon a time"',
  run: async ({ options }) => {
    if (options.seed === 13) throw new Error('no luck')
    if (options.seed === 14) throw new DOMException('stopped', 'AbortError')
    // The types follow from the table.
    const count: number = options.maxTokens
    const temperature: number | undefined = options.temp
    const stop: string[] = options.stop
    const json: boolean = options.json
    return count === 7 && temperature === 0.5 && stop.length === 2 && json ? 0 : 3
  },
})

const show = defineCommand({
  name: 'show',
  summary: 'describe a model',
  usage: '<model>',
  options: {},
  positionals: [{ name: 'model', description: 'file, folder or Hub name', required: true }],
  example: 'ssm-metal show models/rene',
  run: async ({ positionals }) => positionals.length,
})

const parse = (...words: string[]) => parseArguments(generate, words).args.options

describe('parseArguments', () => {
  it('reads long and short names, = and values as the next word', () => {
    const { options, positionals } = parseArguments(generate, [
      '-m',
      'models/rene',
      '--prompt=Once',
      '-n5',
      '--temp',
      '.8',
      '--json',
    ]).args
    expect(options).toMatchObject({ model: 'models/rene', prompt: 'Once', maxTokens: 5, temp: 0.8 })
    expect(options.json).toBe(true)
    expect(options.verbose).toBe(false)
    expect(positionals).toEqual([])
  })

  it('fills in defaults, and leaves out what has none', () => {
    const options = parse()
    expect(options.device).toBe('auto')
    expect(options.maxTokens).toBe(256)
    expect(options.stop).toEqual([])
    expect(options.temp).toBeUndefined()
  })

  it('accepts aliases, and long names with one dash', () => {
    expect(parse('--temperature', '1').temp).toBe(1)
    expect(parse('--repetition-penalty=1.1').repeatPenalty).toBe(1.1)
    expect(parse('-q-bits', '4', '-q-group-size=64')).toMatchObject({ qBits: 4, qGroupSize: 64 })
  })

  it('collects options that may be repeated; of the others the last counts', () => {
    expect(parse('--stop', 'a', '--stop', '\n').stop).toEqual(['a', '\n'])
    expect(parse('--seed', '1', '--seed', '2').seed).toBe(2)
  })

  it('takes - and texts with a leading dash for values', () => {
    expect(parse('-p', '-').prompt).toBe('-')
    expect(parse('-p', '- first item').prompt).toBe('- first item')
    expect(parse('-p', '').prompt).toBe('')
    expect(parse('--prompt=--temp').prompt).toBe('--temp')
  })

  it.each([
    [['--tmp', '1'], 'unknown option --tmp; did you mean --temp?'],
    [['--tempature=1'], 'unknown option --tempature; did you mean --temperature?'],
    [['--max-tok', '1'], 'unknown option --max-tok; did you mean --max-tokens?'],
    [['--max', '1'], 'unknown option --max'],
    [['--xyzzyx'], 'unknown option --xyzzyx'],
    [['-x'], 'unknown option -x'],
    [['--__proto__=1'], 'unknown option --__proto__'],
    [['--temp'], 'option --temp needs a value'],
    [['-p', '--temp', '1'], 'option -p needs a value but is followed by --temp; if that is the'],
    [['--json=yes'], 'option --json takes no value but has "yes"'],
    [['--temp', 'warm'], 'option --temp must be a number from 0 to 1000 but is "warm"'],
    [['--temp', '-1'], 'option --temp must be a number from 0 to 1000 but is "-1"'],
    [['--temp=Infinity'], 'option --temp must be a number from 0 to 1000 but is "Infinity"'],
    [['--temp='], 'option --temp must be a number from 0 to 1000 but is ""'],
    [['--temp=1e999'], 'option --temp must be a number from 0 to 1000 but is "1e999"'],
    [['--temperature', 'x'], 'option --temperature must be a number'],
    [['--top-p', '1.5'], 'option --top-p must be a number from 0 to 1 but is "1.5"'],
    [['-n', '1.5'], 'option -n must be an integer of at least 1 but is "1.5"'],
    [['-n', '0x10'], 'option -n must be an integer of at least 1 but is "0x10"'],
    [['--seed', '1e30'], 'option --seed must be an integer of at least 0 but is "1e30"'],
    [['--threads', '0'], 'option --threads must be an integer from 1 to 1024 but is "0"'],
    [['--q-bits', '3'], 'option --q-bits must be 4, 5, 6 or 8 but is "3"'],
    [['--device', 'gpu'], 'option --device must be auto, cpu or metal but is "gpu"'],
    [['hello'], 'unexpected argument "hello"'],
    [['--', '--temp'], 'unexpected argument "--temp"'],
  ])('refuses %j', (words, message) => {
    expect(() => parse(...words)).toThrow(UsageError)
    expect(() => parse(...words)).toThrow(message)
  })

  it('checks arguments that are not options', () => {
    expect(parseArguments(show, ['a']).args.positionals).toEqual(['a'])
    expect(parseArguments(show, ['--', '-a']).args.positionals).toEqual(['-a'])
    expect(() => parseArguments(show, [])).toThrow('missing argument <model> (file, folder or Hub')
    expect(() => parseArguments(show, ['a', 'b'])).toThrow('unexpected argument "b"')
  })

  it('notices --help before any mistake', () => {
    expect(parseArguments(show, ['--nonsense', '-h']).help).toBe(true)
    expect(parseArguments(show, ['--', '-h']).help).toBe(false)
  })
})

describe('help', () => {
  const commands: Command[] = [generate, show]

  it('fits in 80 columns, with every option, its default and an example', () => {
    for (const command of commands) {
      const text = commandHelp('ssm-metal', command)
      expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80)
      for (const name of Object.keys(command.options)) expect(text).toContain(`--${name}`)
      expect(text).toContain(`Example:\n  ${command.example}\n`)
    }
    const text = commandHelp('ssm-metal', generate)
    expect(text).toContain('Usage: ssm-metal generate -m MODEL -p PROMPT [options]\n')
    expect(text).toMatch(/^ {2}-n, --max-tokens N {8}end after this many tokens .*default 256\)$/m)
    expect(text).toMatch(/^ {6}--temp NUMBER .*$/m)
    expect(text).toContain('also --temperature')
    expect(text).toMatch(/^ {2}-h, --help {16}show this help$/m)
  })

  it('lists the verbs', () => {
    const text = programHelp('ssm-metal', 'language models', commands)
    expect(text).toMatch(/^ {2}generate {18}continue a text$/m)
    expect(text).toContain('ssm-metal help <command>')
    expect(text.endsWith('\n')).toBe(true)
    expect(text.endsWith('\n\n')).toBe(false)
  })
})

describe('runProgram', () => {
  async function run(...words: string[]) {
    let out = ''
    let err = ''
    const code = await runProgram(
      {
        name: 'ssm-metal',
        summary: 'language models',
        version: '1.2.3',
        commands: [generate, show],
        stdout: { write: (text) => (out += text) },
        stderr: { write: (text) => (err += text) },
      },
      words,
    )
    return { code, out, err }
  }

  it('runs a verb, by its alias too, and gives its exit code', async () => {
    const words = ['-n', '7', '--temp=0.5', '--stop', 'a', '--stop', 'b', '--json']
    expect(await run('generate', ...words)).toEqual({ code: 0, out: '', err: '' })
    expect((await run('run', ...words)).code).toBe(0)
    expect((await run('generate')).code).toBe(3)
  })

  it('gives help and version on standard output', async () => {
    const help = commandHelp('ssm-metal', generate)
    for (const words of [
      ['help', 'generate'],
      ['generate', '--help'],
      ['generate', '-p', 'x', '-h'],
    ]) {
      expect(await run(...words)).toEqual({ code: 0, out: help, err: '' })
    }
    expect((await run('--help')).out).toContain('Commands:')
    expect((await run('help')).out).toContain('Commands:')
    expect(await run('--version')).toEqual({ code: 0, out: '1.2.3\n', err: '' })
    expect((await run('generate', '--version')).out).toBe('1.2.3\n')
  })

  it('answers mistakes on standard error with code 2', async () => {
    expect(await run('generat')).toEqual({
      code: 2,
      out: '',
      err: 'ssm-metal: unknown command "generat"; did you mean generate?\nTry: ssm-metal --help\n',
    })
    expect(await run('generate', '--tmp', '1')).toEqual({
      code: 2,
      out: '',
      err:
        'ssm-metal generate: unknown option --tmp; did you mean --temp?\n' +
        'Try: ssm-metal generate --help\n',
    })
    expect((await run()).code).toBe(2)
    expect((await run('-p', 'x')).err).toContain('expected a command but got the option -p')
  })

  it('gives 1 for failures and 130 for aborts', async () => {
    expect(await run('generate', '--seed', '13')).toEqual({
      code: 1,
      out: '',
      err: 'ssm-metal generate: no luck\n',
    })
    expect(await run('generate', '--seed', '14')).toEqual({ code: 130, out: '', err: '' })
  })
})

describe('nearest', () => {
  it('finds slips of the finger and beginnings, and nothing far-fetched', () => {
    const names = ['temp', 'top-p', 'top-k', 'max-tokens', 'seed']
    expect(nearest('tmep', names)).toBe('temp')
    expect(nearest('max-token', names)).toBe('max-tokens')
    expect(nearest('maxtokens', names)).toBe('max-tokens')
    expect(nearest('frequency', names)).toBeUndefined()
    expect(nearest('x'.repeat(100_000), names)).toBeUndefined()
  })
})

describe('format', () => {
  it('formats numbers for people', () => {
    expect([0, 1023, 1024, 1.25 * 2 ** 30, 59.04 * 2 ** 20].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.00 KiB',
      '1.25 GiB',
      '59.0 MiB',
    ])
    expect([7, 999, 130e6, 1.33e9, 999_600].map(formatCount)).toEqual([
      '7',
      '999',
      '130 M',
      '1.33 B',
      '1.00 M',
    ])
    expect([0.05, 1.5, 850, 999.6, 12_340, 59_960, 125_000, 3_720_000].map(formatDuration)).toEqual(
      [
        '50.0 µs',
        '1.50 ms',
        '850 ms',
        '1.00 s',
        '12.3 s',
        '1 min 00 s',
        '2 min 05 s',
        '1 h 02 min',
      ],
    )
    expect(formatRate(128, 2000)).toBe('64.0 tok/s')
    expect(formatRate(0, 0)).toBe('- tok/s')
  })
})

describe('ProgressLine', () => {
  const saved = { NO_COLOR: process.env.NO_COLOR, TERM: process.env.TERM }
  beforeEach(() => {
    process.env.NO_COLOR = '1'
    process.env.TERM = 'xterm'
  })
  afterEach(() => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  function terminal(columns: number, isTTY = true) {
    const written: string[] = []
    let time = 0
    const stream = { isTTY, columns, write: (text: string) => written.push(text) }
    const line = new ProgressLine({ stream, now: () => time })
    const wait = (milliseconds: number) => {
      time += milliseconds
    }
    return { line, written, wait }
  }

  it('draws on one line, not too often, and removes itself', () => {
    const { line, written, wait } = terminal(80)
    const total = 954 * 2 ** 20
    line.update({ phase: 'load', loaded: 0, total })
    wait(50)
    line.update({ phase: 'load', loaded: 1, total })
    wait(1200)
    line.update({ phase: 'load', loaded: total / 2, total })
    line.update({ phase: 'prefill', loaded: 512, total: 0, unit: 'tokens' })
    line.clear()
    line.clear()
    expect(written.map((text) => text.trimEnd())).toEqual([
      '\rload    0%  0 B / 954 MiB  0.0 s',
      '\rload   50%  477 MiB / 954 MiB  1.3 s',
      '\rprefill  512 tokens  0.0 s',
      '',
    ])
    expect(written[2]!.length).toBe(written[1]!.length)
  })

  it('writes nothing in a pipe or to a dumb terminal', () => {
    const pipe = terminal(80, false)
    pipe.line.update({ phase: 'load', loaded: 1, total: 2 })
    pipe.line.clear()
    expect(pipe.written).toEqual([])
    process.env.TERM = 'dumb'
    const dumb = terminal(80)
    dumb.line.update({ phase: 'load', loaded: 1, total: 2 })
    expect(dumb.written).toEqual([])
  })

  it('never reaches the last column, and has no escape codes under NO_COLOR', () => {
    const { line, written } = terminal(20)
    line.update({ phase: 'load', loaded: 1, total: 2 })
    expect(written[0]).toHaveLength(20)
    expect(written[0]).not.toContain('\x1b')
    delete process.env.NO_COLOR
    const bold = terminal(80)
    bold.line.update({ phase: 'load', loaded: 1, total: 2 })
    expect(bold.written[0]).toContain('\r\x1b[1mload\x1b[22m ')
  })
})
