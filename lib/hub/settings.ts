// What the environment says about the Hub, in the words of its Python client.

import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { cacheFolder, pathVariable } from '../machine/cache-folder.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { isMissing } from '../support/small-file.js'

const HUB = 'https://huggingface.co'
const LONGEST_TOKEN = 4096

function isTrue(name: string): boolean {
  return /^(?:1|on|yes|true)$/i.test(process.env[name] ?? '')
}

/** Whether the environment forbids every request: HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE. */
export function isOffline(): boolean {
  return isTrue('HF_HUB_OFFLINE') || isTrue('TRANSFORMERS_OFFLINE')
}

/** The address of the Hub, HF_ENDPOINT or huggingface.co, without a slash at its end. */
export function hubEndpoint(): string {
  const given = process.env.HF_ENDPOINT || HUB
  let url: URL | undefined
  try {
    url = new URL(given)
  } catch {}
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    throw new UnsupportedOptionError(
      `HF_ENDPOINT must be an address such as ${HUB} but is ${JSON.stringify(given)}`,
    )
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

/** Milliseconds without a byte after which a connection is given up: HF_HUB_DOWNLOAD_TIMEOUT, in seconds, or 30. */
export function idleTimeout(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT || 30)
  if (Number.isFinite(seconds) && seconds > 0) return Math.min(seconds, 86_400) * 1000
  throw new UnsupportedOptionError(
    `HF_HUB_DOWNLOAD_TIMEOUT must be a number of seconds but is ${JSON.stringify(process.env.HF_HUB_DOWNLOAD_TIMEOUT)}`,
  )
}

/**
 * The user's token: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or what is in the file that `hf auth login` writes
 * (HF_TOKEN_PATH, HF_HOME/token, ~/.cache/huggingface/token). Undefined for none.
 */
export async function hubToken(): Promise<string | undefined> {
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const value = process.env[name]?.trim()
    if (value) return checkedToken(value, name)
  }
  if (isTrue('HF_HUB_DISABLE_IMPLICIT_TOKEN')) return undefined
  const file = tokenFile()
  if (file === undefined) return undefined
  try {
    const value = (await readFile(file, 'utf8')).trim()
    return value === '' ? undefined : checkedToken(value, file)
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return undefined
    throw error
  }
}

function tokenFile(): string | undefined {
  const direct = pathVariable('HF_TOKEN_PATH')
  if (direct !== undefined) return resolve(direct)
  const home = pathVariable('HF_HOME')
  if (home !== undefined) return join(resolve(home), 'token')
  const caches = cacheFolder()
  return caches === undefined ? undefined : join(caches, 'huggingface', 'token')
}

// Not shown: it is a secret.
function checkedToken(value: string, source: string): string {
  if (value.length <= LONGEST_TOKEN && /^[\x21-\x7e]+$/.test(value)) return value
  throw new UnsupportedOptionError(
    `the token in ${source} has characters that no token has: write it there as the Hub showed it`,
  )
}

/** Whether nobody on the way can read what is sent: by https, or not leaving this machine. */
export function isPrivateWay({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || isLoopback(hostname)
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}
