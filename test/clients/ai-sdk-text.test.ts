// Texts by the `ai` package, unmodified, from a model in this process.

import {
  createProviderRegistry,
  generateObject,
  generateText,
  NoSuchModelError,
  Output,
  streamObject,
  streamText,
  UnsupportedFunctionalityError,
} from 'ai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { createSsmMetal, type SsmMetalProvider, ssmMetal } from '../../lib/ai-sdk/index.js'
import { loadModel, type Model, NoChatTemplateError, PLAIN_CHAT_TEMPLATE } from '../../lib/index.js'

// What it writes about warnings is asked for below.
globalThis.AI_SDK_LOG_WARNINGS = false

let loaded: Model
let provider: SsmMetalProvider
let model: ReturnType<SsmMetalProvider>
beforeAll(async () => {
  // One place and no queue: a call that follows one that has not left its place fails.
  const options = { chatTemplate: PLAIN_CHAT_TEMPLATE, maxStreams: 1, maxQueue: 0 }
  loaded = await loadModel(undefined, options)
  provider = createSsmMetal(options)
  model = provider(loaded)
})
afterAll(() => {
  loaded.dispose()
  provider.dispose()
})

const prompt = 'Tell me about the sea'
const asked = { maxOutputTokens: 12, temperature: 0.8, seed: 1, maxRetries: 0 }
const endless = {
  ...asked,
  maxOutputTokens: 30_000,
  providerOptions: { ssmMetal: { logitBias: { 0: -100 } } },
}

it('runs on a Node that the SDK supports', () => {
  expect(Number(process.versions.node.split('.')[0])).toBeGreaterThanOrEqual(22)
})

describe('generateText and streamText', () => {
  it('give the same text by the same seed, which is that of the model', async () => {
    const { text, finishReason, usage, providerMetadata, request } = await generateText({
      model,
      prompt,
      ...asked,
    })
    expect([finishReason, usage.outputTokens, usage.totalTokens]).toEqual([
      'length',
      12,
      usage.inputTokens! + 12,
    ])
    expect(providerMetadata!.ssmMetal).toMatchObject({
      seed: 1,
      timings: { promptMs: expect.any(Number) },
    })
    const streamed = streamText({ model, prompt, ...asked })
    const pieces: string[] = []
    for await (const piece of streamed.textStream) pieces.push(piece)
    expect(pieces.join('')).toBe(text)
    expect(pieces.length).toBeGreaterThan(6)
    expect([await streamed.finishReason, (await streamed.usage).outputTokens]).toEqual([
      'length',
      12,
    ])
    const made = await loaded.applyChatTemplate([{ role: 'user', content: prompt }], {
      addGenerationPrompt: true,
    })
    expect(request.body).toBeUndefined() // left out by the SDK unless asked for
    const own = await loaded.generate(made, {
      maxTokens: 12,
      temperature: 0.8,
      seed: 1,
      addSpecialTokens: false,
    })
    expect(own.text).toBe(text)
  })

  it('end at stop texts', async () => {
    const { text, finishReason } = await generateText({
      model,
      prompt,
      ...asked,
      maxOutputTokens: 400,
      stopSequences: ['.', '\n'],
    })
    expect(finishReason).toBe('stop')
    expect(text).not.toMatch(/[.\n]/)
  })

  it('are greedy unless told otherwise', async () => {
    const [one, two] = [
      await generateText({ model, prompt, maxOutputTokens: 8 }),
      await generateText({ model, prompt, maxOutputTokens: 8, temperature: 0 }),
    ]
    expect(one.text).toBe(two.text)
  })

  it('read what a conversation adds, and count the rest as read from the cache', async () => {
    const first = await generateText({ model, system: 'Be brief.', prompt, ...asked })
    expect(first.usage.inputTokenDetails.noCacheTokens).toBeGreaterThan(0)
    const { usage } = await generateText({
      model,
      system: 'Be brief.',
      messages: [
        { role: 'user', content: prompt },
        ...first.response.messages,
        { role: 'user', content: 'And the sky?' },
      ],
      ...asked,
    })
    const { cacheReadTokens, noCacheTokens } = usage.inputTokenDetails
    expect(cacheReadTokens).toBeGreaterThanOrEqual(first.usage.inputTokens!)
    expect(noCacheTokens! + cacheReadTokens!).toBe(usage.inputTokens)
    expect(noCacheTokens).toBeLessThan(first.usage.inputTokens!)
  })
})

