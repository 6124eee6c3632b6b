// What families call the tensors of a model that are in no layer.

/** Names inside a checkpoint of what is not in a layer. */
export interface TensorNames {
  /** Modules: their tensors are `.weight`, and `.scales` and `.biases` when quantised. */
  embedding: string
  head: string
  finalNorm: string
  /** What the names of all layers begin with: `backbone.layers`. */
  block: string
}
