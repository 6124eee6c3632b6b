// The page of ssm-metal serve: a conversation, or a text for a model without a chat template. What the model writes only
// ever becomes the text of an element.

const element = (id) => document.getElementById(id)
const [log, input, status] = ['log', 'input', 'status'].map(element)
const buttons = { send: element('send'), stop: element('stop'), more: element('continue') }

/** The model, as /v1/models describes it. */
let model
/** What was said so far. */
let messages = []
/** The answer that may go on, and its element. */
let last
/** Ends the answer under way. */
let running

const headers = () => {
  const key = element('key').value
  return { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) }
}

function say(text, isWrong = false) {
  status.textContent = text
  status.className = isWrong ? 'wrong' : ''
}

function addTurn(role, text = '') {
  const turn = document.createElement('p')
  turn.className = `turn ${role}`
  const parts = ['who', 'thoughts', 'text'].map((name) => {
    const part = document.createElement('span')
    part.className = name
    turn.append(part)
    return part
  })
  parts[0].textContent = role === 'user' ? 'You' : model.id
  parts[2].textContent = text
  log.append(turn)
  log.scrollTop = log.scrollHeight
  return { thoughts: parts[1], text: parts[2] }
}

const bytes = (count) => `${(count / 2 ** 20).toFixed(1)} MiB`

async function failed(response) {
  const { error } = await response.json().catch(() => ({}))
  if (response.status === 401) element('access').open = true
  throw new Error(error?.message ?? `the server answered ${response.status}`)
}

async function findModel() {
  const response = await fetch('v1/models', { headers: headers() })
  if (!response.ok) await failed(response)
  ;[model] = (await response.json()).data
  element('model').textContent = model.id
  document.title = model.id
  if (model.state_bytes) element('state').textContent = bytes(model.state_bytes)
  if (!model.has_chat_template) element('label').textContent = 'Text to go on from'
}

/** The objects of a stream of events. */
async function* eventsOf(response) {
  let held = ''
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (held + text).split('\n\n')
    held = parts.pop()
    for (const part of parts) {
      const data = part.replace(/^data: /, '')
      if (data !== '[DONE]') yield JSON.parse(data)
    }
  }
}

function request(isMore) {
  const options = { model: model.id, stream: true, stream_options: { include_usage: true } }
  if (!model.has_chat_template) {
    const prompt = messages.map(({ content }) => content).join('')
    return ['v1/completions', { ...options, prompt, max_tokens: Math.min(512, model.max_tokens) }]
  }
  const more = isMore ? { continue_final_message: true } : {}
  return ['v1/chat/completions', { ...options, ...more, messages }]
}

function show({ usage, timings }, { count, start }) {
  const seconds = (performance.now() - start) / 1000
  const rate = timings?.predicted_per_second || count / seconds
  if (count > 1) element('rate').textContent = rate.toFixed(1)
  element('tokens').textContent = usage
    ? `${usage.prompt_tokens} + ${usage.completion_tokens}`
    : count
  if (usage) element('cached').textContent = usage.prompt_tokens_details.cached_tokens
}

async function answer(isMore) {
  running = new AbortController()
  const { signal } = running
  update()
  say('Working …')
  try {
    if (!model) await findModel()
    const [path, body] = request(isMore)
    const response = await fetch(path, {
      method: 'POST',
      headers: headers(),
      body: JSON.stringify(body),
      signal,
    })
    if (!response.ok) await failed(response)
    if (!isMore) {
      last = { message: { role: 'assistant', content: '' }, ...addTurn('assistant') }
      messages.push(last.message)
    }
    let count = 0
    const start = performance.now()
    let reason
    for await (const event of eventsOf(response)) {
      if (event.error) throw new Error(event.error.message)
      const [choice] = event.choices
      const text = choice?.delta?.content ?? choice?.text ?? ''
      const thought = choice?.delta?.reasoning_content ?? ''
      if (text || thought) count += 1
      reason = choice?.finish_reason ?? reason
      last.message.content += text
      last.text.textContent = last.message.content.trimStart()
      last.thoughts.textContent += thought
      log.scrollTop = log.scrollHeight
      show(event, { count, start })
    }
    say(reason === 'length' ? 'The answer has reached its limit.' : 'Done.')
  } catch (error) {
    if (signal.aborted) say('Stopped.')
    else say(error.message, true)
  } finally {
    running = undefined
    update()
    input.focus()
  }
}

function update() {
  const isBusy = running !== undefined
  buttons.send.disabled = isBusy
  buttons.stop.disabled = !isBusy
  buttons.more.disabled = isBusy || !last?.message.content
}

async function send() {
  const text = input.value
  if (running || text.trim() === '') return
  try {
    if (!model) await findModel()
  } catch (error) {
    say(error.message, true)
    return
  }
  input.value = ''
  messages.push({ role: 'user', content: text })
  addTurn('user', text)
  await answer(false)
}

element('form').addEventListener('submit', (event) => {
  event.preventDefault()
  void send()
})
input.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  void send()
})
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') running?.abort()
})
buttons.stop.addEventListener('click', () => running?.abort())
buttons.more.addEventListener('click', () => void answer(true))
element('clear').addEventListener('click', () => {
  running?.abort()
  messages = []
  last = undefined
  log.replaceChildren()
  say('')
  update()
  input.focus()
})
findModel().catch((error) => say(error.message, true))
