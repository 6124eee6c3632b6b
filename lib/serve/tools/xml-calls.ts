// Calls as `<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>`.

import type { OfferedTool, WrittenCall } from './call.js'
import { isJsonText, textOfValue, type ValueKinds, valueKinds, valueOfText } from './xml-values.js'

/** What ends a value. */
export const PARAMETER_END = '</parameter>'

const PARAMETER = /\s*<parameter=([^>\s]+)>\n?/y

/**
 * The call of a block; undefined for what is none.
 *
 * @example parseXmlCalls('<function=add>\n<parameter=a>\n1\n</parameter>\n</function>', tools)
 */
export function parseXmlCalls(
  block: string,
  tools: readonly OfferedTool[],
): WrittenCall[] | undefined {
  const [, name, body] = /^\s*<function=([^>\s]+)>(.*)<\/function>\s*$/s.exec(block) ?? []
  if (name === undefined || body === undefined) return undefined
  const parameters = tools.find((tool) => tool.name === name)?.parameters
  const { properties } = (parameters ?? {}) as { properties?: Readonly<Record<string, unknown>> }
  const entries: [string, unknown][] = []
  let end = 0
  for (;;) {
    PARAMETER.lastIndex = end
    const [begun, key] = PARAMETER.exec(body) ?? []
    if (begun === undefined || key === undefined) break
    const schema = properties && Object.hasOwn(properties, key) ? properties[key] : undefined
    const kinds = valueKinds(schema, parameters)
    const begin = end + begun.length
    const close = valueEnd(body, begin, kinds)
    if (close < 0) return undefined
    entries.push([key, valueOfText(withoutNewline(body.slice(begin, close)), kinds)])
    end = close + PARAMETER_END.length
  }
  if (body.slice(end).trim() !== '') return undefined
  return [{ name, arguments: Object.fromEntries(entries) }]
}

/** A call as the model would have written it. */
export function xmlCall({ name, arguments: given }: WrittenCall): string {
  const parts = Object.entries(given).map(
    ([key, value]) => `<parameter=${key}>\n${textOfValue(value)}\n${PARAMETER_END}\n`,
  )
  return `<function=${name}>\n${parts.join('')}</function>`
}

/** Where a value ends: a text at the first tag, JSON where it is whole; -1: nowhere. */
function valueEnd(body: string, begin: number, { types }: ValueKinds): number {
  const first = body.indexOf(PARAMETER_END, begin)
  if (!types?.size || types.has('string')) return first
  for (let end = first; end >= 0; end = body.indexOf(PARAMETER_END, end + 1)) {
    if (isJsonText(withoutNewline(body.slice(begin, end)))) return end
  }
  return first
}

const withoutNewline = (text: string) => (text.endsWith('\n') ? text.slice(0, -1) : text)
