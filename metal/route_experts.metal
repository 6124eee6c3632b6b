// The experts of each token, the best first, and their weights: scale * score, divided by the sum
// of the chosen scores + epsilon where normalised. Scores are sigmoid(logits) or softmax(logits);
// the experts with the largest score + bias are chosen, of equal ones the first. With groups those
// come from the kept_groups groups whose two largest (score + bias) have the largest sum.
//
// Grid: one simdgroup a row. A lane looks at every 32nd expert, once for each one that is chosen:
// the largest after the last one, so nothing needs to be kept but that.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/route_experts.h"

SSM_CONSTANT(bool, has_bias);

// The scores of a row.
struct Scores {
  device const float* logits;
  device const float* bias;
  float largest, sum;  // of the logits, and of exp(logit - largest)
  bool sigmoid;

  float of(uint expert) const {
    const float logit = logits[expert];
    return sigmoid ? 1.0f / (1.0f + precise::exp(-logit)) : precise::exp(logit - largest) / sum;
  }
  float choice(uint expert) const { return has_bias ? of(expert) + bias[expert] : of(expert); }
};

// The whole simdgroup calls it.
inline Scores scores_of(device const float* logits, device const float* bias, uint lane,
                        constant RouteExpertsParams& p) {
  Scores scores;
  scores.logits = logits;
  scores.bias = bias;
  scores.sigmoid = p.sigmoid != 0;
  scores.largest = logits[min(lane, p.experts - 1)];
  for (uint e = lane; e < p.experts; e += 32) scores.largest = max(scores.largest, logits[e]);
  scores.largest = simd_max(scores.largest);
  scores.sum = 0.0f;
  for (uint e = lane; e < p.experts; e += 32)
    scores.sum += precise::exp(logits[e] - scores.largest);
  scores.sum = simd_sum(scores.sum);
  return scores;
}

// The largest of the lanes' own, the same in each.
inline Largest simd_largest(Largest mine) {
  Largest all;
  all.key = simd_max(mine.key);
  all.index = simd_min(mine.key == all.key ? mine.index : 0xffffffffu);
  return all;
}

// A bit for each group whose experts may be chosen. Lane g has group g.
inline uint groups_to_keep(thread const Scores& scores, uint lane, constant RouteExpertsParams& p) {
  if (p.groups == 1) return 1u;
  Largest mine;
  mine.key = 0;
  mine.index = lane;
  if (lane < p.groups) {
    const uint size = p.experts / p.groups;
    float first = scores.choice(lane * size), second = 0.0f;
    for (uint e = lane * size + 1; e < (lane + 1) * size; ++e) {
      const float choice = scores.choice(e);
      const float lower = min(choice, first);
      second = e == lane * size + 1 ? lower : max(second, lower);
      first = max(first, choice);
    }
    mine.key = key_of(first + second);
  }
  uint kept = 0;
  for (uint i = 0; i < p.kept_groups; ++i) {
    const Largest best = simd_largest(mine);
    kept |= 1u << best.index;
    if (best.index == lane) mine.key = 0;
  }
  return kept;
}

[[kernel]] void route_experts(device const float* logits [[buffer(0)]],  // (rows, experts)
                              SSM_OPTIONAL(has_bias, 1, device const float* bias)  // (experts)
                              device uint* experts [[buffer(2)]],                  // (rows, chosen)
                              device float* weights [[buffer(3)]],                 // (rows, chosen)
                              constant RouteExpertsParams& p [[buffer(4)]],
                              uint threadgroup_index [[threadgroup_position_in_grid]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  const uint row = threadgroup_index * simdgroups + simdgroup;
  if (row >= p.rows) return;
  const Scores scores = scores_of(logits + ulong(row) * p.experts, bias, lane, p);
  const uint kept = groups_to_keep(scores, lane, p), size = p.experts / p.groups;
  device uint* to = experts + ulong(row) * p.chosen;
  device float* weight = weights + ulong(row) * p.chosen;
  Largest last;
  last.key = 0xffffffffu;
  last.index = 0;
  float sum = p.epsilon;
  for (uint i = 0; i < p.chosen; ++i) {
    Largest mine;
    mine.key = 0;
    mine.index = 0xffffffffu;
    for (uint e = lane; e < p.experts; e += 32) {
      Largest candidate;
      candidate.key = key_of(scores.choice(e));
      candidate.index = e;
      const bool is_later =
          i == 0 || candidate.key < last.key || (candidate.key == last.key && e > last.index);
      if (is_later && (kept >> (e / size) & 1u) != 0) mine = larger(mine, candidate);
    }
    last = simd_largest(mine);
    const float score = scores.of(min(last.index, p.experts - 1));
    sum += score;
    if (lane == 0) {
      to[i] = last.index;
      weight[i] = score;
    }
  }
  if (lane != 0) return;
  for (uint i = 0; i < p.chosen; ++i) {
    weight[i] = p.scale * (p.normalised != 0 ? weight[i] / sum : weight[i]);
  }
}
