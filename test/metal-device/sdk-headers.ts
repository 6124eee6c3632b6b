// What our headers for Apple's frameworks (sdk/) declare, as clang reads them.

import { type Api, emptyApi, type Method, splitList } from './api.js'
import { typeCheck } from './clang.js'

/** A node of clang's syntax tree, of which there is more. */
interface Node {
  kind: string
  name?: string
  inner?: Node[]
  type?: { qualType: string }
  returnType?: { qualType: string }
  instance?: boolean
  fixedUnderlyingType?: { qualType: string }
  super?: { name?: string }
  protocols?: { name: string }[]
  value?: string
  isImplicit?: boolean
}

/** Of a text that includes them; `more` are options of clang. Throws what clang says is wrong. */
export function readSdk(text: string, ...more: string[]): Api {
  const { status, stdout, stderr } = typeCheck(text, '-ast-dump=json', ...more)
  if (status !== 0) throw new Error(stderr)
  const api = emptyApi()
  const { inner = [] } = JSON.parse(stdout) as Node
  visit(inner, api)
  return api
}

function visit(nodes: Node[], api: Api): void {
  let unnamed: Node | undefined
  for (const node of nodes) {
    const { kind, name, inner = [] } = node
    if (kind === 'LinkageSpecDecl') visit(inner, api)
    if (kind === 'ObjCInterfaceDecl' || kind === 'ObjCProtocolDecl') readObject(node, api)
    if (kind === 'EnumDecl' && isApple(name)) readEnum(node, api)
    if (kind === 'CXXRecordDecl' && name === undefined) unnamed = node
    if (kind === 'TypedefDecl' && isApple(name)) {
      const { qualType } = node.type!
      if (qualType === `struct ${name}` || (qualType === name && !api.enums.has(name))) {
        const fields = (unnamed?.inner ?? []).filter((each) => each.kind === 'FieldDecl')
        api.structs.set(
          name!,
          fields.map((field) => [field.name!, typeOf(field.type!.qualType)]),
        )
      } else if (
        qualType !== name &&
        qualType !== `enum ${name}` &&
        qualType !== 'unsigned long' &&
        qualType !== 'long'
      ) {
        api.aliases.set(name!, typeOf(qualType))
      }
    }
    if (kind === 'VarDecl' && isApple(name)) api.variables.set(name!, typeOf(node.type!.qualType))
    // An inline function is ours.
    if (
      kind === 'FunctionDecl' &&
      isApple(name) &&
      inner.every((each) => each.kind !== 'CompoundStmt')
    ) {
      api.functions.set(name!, {
        parameters: parametersOf(inner),
        result: typeOf(/^(.*?)\s*\(/.exec(node.type!.qualType)![1]!),
        isRetained: /ns_returns_retained/.test(node.type!.qualType),
      })
    }
  }
}

const isApple = (name: string | undefined) => /^(MTL|NS)[A-Z]/.test(name ?? '')

function readObject(
  { name, inner = [], super: superclass, protocols = [], kind }: Node,
  api: Api,
): void {
  const object = api.objects.get(name!) ?? { parents: [], methods: new Map<string, Method>() }
  api.objects.set(name!, object)
  if (superclass?.name) object.parents.push(superclass.name)
  if (kind === 'ObjCProtocolDecl') object.parents.push(...protocols.map((each) => each.name))
  for (const method of inner.filter((each) => each.kind === 'ObjCMethodDecl')) {
    object.methods.set(method.name!, {
      isClassMethod: !method.instance,
      parameters: parametersOf(method.inner ?? []),
      result: typeOf(method.returnType!.qualType),
    })
  }
}

function readEnum({ name, inner = [], fixedUnderlyingType }: Node, api: Api): void {
  if (fixedUnderlyingType) api.enums.set(name!, fixedUnderlyingType.qualType)
  for (const constant of inner.filter((each) => each.kind === 'EnumConstantDecl')) {
    const value = constant.inner?.find((each) => each.value !== undefined)?.value
    if (value === undefined) throw new Error(`sdk/: ${constant.name} has no value of its own`)
    api.constants.set(constant.name!, BigInt(value))
  }
}

function parametersOf(nodes: Node[]): string[] {
  return nodes
    .filter(({ kind }) => kind === 'ParmVarDecl')
    .map(({ type }) => typeOf(type!.qualType))
}

/** A type as clang writes it, as api.ts does. */
export function typeOf(text: string): string {
  const plain = text
    .replace(
      /\b(const|__strong|__autoreleasing|__unsafe_unretained|_Nonnull|_Null_unspecified|enum|struct)\b/g,
      '',
    )
    .replace(/\s+/g, ' ')
    .trim()
  const block = /^(.*?) ?\(\^ ?(_Nullable)? ?\)\((.*)\)$/.exec(plain)
  if (block) {
    const parameters = splitList(block[3]!)
      .map(typeOf)
      .filter((type) => type !== 'void')
    return `${typeOf(block[1]!)} (^)(${parameters.join(', ')})${block[2] ? '?' : ''}`
  }
  const isNullable = / ?_Nullable$/.test(plain)
  const bare = plain
    .replace(/ ?_Nullable/g, '')
    .replace(/ ?\* ?/g, '*')
    .replace(/([^*])\*/, '$1 *')
  return `${bare}${isNullable ? '?' : ''}`
}
