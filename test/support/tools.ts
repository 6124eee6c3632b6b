// A tool for models to call, and a chat template that offers tools.

/** Tools and calls as Qwen's and Granite's templates have them, shorter. */
export const TOOL_TEMPLATE = `
{%- if tools %}{{ '<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools>' }}{% endif %}
{%- for message in messages %}{{ message.role ~ ': ' ~ message.content }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' ~ (call.function | tojson) ~ '</tool_call>' }}{% endfor %}{{ ';' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}`

export const weather = {
  name: 'weather',
  description: 'The weather of a city',
  parameters: {
    type: 'object',
    properties: {
      city: { enum: ['Rome', 'Oslo'] },
      days: { type: 'integer', minimum: 1, maximum: 9 },
    },
    required: ['city', 'days'],
  },
}
