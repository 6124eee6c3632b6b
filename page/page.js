// The page of ssm-metal serve: a conversation, or a text for a model without a chat template. What the model writes only
// ever becomes the text of an element.

const element = (id) => document.getElementById(id)
const [log, input, status, access] = ['log', 'input', 'status', 'access'].map(element)
const buttons = { send: element('send'), stop: element('stop'), more: element('continue') }

/** The model, as /v1/models describes it. */
let model
/** What was said so far: messages, and the elements that show them. */
let turns = []
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

/** A message, and what shows it. Text is added to it once a frame, however many tokens come. */
class Turn {
  message
  #root = document.createElement('p')
  #parts = {}
  #waiting = { thoughts: '', text: '' }
  #frame = 0

  constructor(role, content = '') {
    this.message = { role, content: '' }
    this.#root.className = `turn ${role}`
    for (const name of ['who', 'thoughts', 'text']) {
      const part = document.createElement('span')
      part.className = name
      this.#root.append(part)
      this.#parts[name] = part
    }
    this.#parts.who.textContent = role === 'user' ? 'You' : model.id
    log.append(this.#root)
    this.add({ text: content })
    this.show({ isSeen: true })
    turns.push(this)
  }

  add({ text = '', thoughts = '' }) {
    // Many models begin with a space, or an empty line, which is part of the message.
    this.#waiting.text += this.message.content.trim() === '' ? text.trimStart() : text
    this.message.content += text
    this.#waiting.thoughts += thoughts
    this.#frame ||= requestAnimationFrame(() => this.show())
  }

  /** @param isSeen Whether the end is scrolled to, even by who reads further above. */
  show({ isSeen = false } = {}) {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40
    for (const name of ['thoughts', 'text']) {
      if (this.#waiting[name] !== '') this.#parts[name].append(this.#waiting[name])
      this.#waiting[name] = ''
    }
    if (isAtEnd || isSeen) log.scrollTop = log.scrollHeight
  }

  remove() {
    this.show()
    this.#root.remove()
    turns = turns.filter((turn) => turn !== this)
  }
}

async function failed(response) {
  const { error } = await response.json().catch(() => ({}))
  if (response.status === 401) {
    access.hidden = false
    element('key').focus()
  }
  throw new Error(error?.message ?? `the server answered ${response.status}`)
}

async function findModel() {
  const response = await fetch('v1/models', { headers: headers() })
  if (!response.ok) await failed(response)
  ;[model] = (await response.json()).data
  element('model').textContent = model.id
  document.title = model.id
  if (model.state_bytes) {
    element('state').textContent = `${(model.state_bytes / 2 ** 20).toFixed(1)} MiB`
  }
  if (!model.has_chat_template) element('label').textContent = 'Text to go on from'
}

/** The objects of a stream of events. */
async function* eventsOf(response) {
  let held = ''
  for await (const text of chunksOf(response.body.pipeThrough(new TextDecoderStream()))) {
    const parts = (held + text).split('\n\n')
    held = parts.pop()
    for (const part of parts) {
      const data = part.replace(/^data: /, '')
      if (data !== '[DONE]') yield JSON.parse(data)
    }
  }
}

// Safari's streams cannot be iterated over.
async function* chunksOf(stream) {
  const reader = stream.getReader()
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    yield value
  }
}

function request(isMore) {
  const messages = turns.map(({ message }) => message)
  const options = { model: model.id, stream: true, timings_per_token: true }
  if (!model.has_chat_template) {
    const prompt = messages.map(({ content }) => content).join('')
    return ['v1/completions', { ...options, prompt, max_tokens: Math.min(512, model.max_tokens) }]
  }
  const more = isMore ? { continue_final_message: true } : {}
  return ['v1/chat/completions', { ...options, ...more, messages }]
}

function showCost({ prompt_n, cache_n, predicted_n, predicted_per_second }) {
  element('prompt').textContent = prompt_n + cache_n
  element('cached').textContent = cache_n
  element('answer').textContent = predicted_n
  if (predicted_per_second > 0) element('rate').textContent = predicted_per_second.toFixed(1)
}

/** Adds what the model says to `turn`. */
async function readAnswer(response, turn) {
  let reason
  for await (const event of eventsOf(response)) {
    if (event.error) throw new Error(event.error.message)
    const [choice] = event.choices
    turn.add({
      text: choice.delta?.content ?? choice.text ?? '',
      thoughts: choice.delta?.reasoning_content ?? '',
    })
    reason = choice.finish_reason ?? reason
    if (event.timings) showCost(event.timings)
  }
  say(reason === 'length' ? 'The answer has reached its limit.' : 'Done.')
}

/** @param more The answer that goes on; without one another begins. */
async function answer(more) {
  running = new AbortController()
  const { signal } = running
  update()
  say('Working …')
  let turn = more
  try {
    const [path, body] = request(more !== undefined)
    const sent = { method: 'POST', headers: headers(), body: JSON.stringify(body), signal }
    const response = await fetch(path, sent)
    if (!response.ok) await failed(response)
    turn ??= new Turn('assistant')
    await readAnswer(response, turn)
  } catch (error) {
    if (signal.aborted) say('Stopped.')
    else say(error.message, true)
  } finally {
    turn?.show()
    running = undefined
    if (!more) takeBack(turn)
    update()
    if (access.hidden) goToInput()
  }
}

// Not where that brings up a keyboard over what there is to read.
function goToInput() {
  if (!matchMedia('(pointer: coarse)').matches) input.focus()
}

/** What was asked without an answer may be asked again. */
function takeBack(turn) {
  if (turn?.message.content) return
  const asked = turns.findLast(({ message }) => message.role === 'user')
  turn?.remove()
  asked?.remove()
  if (input.value === '' && asked) input.value = asked.message.content
}

function update() {
  const isBusy = running !== undefined
  buttons.send.disabled = isBusy
  buttons.stop.disabled = !isBusy
  buttons.more.disabled = isBusy || turns.at(-1)?.message.role !== 'assistant'
  // A reader of the screen is told of a whole answer, not of each of its tokens.
  log.setAttribute('aria-busy', String(isBusy))
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
  new Turn('user', text)
  await answer()
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
  if (event.key === 'Escape' && !event.isComposing) running?.abort()
})
buttons.stop.addEventListener('click', () => running?.abort())
buttons.more.addEventListener('click', () => void answer(turns.at(-1)))
element('clear').addEventListener('click', () => {
  running?.abort()
  for (const turn of [...turns]) turn.remove()
  say('')
  update()
  goToInput()
})
access.addEventListener('submit', async (event) => {
  event.preventDefault()
  try {
    await findModel()
    access.hidden = true
    say('')
    goToInput()
  } catch (error) {
    say(error.message, true)
  }
})
// The keyboard of a phone covers what the page believes to have.
visualViewport?.addEventListener('resize', () => {
  document.body.style.height = `${visualViewport.height}px`
  log.scrollTop = log.scrollHeight
})

goToInput()
findModel().catch((error) => say(error.message, true))