describe('objects', () => {
  const schema = z.object({
    name: z.string().max(12),
    kind: z.enum(['sea', 'lake']),
    depth: z.number().int().min(0).max(99),
  })

  it('keep to their schema, by generateObject and streamObject', async () => {
    const { object, warnings } = await generateObject({
      model,
      prompt,
      schema,
      ...asked,
      maxOutputTokens: 200,
    })
    expect(schema.safeParse(object).success).toBe(true)
    expect(warnings).toEqual([])
    const streamed = streamObject({ model, prompt, schema, ...asked, maxOutputTokens: 200 })
    const partial: unknown[] = []
    for await (const each of streamed.partialObjectStream) partial.push(each)
    expect(partial.length).toBeGreaterThan(1)
    expect(await streamed.object).toEqual(object)
  })

  it('are an output of generateText too, as arrays and choices are', async () => {
    const output = Output.array({ element: z.object({ ok: z.boolean() }), description: 'two' })
    const all = { model, prompt, ...asked, maxOutputTokens: 400 }
    const list = await generateText({ ...all, temperature: 0, output }).catch((error) => error)
    // The model may not find an end: then what it wrote is the beginning of such a list.
    if (list instanceof Error) expect(list.message).toContain('No')
    else expect(list.output.every(({ ok }: { ok: unknown }) => typeof ok === 'boolean')).toBe(true)
    const choice = await generateText({
      ...all,
      output: Output.choice({ options: ['sea', 'lake'] }),
    })
    expect(['sea', 'lake']).toContain(choice.output)
    const json = await generateText({ ...all, output: Output.object({ schema: z.object({}) }) })
    expect(json.output).toEqual({})
  })

  it('are not all that a text can be held to', async () => {
    const providerOptions = {
      ssmMetal: { responseFormat: { type: 'regex', pattern: '(yes|no)!' } },
    }
    const { text } = await generateText({ model, prompt, ...asked, providerOptions })
    expect(text).toMatch(/^(yes|no)!$/)
  })
})

describe('abort', () => {
  it('ends a stream within a token, and frees its place', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const onAbort = vi.fn()
    const { fullStream } = streamText({ model, prompt, ...endless, abortSignal: signal, onAbort })
    const after: string[] = []
    for await (const { type } of fullStream) {
      if (controller.signal.aborted) after.push(type)
      else if (type === 'text-delta') controller.abort()
    }
    expect(after.filter((type) => type === 'text-delta').length).toBeLessThanOrEqual(1)
    expect(after.at(-1)).toBe('abort')
    expect(onAbort).toHaveBeenCalledOnce()
    await generateText({ model, prompt, ...asked })
  })

  it('ends a text, and what has not begun', async () => {
    const controller = new AbortController()
    const whole = generateText({ model, prompt, ...endless, abortSignal: controller.signal })
    setTimeout(() => controller.abort(), 20)
    await expect(whole).rejects.toThrow('abort')
    await expect(
      generateText({ model, prompt, ...asked, abortSignal: AbortSignal.abort() }),
    ).rejects.toThrow('abort')
    // Nor does it wait for a model that is being loaded.
    using other = createSsmMetal({ chatTemplate: PLAIN_CHAT_TEMPLATE })
    const loading = generateText({ model: other(), prompt, abortSignal: AbortSignal.timeout(1) })
    await expect(loading).rejects.toThrow('abort')
    await generateText({ model, prompt, ...asked })
  })

  it('is also to leave the stream', async () => {
    const { stream } = await model.doStream({
      prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
      ...endless,
    })
    const reader = stream.getReader()
    for (let i = 0; i < 5; i++) await reader.read()
    await reader.cancel()
    await generateText({ model, prompt, ...asked })
  })
})

describe('warnings', () => {
  const features = async (settings: Partial<Parameters<typeof generateText>[0]>) => {
    const all = { model, prompt, maxOutputTokens: 2, ...settings }
    const { warnings } = await generateText(all as Parameters<typeof generateText>[0])
    return warnings!.map((warning) => ('feature' in warning ? warning.feature : warning))
  }

  it('name the settings that have no effect', async () => {
    expect(await features({})).toEqual([])
    expect(await features({ temperature: 0.5, topP: 0.9, topK: 40, seed: 1 })).toEqual([])
    expect(await features({ topP: 0.9, topK: 40 })).toEqual(['topP', 'topK'])
    expect(await features({ headers: { 'x-a': '1' } })).toEqual(['headers'])
    expect(await features({ reasoning: 'high' })).toEqual(['reasoning'])
    expect(await features({ reasoning: 'none' })).toEqual([])
    const format = { type: 'regex', pattern: 'a' }
    const output = Output.object({ schema: z.object({}), name: 'a', description: 'b' })
    const given = { output, providerOptions: { ssmMetal: { responseFormat: format } } }
    expect(await features({ ...given, maxOutputTokens: 20 })).toEqual([
      'responseFormat.name',
      'responseFormat.description',
      'ssmMetal.responseFormat',
    ])
  })

  it('come with a stream too', async () => {
    const streamed = streamText({ model, prompt, maxOutputTokens: 2, topK: 3 })
    await streamed.consumeStream()
    expect(await streamed.warnings).toMatchObject([{ type: 'unsupported', feature: 'topK' }])
  })
})

