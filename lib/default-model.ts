// The small trained model that ships in the package, for when no other is named.

import { join } from 'node:path'
import { ModelNotFoundError } from './support/errors.js'
import { bundleFile, KEEP_EXTERNAL, packageFolder } from './support/location.js'
import type { OnNotice } from './support/notices.js'

/** Its folder; a notice says that it is the one in use. Throws `ModelNotFoundError` in a bundle. */
export function defaultModel(onNotice?: OnNotice): string {
  const folder = packageFolder()
  if (folder === undefined) {
    throw new ModelNotFoundError(
      `[loadModel] no model is named, and the built-in one is not there, because ssm-metal was bundled into ${bundleFile() ?? 'another file'}: name a model, or ${KEEP_EXTERNAL}`,
    )
  }
  onNotice?.({
    code: 'DEFAULT_MODEL',
    message: 'no model named, using the built-in rene-tiny (19 M parameters)',
  })
  return join(folder, 'models/rene-tiny')
}
