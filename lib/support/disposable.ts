// Node gives `Symbol.dispose` to its own realm only: a vm context of Node 20 and 22, such as that of a test under
// jest, has none. Imported before everything that uses it.

for (const name of ['dispose', 'asyncDispose'] as const) {
  if (Symbol[name] !== undefined) continue
  // That which compilers of `using` take where there is none.
  Object.defineProperty(Symbol, name, { value: Symbol.for(`Symbol.${name}`) })
}

export {}
