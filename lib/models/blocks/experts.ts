// A mixture of experts: a router sends each token to a few of many MLPs, and adds up what they give.
//   weights, chosen = top k of scores(router(x))
//   out             = sum over the chosen of weight * out_proj(activation(in_proj(x)) * gate_proj(x))
// (Shazeer et al., "Outrageously large neural networks: the sparsely-gated mixture-of-experts layer", 2017.) An expert that
// all tokens go to is an MLP beside it, a block of its own. Experts may work in a smaller space of their own, between
// two projections that they share:
//   out             = latent_out(sum over the chosen of weight * expert(latent_in(x)))

import {
  type Activation,
  EXPERT_TILE,
  mostExpertTiles,
  type RouteExpertsOptions,
} from '../../operations/arguments.js'
import type { Tensor } from '../../operations/tensor.js'
import type { Weight } from '../../weights/formats/format.js'
import type { Linear } from '../../weights/loader.js'
import {
  type Block,
  type BlockKind,
  type BlockSource,
  type Norm,
  type Pass,
  recordLinear,
  type Stream,
} from './block.js'

/** A router and its experts. */
export interface ExpertsConfig {
  kind: 'experts'
  numExperts: number
  /** Experts that each token is sent to. */
  numChosen: number
  /** Columns inside an expert. */
  dInner: number
  /** Columns of what experts read and give, where these are projected. Defaults to those of x. */
  dLatent?: number
  activation: Activation
  /** activation(in_proj(x)) * gate_proj(x) instead of activation(in_proj(x)). */
  gated: boolean
  /** How experts are chosen and weighted. */
  routing: RouteExpertsOptions
  /** A vector is added to scores for the choice alone. */
  hasRouterBias: boolean
  /** What a model multiplies all that the block adds by. Defaults to 1. */
  outMultiplier?: number
}

/** What a family calls the router, and the matrices of experts, inside the layer: `*` stands for the number of each expert. */
export interface ExpertsNames extends ExpertMatrices {
  router: string
  /** A tensor. */
  routerBias?: string
  /** Both where there is `dLatent`. */
  latentIn?: string
  latentOut?: string
}

/** What a family calls the matrices of experts. */
export interface ExpertMatrices {
  /** One name for both, in_proj ‖ gate_proj of each expert, or two. */
  inProj: string
  gateProj?: string
  outProj: string
}

export const experts = {
  kind: 'experts',
  stateFields: () => [],
  describe: ({ numExperts, numChosen, dInner, dLatent, gated, activation }) =>
    `${numChosen} of ${numExperts} experts, ${dInner} wide, ${gated ? 'gated ' : ''}${activation}` +
    (dLatent === undefined ? '' : `, in a space of ${dLatent}`),
  describeState: () => 'nothing',
  matrices({ router, latentIn, latentOut, inProj, gateProj, outProj }, { gated, dLatent }) {
    const shared = dLatent === undefined ? [router] : [router, latentIn!, latentOut!]
    const ofExperts =
      gated && gateProj !== undefined ? [inProj, gateProj, outProj] : [inProj, outProj]
    // One expert stands for all.
    return [...shared, ...ofExperts.map((name) => name.replace('*', '0'))]
  },
  load: (config, source) => ExpertsBlock.load(config, source),
} satisfies BlockKind<ExpertsConfig, ExpertsNames>

/** Into the space of experts, and out of it. */
interface Latent {
  cols: number
  in: Linear
  out: Linear
}

interface ExpertsWeights {
  router: Linear
  routerBias: Tensor | undefined
  latent: Latent | undefined
  inProj: Weight
  gateProj: Weight | undefined
  outProj: Weight
  /** Rows of inProj and of gateProj from one expert to the next. */
  expertRows: number
}

/** The experts of each token, and how much each of them counts. */
interface Route {
  /** (…, numChosen). */
  chosen: Tensor
  /** (…, numChosen). */
  weights: Tensor
}

export class ExpertsBlock implements Block {
  readonly state = []
  readonly #config: ExpertsConfig
  readonly #norm: Norm | undefined
  readonly #weights: ExpertsWeights

  private constructor(config: ExpertsConfig, norm: Norm | undefined, weights: ExpertsWeights) {
    this.#config = config
    this.#norm = norm
    this.#weights = weights
  }

