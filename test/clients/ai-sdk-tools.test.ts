// Calls of tools and thoughts by the `ai` package, from a model in this process.

import { readFile } from 'node:fs/promises'
import {
  generateText,
  isStepCount,
  jsonSchema,
  Output,
  streamText,
  type TextStreamPart,
  tool,
  type ToolSet,
} from 'ai'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { createSsmMetal } from '../../lib/ai-sdk/index.js'
import { loadModel, type Model, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'
import { THINKING_TEMPLATE } from '../support/chats.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { writeTaggedModel } from '../support/scripted-model.js'
import { TOOL_TEMPLATE } from '../support/tools.js'

globalThis.AI_SDK_LOG_WARNINGS = false

// The SDK's types do not go with our `exactOptionalPropertyTypes`.
const anyTool = (given: unknown) => given as ToolSet[string]

const weather = anyTool(
  tool({
    description: 'The weather of a city',
    inputSchema: z.object({ city: z.enum(['Rome', 'Oslo']), days: z.number().int().min(1).max(9) }),
  }),
)
const provider = createSsmMetal()

/** A model that says a text, as a language model of the AI SDK. */
async function saying(
  script: string,
  tags: Parameters<typeof writeTaggedModel>[2],
  chatTemplate: string,
) {
  const folder = await temporaryFolder()
  await writeTaggedModel(folder, script, tags)
  const model = await loadModel(folder, { chatTemplate })
  onTestFinished(() => model.dispose())
  return provider(model)
}

describe('toolChoice', () => {
  let loaded: Model
  let model: ReturnType<typeof provider>
  beforeAll(async () => {
    loaded = await loadModel(undefined, { chatTemplate: TOOL_TEMPLATE })
    model = provider(loaded)
  })
  afterAll(() => loaded.dispose())
  const asked = {
    prompt: 'Weather?',
    maxOutputTokens: 100,
    temperature: 0.8,
    seed: 3,
    // Else it would write one after the other.
    providerOptions: { ssmMetal: { parallelToolCalls: false } },
  }

  it.each(['required', { type: 'tool', toolName: 'weather' }] as const)(
    '%j has a tool called, by its schema',
    async (toolChoice) => {
      const { toolCalls, finishReason, text } = await generateText({
        model,
        ...asked,
        tools: { weather },
        toolChoice,
      })
      expect([finishReason, text]).toEqual(['tool-calls', ''])
      expect(toolCalls).toEqual([
        {
          type: 'tool-call',
          toolCallId: expect.stringMatching(/^call_/),
          toolName: 'weather',
          input: { city: expect.stringMatching(/^(Rome|Oslo)$/), days: expect.any(Number) },
        },
      ])
    },
  )

  it('streams the same call', async () => {
    const all = { model, ...asked, tools: { weather }, toolChoice: 'required' } as const
    const whole = await generateText(all)
    const { fullStream, toolCalls } = streamText(all)
    const parts: TextStreamPart<ToolSet>[] = []
    for await (const part of fullStream) parts.push(part)
    expect((await toolCalls)[0]!.input).toEqual(whole.toolCalls[0]!.input)
    expect(parts.map(({ type }) => type)).toEqual([
      'start',
      'start-step',
      'tool-input-start',
      'tool-input-delta',
      'tool-input-end',
      'tool-call',
      'finish-step',
      'finish',
    ])
  })

  it('executes tools, and gives their results to the model', async () => {
    const execute = vi.fn(async ({ city }: { city: string }) => ({ city, degrees: 20 }))
    const { steps } = await generateText({
      model,
      ...asked,
      tools: { weather: anyTool({ ...weather, execute }) },
      stopWhen: isStepCount(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'auto' }),
      include: { requestBody: true },
    })
    expect(execute).toHaveBeenCalledOnce()
    expect(steps.map(({ finishReason }) => finishReason)).toEqual([
      'tool-calls',
      expect.any(String),
    ])
    const { prompt } = steps[1]!.request.body as { prompt: string }
    expect(prompt).toMatch(
      /<tool_call>.*weather.*<\/tool_call>;tool: \{"city":"(Rome|Oslo)","degrees":20\};/s,
    )
  })

  it('warns of what has no effect', async () => {
    const clock = anyTool({
      inputSchema: jsonSchema({ type: 'object', properties: {} }),
      inputExamples: [{ input: {} }],
      strict: true,
    })
    const web = { type: 'provider', id: 'openai.web', args: {}, isProviderExecuted: true }
    const { warnings } = await generateText({
      model,
      ...asked,
      tools: { clock, web: anyTool({ ...web, inputSchema: z.object({}) }) },
    })
    expect(warnings!.map((warning) => 'feature' in warning && warning.feature)).toEqual([
      'provider-defined tool openai.web',
      'strict',
      'inputExamples',
    ])
  })

  it('asks for a call, or the text has a format', async () => {
    const output = Output.object({ schema: z.object({ ok: z.boolean() }) })
    const all = { model, ...asked, tools: { weather }, output, maxRetries: 0 }
    const { warnings } = await generateText(all)
    expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'tools' }])
    const failure = generateText({ ...all, toolChoice: 'required' })
    await expect(failure).rejects.toMatchObject({ functionality: 'toolChoice' })
  })

  it('names a tool that is there', async () => {
    const choice = { type: 'tool', toolName: 'clock' } as never
    const failure = generateText({
      model,
      ...asked,
      tools: { weather },
      toolChoice: choice,
      maxRetries: 0,
    })
    await expect(failure).rejects.toThrow('toolChoice must name one of the tools (weather)')
  })

  it('cannot ask for a call of a model that knows none', async () => {
    using plain = createSsmMetal({ chatTemplate: PLAIN_CHAT_TEMPLATE })
    const failure = generateText({ model: plain(), ...asked, tools: { weather }, maxRetries: 0 })
    await expect(failure).rejects.toMatchObject({
      name: 'AI_UnsupportedFunctionalityError',
      functionality: 'tools',
    })
  })
})

