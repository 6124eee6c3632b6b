// The forms in which models write calls of tools, each told by a part of a published chat template.

import { callFormatOf } from '../../lib/serve/tools/calls.js'

export const CALL_FORMATS = {
  JSON: callFormatOf('within <tool_call></tool_call> XML tags')!,
  'a list of JSON': callFormatOf("{{- '<TOOLCALL>[' -}}")!,
  Python: callFormatOf('List of tools: <|tool_list_start|>[')!,
  XML: callFormatOf('<tool_call>\n<function=example_function_name>')!,
} as const
export type Form = keyof typeof CALL_FORMATS
