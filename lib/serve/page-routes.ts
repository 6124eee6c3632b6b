// GET /: the page, from the package's files. Nothing comes from elsewhere, and no script but its own runs in it.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageFolder } from '../support/location.js'
import { ApiError } from './api-error.js'
import { type Exchange, sendText } from './exchange.js'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript' } as const

/** The route's answer for one of the page's files. */
export function pageRoute(name: string, type: keyof typeof TYPES) {
  return async ({ response }: Exchange): Promise<void> => {
    const folder = packageFolder()
    if (folder === undefined)
      throw new ApiError(404, 'the page is not there, for ssm-metal was bundled')
    const text = await readFile(join(folder, 'page', name), 'utf8')
    sendText(response, 200, `${TYPES[type]}; charset=utf-8`, text, {
      'content-security-policy': POLICY,
      'referrer-policy': 'no-referrer',
    })
  }
}
