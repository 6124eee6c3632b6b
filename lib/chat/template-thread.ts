// Renders chat templates. Runs on a thread of its own (isolated-thread.ts): they come from the network.

import { answerRequests } from '../support/isolated-answers.js'
import { messageOf } from '../support/realms.js'
import { render } from './jinja/evaluate.js'
import { globalsAt } from './jinja/globals.js'
import { type Node, parseTemplate } from './jinja/parse.js'
import { LARGEST_TEXT, TemplateError, TemplateRefusal, fromJson } from './jinja/values.js'

/** What a template is rendered with. */
export interface TemplateRequest {
  template: string
  /** Its variables, as a JSON object: what comes from it has no methods. */
  variables: string
  /** For strftime_now: milliseconds since 1970. */
  now: number
}

// A process renders few templates, again and again.
const MOST_TREES = 8
const trees = new Map<string, Node[]>()

function treeOf(template: string): Node[] {
  const tree = trees.get(template) ?? parseTemplate(template)
  trees.delete(template)
  trees.set(template, tree)
  if (trees.size > MOST_TREES) trees.delete(trees.keys().next().value!)
  return tree
}

answerRequests(({ template, variables, now }: TemplateRequest): string => {
  try {
    const values = Object.entries(JSON.parse(variables) as object)
    const all = values.map(([name, value]) => [name, fromJson(value)] as const)
    return render(treeOf(template), new Map([...globalsAt(new Date(now)), ...all]))
  } catch (error) {
    if (error instanceof TemplateError || error instanceof TemplateRefusal) throw error
    // Python has a limit of recursion too.
    if (error instanceof RangeError && messageOf(error).includes('call stack')) {
      throw new TemplateError('it nests, or calls itself, too deeply')
    }
    // V8's limit of a text's length is larger than ours.
    if (error instanceof RangeError && messageOf(error).includes('string length')) {
      throw new TemplateError(`it makes a text of more than ${LARGEST_TEXT} characters`)
    }
    throw error
  }
})
