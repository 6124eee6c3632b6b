// What Apple's headers declare, as the source of the crates objc2-metal and objc2-foundation has it:
// generated from those headers, and published on crates.io. Nothing of it is compiled or kept here.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type Api, emptyApi, type Method, type ObjectType, splitList } from './api.js'

const manifest = new URL('objc2/', import.meta.url)

/**
 * Reads the crates. cargo fetches them from crates.io when objc2/Cargo.lock has changed, into `cache`.
 * Throws what failed.
 */
export function readObjc2(cache: string): Api {
  const folder = fetchCrates(cache)
  const api = emptyApi()
  const files = ['objc2-metal', 'objc2-foundation'].flatMap((crate) =>
    ['src', 'src/generated'].flatMap((part) =>
      readdirSync(join(folder, crate, part))
        .filter((name) => name.endsWith('.rs'))
        .map((name) => join(folder, crate, part, name)),
    ),
  )
  const values = new Map<string, string>()
  for (const file of files) readFile(readFileSync(file, 'utf8'), api, values)
  for (const [name, text] of values) {
    const value = evaluate(text, values)
    if (value !== undefined) api.constants.set(name, value)
  }
  return api
}

function fetchCrates(cache: string): string {
  const lock = readFileSync(new URL('Cargo.lock', manifest))
  const version = createHash('sha256').update(lock).digest('hex').slice(0, 12)
  const folder = join(cache, `objc2-${version}`)
  if (existsSync(folder)) return folder
  mkdirSync(cache, { recursive: true })
  const partial = `${folder}.${process.pid}`
  const args = ['vendor', '--locked', '--manifest-path', new URL('Cargo.toml', manifest).pathname]
  const options = { encoding: 'utf8', cwd: cache } as const
  const { status, error, stderr } = spawnSync('cargo', [...args, partial], options)
  if (status !== 0) {
    rmSync(partial, { recursive: true, force: true })
    throw new Error(
      `objc2's crates could not be fetched from crates.io; it needs the network and cargo 1.68 or newer (Debian 12: apt-get install cargo-web): ${error?.message ?? stderr}`,
    )
  }
  if (!existsSync(folder)) renameSync(partial, folder)
  rmSync(partial, { recursive: true, force: true })
  return folder
}

/** `values` gets the text of each constant, by its name in C and by its name in Rust. */
function readFile(source: string, api: Api, values: Map<string, string>): void {
  const text = withoutAttributes(source.replace(/\/\/.*$/gm, ''))
  readObjects(text, api)
  for (const [, name, aliased] of text.matchAll(/pub type (\w+)\s*=\s*([^;]+);/g)) {
    api.aliases.set(name!, typeOf(aliased!))
  }
  for (const [, name, type] of text.matchAll(/pub static (\w+): &'static (\w+);/g)) {
    api.variables.set(name!, typeOf(`&${type}`))
  }
  for (const [, name, type] of text.matchAll(/pub struct (MTL\w+|NS\w+)\(pub (\w+)\);/g)) {
    api.enums.set(name!, type!)
  }
  for (const [, name, body] of text.matchAll(/pub struct (MTL\w+|NS\w+) \{([^}]*)\}/g)) {
    const fields = splitList(body!).map((field) => /(?:pub )?(\w+): (.*)/s.exec(field))
    if (fields.some((field) => field === null)) continue
    const typed = fields.map((field) => [field![1]!, typeOf(field![2]!)])
    api.structs.set(name!, typed as [string, string][])
  }
  // Of enumerations, where the name in C is an alias, and others.
  const owners = /impl (\w+)(?:: \w+)? \{((?:[^{}]|\{[^{}]*\})*)\}/g
  for (const [, owner, body] of text.matchAll(owners)) {
    const constants =
      /#\[doc\(alias = "(\w+)"\)\]\s*(?:pub )?const (\w+)(?:: Self = Self\(([^;]*)\)| = ([^;]*));/g
    for (const [, name, short, inEnum, inOptions] of body!.matchAll(constants)) {
      const value = (inEnum ?? inOptions)!
      values.set(name!, value)
      values.set(`${owner}::${short}.0`, value)
    }
  }
  for (const [, name, value] of text.matchAll(/pub(?:\(crate\))? const (\w+): \w+ = ([^;]+);/g)) {
    values.set(name!, value!)
  }
  for (const [, name, parameters, result, body] of text.matchAll(
    /pub extern "C-unwind" fn (\w+)\(([^)]*)\)(?: -> ([^{]+))? \{([\s\S]*?)\n\}/g,
  )) {
    api.functions.set(name!, {
      parameters: parametersOf(parameters!),
      result: typeOf(result ?? '()'),
      isRetained: /Retained::from_raw/.test(body!),
    })
  }
}