describe('errors', () => {
  const rejects = (settings: object) =>
    expect(
      generateText({ model, prompt, ...asked, ...settings } as Parameters<typeof generateText>[0]),
    ).rejects

  it('refuse what is no text, without fetching it', async () => {
    const part = {
      type: 'file',
      mediaType: 'image/png',
      data: new URL('https://example.invalid/a.png'),
    }
    const failure = generateText({
      model,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'What is it?' }, part as never] }],
    }).catch((error) => error)
    const error = await failure
    expect(UnsupportedFunctionalityError.isInstance(error)).toBe(true)
    expect(error.functionality).toBe('file parts')
    expect(error.message).toMatch(/file \(image.*\): this model reads text only$/)
  })

  it('lead with the operation', async () => {
    await rejects({ seed: -1 }).toThrow('[doGenerate] seed must be')
    await rejects({ providerOptions: { ssmMetal: { minp: 1 } } }).toThrow(
      '[doGenerate] [ssmMetal] unknown option "minp": did you mean "minP"?',
    )
    const schema = z.object({ a: z.number().multipleOf(0.3) })
    const output = Output.object({ schema })
    await rejects({ output }).toThrow('"multipleOf"')
  })

  it('reach who reads a stream, before and after its first token', async () => {
    const errors: unknown[] = []
    const onError = ({ error }: { error: unknown }) => void errors.push(error)
    const refused = streamText({ model, prompt, ...asked, seed: -1, onError })
    await refused.consumeStream()
    const other = await loadModel(undefined, { chatTemplate: PLAIN_CHAT_TEMPLATE })
    const cut = streamText({ model: provider(other), prompt, ...endless, onError })
    for await (const _ of cut.textStream) other.dispose()
    expect(await cut.finishReason).toBe('error')
    expect((await cut.usage).outputTokens).toBeGreaterThan(0)
    expect(errors.map(String)).toEqual([
      expect.stringContaining('[doStream] seed must be'),
      expect.stringMatching(/DisposedError/),
    ])
  })

  it('say that there is no place', async () => {
    const controller = new AbortController()
    const running = streamText({ model, prompt, ...endless, abortSignal: controller.signal })
    const reader = running.textStream.getReader()
    await reader.read()
    await rejects({}).toMatchObject({ code: 'ERR_QUEUE_FULL' })
    controller.abort()
    await reader.read().catch(() => {})
    await reader.cancel()
  })

  it('say that a base model has no chat template', async () => {
    using bare = createSsmMetal()
    const failure = generateText({ model: bare(), prompt, maxRetries: 0 })
    await expect(failure).rejects.toBeInstanceOf(NoChatTemplateError)
  })

  it('say that there are no models of other kinds', () => {
    for (const kind of ['embeddingModel', 'imageModel'] as const) {
      const error = (() => {
        try {
          return provider[kind]('x')
        } catch (error) {
          return error
        }
      })()
      expect(NoSuchModelError.isInstance(error)).toBe(true)
    }
    expect(() => ssmMetal('')).toThrow('[languageModel] the model must be a path')
  })
})

describe('a provider', () => {
  it('is for registries, loads a model once, and loads it anew when it was disposed of', async () => {
    const options = { chatTemplate: PLAIN_CHAT_TEMPLATE, onProgress: vi.fn() }
    using own = createSsmMetal(options)
    const registry = createProviderRegistry({ local: own })
    const path = new URL('../../models/rene-tiny', import.meta.url).pathname
    const all = { prompt, ...asked }
    const [a, b] = await Promise.all([
      generateText({ model: registry.languageModel(`local:${path}`), ...all }),
      generateText({ model: own(path), ...all }),
    ])
    expect(a.text).toBe(b.text)
    const ends = () =>
      options.onProgress.mock.calls.filter(([{ loaded, total }]) => loaded === total)
    expect(ends()).toHaveLength(1)
    own.dispose()
    const again = await generateText({ model: own(path), ...all })
    expect(again.text).toBe(a.text)
    expect(ends()).toHaveLength(2)
    expect(a.response.modelId).toBe(path)
  })

  it('tries again where a model could not be loaded', async () => {
    using own = createSsmMetal()
    for (let i = 0; i < 2; i++) {
      const failure = generateText({ model: own('./nowhere'), prompt, maxRetries: 0 })
      await expect(failure).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' })
    }
  })
})
