// Calls as `<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>`.

import type { OfferedTool, WrittenCall } from './calls.js'

const PARAMETER = /\s*<parameter=([^>\s]+)>\n?(.*?)\n?<\/parameter>/sy

/**
 * The call of a block; undefined for what is none. Values are texts: those of parameters that are none by their schema
 * are read as JSON.
 *
 * @example parseXmlCalls('<function=add>\n<parameter=a>\n1\n</parameter>\n</function>', tools)
 */
export function parseXmlCalls(
  block: string,
  tools: readonly OfferedTool[],
): WrittenCall[] | undefined {
  const [, name, body] = /^\s*<function=([^>\s]+)>(.*)<\/function>\s*$/s.exec(block) ?? []
  if (name === undefined || body === undefined) return undefined
  const { properties } = (tools.find((tool) => tool.name === name)?.parameters ?? {}) as {
    properties?: Readonly<Record<string, { readonly type?: unknown }>>
  }
  const entries: [string, unknown][] = []
  let end = 0
  for (;;) {
    PARAMETER.lastIndex = end
    const match = PARAMETER.exec(body)
    if (!match) break
    end = PARAMETER.lastIndex
    const [, key, text] = match as unknown as [string, string, string]
    const type = properties && Object.hasOwn(properties, key) ? properties[key]?.type : undefined
    entries.push([key, typedValue(text, type)])
  }
  if (body.slice(end).trim() !== '') return undefined
  return [{ name, arguments: Object.fromEntries(entries) }]
}

function typedValue(text: string, type: unknown): unknown {
  if (type === undefined || type === 'string') return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
