// The ways in which people write the name of a model on the Hub:
//   organisation/name    organisation/name@revision    hf:organisation/name
//   https://huggingface.co/organisation/name    …/tree/revision    …/resolve/revision/file
//   hf.co/organisation/name

/** A repository of the Hub. */
export interface HubName {
  /** `organisation/name`; safe inside a path. */
  name: string
  /** Branch, tag or commit, where the name says one. */
  revision: string | undefined
  /** A file in the repository, where an address names one; safe inside a path. */
  file: string | undefined
}

const HOSTS = ['huggingface.co', 'www.huggingface.co', 'hf.co', 'hf-mirror.com']

/**
 * Whether `name` has the form `organisation/name` of the Hub. Such a name is safe inside a path.
 *
 * @example isHubName('state-spaces/mamba2-130m') // true
 */
export function isHubName(name: string): boolean {
  const parts = name.split('/')
  if (parts.length !== 2) return false
  return parts.every(
    (part) => /^[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/.test(part) && !/--|\.\./.test(part),
  )
}

/** Branches may have slashes; nothing may climb out of `refs`. */
export function isRevision(revision: string): boolean {
  return (
    revision.length <= 255 &&
    revision.split('/').every((part) => /^[A-Za-z0-9_][\w.+-]*$/.test(part) && !part.includes('..'))
  )
}

/** Whether a text can be nothing but a name on the Hub, so that no path of that name counts. */
export function isHubAddress(text: string): boolean {
  return /^(?:hf:|https?:\/\/)/i.test(text)
}

/**
 * What a name or address says; a text that says why it is none.
 *
 * @example
 * parseHubName('https://huggingface.co/org/name/tree/v2') // { name: 'org/name', revision: 'v2', … }
 */
export function parseHubName(text: string): HubName | string {
  if (/^https?:\/\//i.test(text)) return parseAddress(text)
  if (HOSTS.some((host) => text.startsWith(`${host}/`))) return parseAddress(`https://${text}`)
  const [name, ...rest] = text.replace(/^hf:(?:\/\/)?/i, '').split('@')
  const revision = rest.length > 0 ? rest.join('@') : undefined
  if (!isHubName(name!)) return 'a Hub name has the form organisation/name'
  if (revision !== undefined && !isRevision(revision)) {
    return `the revision must be a branch, tag or commit hash but is ${JSON.stringify(revision)}`
  }
  return { name: name!, revision, file: undefined }
}

function parseAddress(text: string): HubName | string {
  let host: string
  let parts: string[]
  try {
    const url = new URL(text)
    host = url.host
    parts = url.pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent)
  } catch {
    return 'it is no address'
  }
  if (!HOSTS.includes(host) && host !== endpointHost()) {
    return `${host} is not the Hub: its addresses begin with https://huggingface.co/, or with HF_ENDPOINT`
  }
  const [organisation, repository, kind, revision, ...path] = parts
  const name = `${organisation}/${repository}`
  const isOther = ['datasets', 'spaces', 'api'].includes(organisation ?? '')
  if (isOther || repository === undefined || !isHubName(name)) {
    return 'the address of a model has the form https://huggingface.co/organisation/name'
  }
  if (kind === undefined) return { name, revision: undefined, file: undefined }
  const file = path.length > 0 ? path.join('/') : undefined
  const isSafe = path.every((part) => /^[^\\/\0]+$/.test(part) && part !== '..' && part !== '.')
  if (
    !['tree', 'blob', 'resolve', 'raw', 'commit'].includes(kind) ||
    revision === undefined ||
    !isRevision(revision) ||
    !isSafe
  ) {
    return 'after organisation/name the address of a model has /tree/revision or /resolve/revision/file'
  }
  return { name, revision, file }
}

function endpointHost(): string | undefined {
  try {
    return new URL(process.env.HF_ENDPOINT ?? '').host
  } catch {
    return undefined
  }
}
