// The chat template for models that have none of their own.

/**
 * For base models, which have no template: the system text, then lines `User: ...` and `Assistant:...`. An assistant's
 * turn ends with the tokenizer's eos_token, or a line if it has none. Its content stays as it is, so that the
 * text of a conversation begins with the one that its last answer was generated for. That is why no space comes before it:
 * models begin their answers with one. Tools and contents other than text are refused.
 *
 * @example await model.applyChatTemplate(messages, { template: PLAIN_CHAT_TEMPLATE, addGenerationPrompt: true })
 */
export const PLAIN_CHAT_TEMPLATE = `
{%- macro text(content) %}
{%- if content is string %}{{ content }}
{%- else %}
{%- for part in content %}
{%- if part.type != 'text' %}{{ raise_exception('a part of type ' ~ part.type ~ ' is no text') }}{% endif %}
{{- part.text }}
{%- endfor %}
{%- endif %}
{%- endmacro %}
{%- for message in messages %}
{%- if message.role in ['system', 'developer'] %}{{ text(message.content) ~ '\\n\\n' }}
{%- elif message.role == 'user' %}{{ 'User: ' ~ text(message.content) ~ '\\n' }}
{%- elif message.role == 'assistant' %}
{{- 'Assistant:' ~ text(message.content) ~ (eos_token or '\\n') }}
{%- else %}{{ raise_exception('the role ' ~ message.role ~ ' is none of system, user and assistant') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}`