describe.each(['granite-4.0', 'lfm2.5', 'nemotron-nano-2', 'qwen3-coder'])(
  'the published template of %s',
  (name) => {
    it('has a tool called, whatever its form of calls', async () => {
      const file = new URL(`../fixtures/tool-templates/${name}.jinja`, import.meta.url)
      const loaded = await loadModel(undefined, { chatTemplate: await readFile(file, 'utf8') })
      onTestFinished(() => loaded.dispose())
      const { toolCalls, finishReason } = await generateText({
        model: provider(loaded),
        prompt: 'Weather?',
        maxOutputTokens: 100,
        tools: { weather },
        toolChoice: { type: 'tool', toolName: 'weather' },
      })
      expect(finishReason).toBe('tool-calls')
      expect(toolCalls).toMatchObject([
        { toolName: 'weather', input: { days: expect.any(Number) } },
      ])
      expect(toolCalls[0]!.invalid).toBeUndefined()
    })
  },
)

describe('what a model writes', () => {
  it('has its calls parted from its text', async () => {
    const call = '{"name": "weather", "arguments": {"city": "Rome", "days": 3}}'
    const pieces = ['<tool_call>', call, '</tool_call>']
    const script = ` ~Hm.~${pieces.join('~')}`
    const model = await saying(script, { pieces, special: false }, TOOL_TEMPLATE)
    const all = { model, prompt: 'Weather?', tools: { weather } }
    const { text, toolCalls, finishReason } = await generateText(all)
    expect([text, finishReason]).toEqual(['Hm.', 'tool-calls'])
    expect(toolCalls[0]).toMatchObject({ toolName: 'weather', input: { city: 'Rome', days: 3 } })
    const streamed = streamText(all)
    expect(await streamed.text).toBe('Hm.')
    expect((await streamed.toolCalls)[0]!.input).toEqual({ city: 'Rome', days: 3 })
  })

  it('has its thoughts apart', async () => {
    const pieces = ['<think>', '</think>']
    const script = ']<think>Hm, so!</think>Yes.'
    const model = await saying(script, { pieces, special: true }, THINKING_TEMPLATE)
    const { text, reasoningText, usage } = await generateText({ model, prompt: 'Hi' })
    expect([text, reasoningText]).toEqual(['Yes.', 'Hm, so!'])
    expect(usage.outputTokenDetails).toEqual({ textTokens: 4, reasoningTokens: 8 })
    const types: string[] = []
    for await (const { type } of streamText({ model, prompt: 'Hi' }).fullStream) {
      if (types.at(-1) !== type) types.push(type)
    }
    expect(types).toEqual([
      'start',
      'start-step',
      'reasoning-start',
      'reasoning-delta',
      'reasoning-end',
      'text-start',
      'text-delta',
      'text-end',
      'finish-step',
      'finish',
    ])
    // As the template has it.
    const quick = await generateText({ model, prompt: 'Hi', reasoning: 'none', maxOutputTokens: 2 })
    expect(quick.warnings).toEqual([])
  })
})
