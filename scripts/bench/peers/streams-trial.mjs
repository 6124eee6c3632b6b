// One trial of streams in a process of its own: loads one model in one engine, measures, prints one line of JSON.
// Plain JavaScript, as trial.mjs.
//
//   node streams-trial.mjs '{ "task": "measureTogether", "engine": "ssm-metal", "model": ..., "threads": 2,
//                             "streams": 8, "prompt": 16, "generate": 64, "vocabulary": 50288, "seed": 1, "mmap": true }'
//
// Tasks: measureTogether  tokens a second of all streams
//        measureJoining   ours: what streams wait for while a prompt of `long` tokens is read
//        logitsTogether   llama.cpp: logits of each sequence alone, and of all together

import { answer, randomTokens, watchOthers } from './measuring.mjs'

const request = JSON.parse(process.argv[2])
const { task, engine, streams, prompt, long = 0, seed, vocabulary } = request
let next = seed
const tokens = (count) => randomTokens(next++, vocabulary, count)
const prompts = Array.from({ length: streams }, () => tokens(prompt))

const tasks = await import(`./streams-${engine}.mjs`)
const othersShare = watchOthers()
const result = await tasks[task]({ ...request, prompts, long: tokens(long), tokens })
answer({ ...result, otherCpu: othersShare() })
