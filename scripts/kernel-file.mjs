// What a kernel file of metal/ says of its kernels (metal/constants.h), read from its text.

/** `[[kernel]] void name(...)`: names of the functions that are kernels, templates or not. */
export function kernelFunctions(text) {
  return [...code(text).matchAll(/\[\[kernel\]\]\s+void\s+(\w+)\s*\(/g)].map(([, name]) => name)
}

/** `SSM_CONSTANT(bool, name);` */
export function declaredConstants(text) {
  return [...code(text).matchAll(/^SSM_CONSTANT\((bool|uint), (\w+)\);/gm)].map(
    ([, type, name]) => ({ type, name }),
  )
}

/** `INSTANTIATE(matvec, (float32, float16), (float32));`: where it stands, and its lists of arguments. */
export function instantiations(text) {
  const pattern = /^INSTANTIATE\((\w+)((?:,\s*\((?:\w+(?:,\s*)?)+\))+)\);/gm
  return [...code(text).matchAll(pattern)].map(({ 0: whole, 1: name, 2: rest, index }) => ({
    name,
    index,
    length: whole.length,
    arguments: [...rest.matchAll(/\(([^()]*)\)/g)].map(([, list]) => list.split(/,\s*/)),
  }))
}

/** All combinations of one element of each list. */
export function combinations(lists) {
  return lists.reduce((all, list) => all.flatMap((some) => list.map((one) => [...some, one])), [[]])
}

/** Comments become spaces. */
function code(text) {
  return text.replace(/\/\/.*$/gm, (comment) => ' '.repeat(comment.length))
}
