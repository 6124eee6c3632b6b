// Between a session in memory and its file.

import type { ModelIdentity } from '../models/model-identity.js'
import type { Engine } from '../engine/engine.js'
import { PAGE_SIZE } from '../operations/arguments.js'
import { pagesFor } from '../engine/page-list.js'
import { namedPagedFields } from '../engine/page-pool.js'
import { Snapshot } from '../engine/snapshot.js'
import { readSessionFile, type SessionContents, type SessionField } from './session-file.js'
import {
  bytesPerElement,
  type DType,
  elementCount,
  type Tensor,
  type TensorData,
  typedArrayOf,
} from '../operations/tensor.js'
import { TokenHistory } from '../engine/token-history.js'
import { floatToHalf, halvesToFloats } from '../weights/convert.js'

/** What a session's file holds of it. `tokens`: whether the ids are among it. */
export async function savedContents(
  snapshot: Snapshot,
  history: TokenHistory,
  { engine, model, tokens }: { engine: Engine; model: ModelIdentity; tokens: boolean },
): Promise<SessionContents> {
  return {
    model,
    position: history.length,
    consumed: tokens && history.unknown === 0 ? history.known() : undefined,
    fields: snapshot.fields.map(({ name, tensor }) => {
      const shape = tensor.shape.slice(1)
      return {
        name,
        dtype: tensor.dtype as SessionField['dtype'],
        shape,
        data: bytesOf(tensor.read()),
      }
    }),
    pages: await savedPages(engine, snapshot),
  }
}

/** What `readSessionFile` throws for a file that is not of this model. */
export async function restoredState(
  path: string,
  engine: Engine,
  model: ModelIdentity,
): Promise<{ snapshot: Snapshot; history: TokenHistory; chat: string | undefined }> {
  const { model: languageModel } = engine
  const snapshot = new Snapshot(languageModel)
  try {
    const { fields } = snapshot
    const contents = await readSessionFile(path, {
      model,
      fields: fields.map(({ name, tensor }) => ({ name, shape: tensor.shape.slice(1) })),
      pages: namedPagedFields(languageModel),
      vocabulary: languageModel.config.paddedVocabSize,
    })
    const { consumed, position, chat } = contents
    engine.checkContext('loadSession', position)
    for (const [i, { tensor }] of fields.entries()) restore(tensor, contents.fields[i]!)
    await restorePages(engine, snapshot, contents)
    return {
      chat,
      snapshot,
      history: new TokenHistory(consumed, consumed ? 0 : position),
    }
  } catch (error) {
    snapshot.dispose()
    throw error
  }
}

/** What a snapshot holds of its positions, (position, ...shape). */
export async function savedPages(engine: Engine, snapshot: Snapshot): Promise<SessionField[]> {
  const { position } = snapshot
  const saved: SessionField[] = []
  if (!snapshot.pages || position === 0) return saved
  // Field by field: a copy of all would take as much memory of the device again.
  for (const [index, { name, dtype, shape }] of namedPagedFields(engine.model).entries()) {
    const tensor = pagesInARow(engine, position, { dtype, shape })
    try {
      using list = engine.model.device.record((cl) => {
        for (const [i, { count, fields }] of engine.usedPages(snapshot).entries()) {
          cl.copy(fields[index]!, tensor.at(i).view([count, elementCount(shape)]))
        }
      })
      await list.run()
      const data = new (typedArrayOf(dtype))(position * elementCount(shape))
      tensor.readInto(data)
      saved.push({
        name,
        dtype: dtype as SessionField['dtype'],
        shape: [position, ...shape],
        data: bytesOf(data),
      })
    } finally {
      tensor.dispose()
    }
  }
  return saved
}

async function restorePages(
  engine: Engine,
  snapshot: Snapshot,
  { position, pages = [] }: SessionContents,
): Promise<void> {
  const tensors = namedPagedFields(engine.model).map((field) =>
    pagesInARow(engine, Math.max(position, 1), field),
  )
  try {
    for (const [i, saved] of pages.entries()) restore(tensors[i]!, saved)
    await engine.fillPages(snapshot, position, (cl, { fields }, index) => {
      for (const [i, field] of fields.entries())
        cl.copy(tensors[i]!.at(index).view(field.shape), field)
    })
  } finally {
    for (const tensor of tensors) tensor.dispose()
  }
}

// A field of so many positions, in order: (pages, 256, ...shape).
function pagesInARow(
  { model }: Engine,
  positions: number,
  { dtype, shape }: { dtype: DType; shape: readonly number[] },
): Tensor {
  return model.device.tensor(dtype, [pagesFor(positions), PAGE_SIZE, ...shape])
}

const bytesOf = ({ buffer, byteOffset, byteLength }: TensorData): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

// A state in float16, as GPUs may keep some of it, goes into one in float32, and the other way round.
function restore(tensor: Tensor, { dtype, data }: SessionField): void {
  // A typed array begins at a multiple of its elements' size.
  const { buffer, byteOffset, byteLength } = data.byteOffset % 4 === 0 ? data : data.slice()
  const isHalf = bytesPerElement(tensor.dtype) === 2
  if (dtype === 'float32') {
    const floats = new Float32Array(buffer, byteOffset, byteLength / 4)
    tensor.write(isHalf ? Uint16Array.from(floats, floatToHalf) : floats)
  } else {
    const halves = new Uint16Array(buffer, byteOffset, byteLength / 2)
    tensor.write(isHalf ? halves : halvesToFloats(halves))
  }
}