  static async load(
    config: ExpertsConfig,
    source: BlockSource<ExpertsNames>,
  ): Promise<ExpertsBlock> {
    const { loader, names, path, dModel, norm } = source
    const { numExperts, dInner, dLatent: cols = dModel, gated, hasRouterBias } = config
    const isFused = gated && names.gateProj === undefined
    const expertRows = isFused ? 2 * dInner : dInner
    const half = (name: string, first: number) =>
      loader.experts(path(name), { experts: numExperts, rows: expertRows, first }, cols)
    return new ExpertsBlock(config, norm, {
      router: await loader.linear(path(names.router), numExperts, dModel, false),
      routerBias: hasRouterBias
        ? await loader.vector(path(names.routerBias!), numExperts)
        : undefined,
      latent: await ExpertsBlock.#loadLatent(config, source),
      inProj: await half(names.inProj, 0),
      gateProj: gated
        ? await half(names.gateProj ?? names.inProj, isFused ? dInner : 0)
        : undefined,
      outProj: await loader.experts(
        path(names.outProj),
        { experts: numExperts, rows: cols },
        dInner,
      ),
      expertRows,
    })
  }

  static async #loadLatent(
    { dLatent: cols }: ExpertsConfig,
    { loader, names, path, dModel }: BlockSource<ExpertsNames>,
  ): Promise<Latent | undefined> {
    if (cols === undefined) return undefined
    return {
      cols,
      in: await loader.linear(path(names.latentIn!), cols, dModel, false),
      out: await loader.linear(path(names.latentOut!), dModel, cols, false),
    }
  }

  decode(pass: Pass, stream: Stream): void {
    this.#record(pass, stream)
  }

  prefill(pass: Pass, stream: Stream): void {
    this.#record(pass, stream)
  }

  #record(pass: Pass, { input, residual, out }: Stream): void {
    const { cl, workspace, role } = pass
    const { outMultiplier: scale } = this.#config
    const { latent } = this.#weights
    const route = this.#recordRoute(pass, input)
    const results = this.#recordExperts(pass, this.#recordInput(pass, input), route)
    if (latent) {
      const mixed = workspace.take('experts mixed', input.shape.slice(0, -1), latent.cols)
      cl.mixExperts(results, route.weights, mixed, { scale })
      recordLinear(cl, mixed, latent.out, out, { role, residual })
    } else {
      cl.mixExperts(results, route.weights, out, { scale, residual })
    }
  }

  /** What each of the chosen experts gives. */
  #recordExperts(pass: Pass, x: Tensor, { chosen }: Route): Tensor {
    const { cl, workspace } = pass
    const { numExperts, dInner, activation } = this.#config
    const { inProj, gateProj, outProj, expertRows } = this.#weights
    const leading = chosen.shape
    const tiles = this.#recordTiles(pass, chosen)
    const options = { experts: numExperts, expertRows, tiles }
    let gate: Tensor | undefined
    if (gateProj) {
      gate = workspace.take('experts gate', leading, dInner)
      gateProj.multiplyExperts(cl, x, chosen, gate, options)
    }
    const activated = workspace.take('experts', leading, dInner)
    inProj.multiplyExperts(cl, x, chosen, activated, { ...options, activation, gate })
    const results = workspace.take('experts out', leading, x.cols)
    outProj.multiplyExperts(cl, activated, chosen, results, { experts: numExperts, tiles })
    return results
  }

  #recordRoute({ cl, workspace, role }: Pass, input: Tensor): Route {
    const { numExperts, numChosen, routing } = this.#config
    const { router, routerBias: bias } = this.#weights
    const leading = input.shape.slice(0, -1)
    const logits = workspace.take('router', leading, numExperts, 'float32')
    const chosen = workspace.take('chosen experts', leading, numChosen, 'uint32')
    const weights = workspace.take('expert weights', leading, numChosen, 'float32')
    recordLinear(cl, input, router, logits, { role, norm: this.#norm })
    cl.routeExperts({ logits, bias, experts: chosen, weights }, routing)
    return { chosen, weights }
  }

  // Products of a chunk with one expert are computed together.
  #recordTiles({ cl, workspace, role }: Pass, chosen: Tensor): Tensor | undefined {
    if (role === 'step') return undefined
    const { numExperts } = this.#config
    const count = mostExpertTiles(chosen.elements, numExperts)
    const tiles = workspace.take('expert tiles', [count], EXPERT_TILE, 'uint32')
    cl.groupExperts(chosen, tiles, { experts: numExperts })
    return tiles
  }

  // Products with experts have no norm within.
  #recordInput({ cl, workspace, role }: Pass, input: Tensor): Tensor {
    const norm = this.#norm
    const { latent } = this.#weights
    if (latent) {
      const x = workspace.take('experts in', input.shape.slice(0, -1), latent.cols)
      recordLinear(cl, input, latent.in, x, { role, norm })
      return x
    }
    if (!norm) return input
    const normed = workspace.take('experts in', input.shape.slice(0, -1), input.cols)
    cl.rmsNorm(input, norm.weight, normed, { eps: norm.eps })
    return normed
  }
}
