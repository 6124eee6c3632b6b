#!/usr/bin/env node
// The command line: verbs in lib/cli/, one file each.

import { benchCommand } from './cli/bench.js'
import { buildCommand } from './cli/build.js'
import { chatCommand, runCommand } from './cli/chat.js'
import { convertCommand } from './cli/convert.js'
import { evalCommand } from './cli/eval.js'
import { generateCommand } from './cli/generate.js'
import { infoCommand } from './cli/info.js'
import { handleOutputErrors } from './cli/interrupt.js'
import { listCommand } from './cli/list.js'
import { modelsCommand } from './cli/models.js'
import { perplexityCommand } from './cli/perplexity.js'
import { runProgram } from './cli/program.js'
import { pullCommand } from './cli/pull.js'
import { rmCommand } from './cli/rm.js'
import { serveCommand } from './cli/serve.js'
import { showCommand } from './cli/show.js'
import { tuneCommand } from './cli/tune.js'
import { verifyCommand } from './cli/verify.js'
import { VERSION } from './support/version.js'

handleOutputErrors()
process.exitCode = await runProgram(
  {
    name: 'ssm-metal',
    summary: 'State-space language models on Apple silicon and CPUs.',
    version: VERSION,
    commands: [
      generateCommand,
      chatCommand,
      runCommand,
      serveCommand,
      perplexityCommand,
      evalCommand,
      benchCommand,
      showCommand,
      convertCommand,
      modelsCommand,
      pullCommand,
      listCommand,
      rmCommand,
      infoCommand,
      verifyCommand,
      tuneCommand,
      buildCommand,
    ],
  },
  process.argv.slice(2),
)