/** Without conditions, deprecations and the like; what says which method or constant it is stays. */
function withoutAttributes(text: string): string {
  let result = ''
  let at = 0
  for (const { index } of text.matchAll(/#\[(?!unsafe\((method|super)|doc\(alias)/g)) {
    if (index < at) continue
    result += text.slice(at, index)
    let depth = 0
    at = index + 1
    do {
      if (text[at] === '[') depth += 1
      if (text[at] === ']') depth -= 1
      at += 1
    } while (depth > 0)
  }
  return result + text.slice(at)
}

function readObjects(text: string, api: Api): void {
  const object = (name: string) => {
    const known: ObjectType = api.objects.get(name) ?? { parents: [], methods: new Map() }
    api.objects.set(name, known)
    return known
  }
  for (const [, parents, name] of text.matchAll(
    /#\[unsafe\(super\(([^)]*)\)\)\]\s*(?:#\[[^\]]*\]\s*)*pub struct (\w+)/g,
  )) {
    object(name!).parents.push(...splitList(parents!).slice(0, 1))
  }
  for (const [, name, parents] of text.matchAll(/pub unsafe trait (\w+):([^{]*)\{/g)) {
    object(name!).parents.push(...parents!.split('+').map((parent) => parent.trim()))
  }
  const owners = [...text.matchAll(/(?:pub unsafe trait|\bimpl(?:<[^{]*?>)?) (\w+)[^{;]*\{/g)]
  const pattern =
    /#\[unsafe\(method\(([^)]+)\)\)\]\s*#\[unsafe\(method_family = \w+\)\]\s*(?:pub )?(?:unsafe )?fn \w+(?:<[^(]*>)?\(([\s\S]*?)\)\s*(?:->\s*([\s\S]*?))?;/g
  for (const method of text.matchAll(pattern)) {
    const owner = owners.findLast(({ index }) => index < method.index)?.[1]
    if (owner === undefined) throw new Error(`no owner of ${method[1]}`)
    const [, selector, parameters, result] = method
    object(owner).methods.set(
      selector!.replace(/:_$/, ':'),
      methodOf(selector!, parameters!, result ?? '()'),
    )
  }
}

function methodOf(selector: string, list: string, result: string): Method {
  const parameters = parametersOf(list)
  let type = result
  // The last parameter is an error that objc2 returns instead.
  if (selector.endsWith(':_')) {
    const value = splitList(/^Result<([\s\S]*)>$/.exec(result.trim())![1]!)[0]!
    type = value === '()' ? 'bool' : `Option<${value}>`
    parameters.push('NSError **?')
  }
  const isClassMethod = !/^\s*(&self|this: Allocated)/.test(list)
  return { isClassMethod, parameters, result: typeOf(type) }
}

function parametersOf(list: string): string[] {
  return splitList(list)
    .filter((parameter) => parameter !== '&self' && !/^(this|_?mtm):/.test(parameter))
    .map((parameter) => typeOf(parameter.replace(/^(r#)?\w+:\s*/, '')))
}

const NAMES: Record<string, string> = {
  '()': 'void',
  bool: 'BOOL',
  Bool: 'BOOL',
  c_void: 'void',
  c_char: 'char',
  AnyObject: 'id',
  Self: 'instancetype',
  u8: 'uint8_t',
  u32: 'uint32_t',
  u64: 'uint64_t',
  i32: 'int',
  f32: 'float',
  f64: 'double',
  c_float: 'float',
  c_double: 'double',
}

/** A type of Rust as api.ts writes it. Names of other types stay. */
function typeOf(rust: string): string {
  const text = rust.replace(/\s+/g, ' ').trim()
  const optional = /^Option<(.*)>$/.exec(text)?.[1]
  if (optional !== undefined) return `${typeOf(optional)}?`
  const block = /^block2::DynBlock<dyn Fn\((.*)\)(?: -> (.*))?>$/.exec(text)
  if (block)
    return `${typeOf(block[2] ?? '()')} (^)(${splitList(block[1]!).map(typeOf).join(', ')})`
  const protocol = /^ProtocolObject<dyn ([\w +]+)>$/.exec(text)?.[1]
  if (protocol !== undefined) return `id<${protocol.replaceAll(' + ', ', ')}>`
  const owned = /^Retained<(.*)>$/.exec(text)?.[1] ?? /^&(?!mut )(.*)$/.exec(text)?.[1]
  if (owned !== undefined) return objectOf(typeOf(owned))
  const raw = /^\*(?:const|mut) (.*)$/.exec(text)?.[1]
  if (raw !== undefined) return `${typeOf(`NonNull<${raw}>`)}~`
  const pointee = /^NonNull<(.*)>$/.exec(text)?.[1] ?? /^&mut (.*)$/.exec(text)?.[1]
  if (pointee !== undefined) {
    const target = typeOf(pointee).replace(/[?~]$/, '')
    // What is an object by itself is passed as one.
    if (/\(\^\)/.test(target) || /^(ProtocolObject<|NS(?!U?Integer)\w+$)/.test(pointee)) {
      return objectOf(target)
    }
    return pointerTo(target)
  }
  return NAMES[text] ?? text.replace(/<.*$/, '')
}

const pointerTo = (type: string) => (type.endsWith('*') ? `${type}*` : `${type} *`)

/** A reference to an object of a class; one of a protocol, `id` and a block are references already. */
function objectOf(type: string): string {
  return /^(id\b|instancetype$)|\(\^\)/.test(type) ? type : pointerTo(type)
}

/** The value of `1 << 4`, `(3<<16) + 1`, `MTLStorageMode::Shared.0<<MTLResourceStorageModeShift`. */
function evaluate(text: string, values: Map<string, string>, depth = 0): bigint | undefined {
  const tokens = text.match(/\d\w*|[\w:]+(?:\.0)?|<<|[|+()-]|\S/g) ?? []
  let at = 0
  // Each returns undefined for what it does not know.
  const primary = (): bigint | undefined => {
    const token = tokens[at++]
    if (token === '(') {
      const value = either()
      return tokens[at++] === ')' ? value : undefined
    }
    if (token === '-') {
      const value = primary()
      return value === undefined ? undefined : -value
    }
    if (token === undefined) return undefined
    const digits = token.replaceAll('_', '').replace(/[ui](8|16|32|64|size)$/, '')
    if (/^(0x[\da-fA-F]+|\d+)$/.test(digits)) return BigInt(digits)
    const named = values.get(token)
    return named === undefined || depth > 8 ? undefined : evaluate(named, values, depth + 1)
  }
  const operation = (
    operators: Record<string, (a: bigint, b: bigint) => bigint>,
    operand: () => bigint | undefined,
  ) => {
    let left = operand()
    for (let apply = operators[tokens[at]!]; apply; apply = operators[tokens[at]!]) {
      at += 1
      const right = operand()
      left = left === undefined || right === undefined ? undefined : apply(left, right)
    }
    return left
  }
  const sum = () => operation({ '+': (a, b) => a + b, '-': (a, b) => a - b }, primary)
  const shifted = () => operation({ '<<': (a, b) => a << b }, sum)
  const either = (): bigint | undefined => operation({ '|': (a, b) => a | b }, shifted)
  const value = either()
  return at === tokens.length ? value : undefined
}
