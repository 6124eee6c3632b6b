// What a header of Apple's declares, in a form in which two sources can be compared: our headers (sdk/),
// as clang reads them, and the source of objc2, which is generated from Apple's.
//
// Types are written as in C without const and ownership: `NSUInteger`, `NSString *`, `id<MTLBuffer>`,
// `void (^)(void *, NSUInteger)`. A question mark at the end says that it may be null, a tilde that nothing
// says whether it may.

export interface Method {
  isClassMethod: boolean
  parameters: string[]
  result: string
}

export interface ObjectType {
  /** The superclass, or the protocols that a protocol extends. */
  parents: string[]
  /** By selector. */
  methods: Map<string, Method>
}

export interface Api {
  /** Classes and protocols. */
  objects: Map<string, ObjectType>
  /** The type that holds the values of an enumeration. */
  enums: Map<string, string>
  /** Of enumerations, by their name in C. */
  constants: Map<string, bigint>
  /** Name and type of each field, in order. */
  structs: Map<string, [string, string][]>
  /** Constants that a framework exports, with their type. */
  variables: Map<string, string>
  functions: Map<string, { parameters: string[]; result: string; isRetained: boolean }>
  aliases: Map<string, string>
}

export function emptyApi(): Api {
  return {
    objects: new Map(),
    enums: new Map(),
    constants: new Map(),
    structs: new Map(),
    variables: new Map(),
    functions: new Map(),
    aliases: new Map(),
  }
}

/** A method of a class or protocol or of one that it inherits from. */
export function findMethod(api: Api, owner: string, selector: string): Method | undefined {
  const object = api.objects.get(owner)
  const own = object?.methods.get(selector)
  if (own) return own
  for (const parent of object?.parents ?? []) {
    const inherited = findMethod(api, parent, selector)
    if (inherited) return inherited
  }
  return undefined
}

/**
 * How what `ours` declares differs from what `theirs` does. What only theirs has is no difference, nor are
 * the methods of NSObject, which belong to the language.
 */
export function differences(ours: Api, theirs: Api): string[] {
  const found: string[] = []
  const compare = (what: string, a: unknown, b: unknown) => {
    const [mine, apples] = [a, b].map(text)
    if (mine !== apples) found.push(`${what}: ours ${mine}, Apple's ${apples}`)
  }
  const same = (what: string, mine: string, apples: string | undefined) => {
    const open = apples?.endsWith('~')
    const [a, b] = [expand(mine, ours), expand(apples?.replace(/~$/, '') ?? '', theirs)]
    if (apples === undefined) found.push(`${what}: Apple has none`)
    else compare(what, open ? a.replace(/\?$/, '') : a, b)
  }
  const signature = (what: string, mine: Signature, apples: Signature) => {
    compare(`${what}: number of parameters`, mine.parameters.length, apples.parameters.length)
    mine.parameters.forEach((type, i) => {
      same(`${what}: parameter ${i}`, type, apples.parameters[i])
    })
    same(`${what}: result`, mine.result, apples.result)
  }
  for (const [name, { parents, methods }] of ours.objects) {
    if (LANGUAGE.includes(name)) continue
    if (!theirs.objects.has(name)) found.push(`${name}: Apple has none`)
    for (const parent of parents.filter((each) => !LANGUAGE.includes(each))) {
      compare(`${name}: is ${parent}`, true, ancestors(theirs, name).has(parent))
    }
    for (const [selector, method] of methods) {
      const what = `${name} ${selector}`
      const apples = findMethod(theirs, name, selector)
      if (apples === undefined) found.push(`${what}: Apple has none`)
      else {
        compare(`${what}: is a class method`, method.isClassMethod, apples.isClassMethod)
        signature(what, method, apples)
      }
    }
  }
  for (const [name, type] of ours.enums) compare(`${name}: type`, type, theirs.enums.get(name))
  for (const [name, value] of ours.constants) compare(name, value, theirs.constants.get(name))
  for (const [name, fields] of ours.structs) compare(name, fields, theirs.structs.get(name))
  for (const [name, type] of ours.aliases) same(name, type, theirs.aliases.get(name))
  for (const [name, type] of ours.variables) same(name, type, theirs.variables.get(name))
  for (const [name, mine] of ours.functions) {
    const apples = theirs.functions.get(name)
    if (apples === undefined) found.push(`${name}: Apple has none`)
    else {
      signature(name, mine, apples)
      compare(`${name}: is retained`, mine.isRetained, apples.isRetained)
    }
  }
  return found
}

type Signature = Pick<Method, 'parameters' | 'result'>

const LANGUAGE = ['NSObject', 'Protocol']

function text(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value)
}

/** A type with the aliases in it replaced. */
function expand(type: string, api: Api): string {
  return type.replace(/\b(MTL|NS)\w+/g, (name) => {
    const alias = api.aliases.get(name)
    return alias === undefined || alias === name ? name : expand(alias.replace(/~$/, ''), api)
  })
}

function ancestors(api: Api, name: string): Set<string> {
  const found = new Set(api.objects.get(name)?.parents)
  for (const parent of [...found]) {
    for (const each of ancestors(api, parent)) found.add(each)
  }
  return found
}

/** The parts of a list between commas that are in no bracket of any kind. */
export function splitList(text: string): string[] {
  const parts: string[] = []
  let [depth, start] = [0, 0]
  for (let i = 0; i < text.length; i++) {
    const isArrow = text[i] === '>' && text[i - 1] === '-'
    if ('([{<'.includes(text[i]!)) depth += 1
    if (')]}>'.includes(text[i]!) && !isArrow) depth -= 1
    if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(start, i))
      start = i + 1
    }
  }
  parts.push(text.slice(start))
  return parts.map((part) => part.trim()).filter(Boolean)
}
