// The experts of each token, the best first, and their weights. Scores are sigmoid(logits) or
// softmax(logits); the experts with the largest score + bias are chosen, of equal ones the first.
// With groups those come from the kept_groups groups whose two largest (score + bias) have the
// largest sum. A weight is scale * score, divided by the sum of the chosen scores + epsilon where
// normalised. (transformers: modeling_granitemoehybrid.py, modeling_nemotron_h.py,
// modeling_lfm2_moe.py, modeling_qwen3_5_moe.py)
#include "metal/route_experts.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

std::vector<float> scores_of(const float* logits, const RouteExpertsParams& p) {
  std::vector<float> scores(logits, logits + p.experts);
  if (p.sigmoid != 0) {
    for (float& score : scores) score = 1.0f / (1.0f + std::exp(-score));
    return scores;
  }
  const float largest = *std::max_element(scores.begin(), scores.end());
  float sum = 0.0f;
  for (float& score : scores) sum += score = std::exp(score - largest);
  for (float& score : scores) score /= sum;
  return scores;
}

// The places of the `count` largest, the best first, of equal ones the first. NaN is below all.
std::vector<uint32_t> places_of_largest(const std::vector<float>& values, uint32_t count) {
  std::vector<uint32_t> places(values.size());
  for (uint32_t i = 0; i < places.size(); ++i) places[i] = i;
  std::stable_sort(places.begin(), places.end(), [&](uint32_t a, uint32_t b) {
    return values[a] > values[b] || (std::isnan(values[b]) && !std::isnan(values[a]));
  });
  places.resize(count);
  return places;
}

// Takes experts of other groups than the kept ones out of the choice.
void keep_groups(std::vector<float>& choice, const RouteExpertsParams& p) {
  const uint32_t size = p.experts / p.groups;
  std::vector<float> sums(p.groups);
  for (uint32_t g = 0; g < p.groups; ++g) {
    const std::vector<float> group(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    for (const uint32_t i : places_of_largest(group, std::min(size, 2u))) sums[g] += group[i];
  }
  const std::vector<uint32_t> kept = places_of_largest(sums, p.kept_groups);
  for (uint32_t e = 0; e < p.experts; ++e) {
    if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) choice[e] = -INFINITY;
  }
}

}  // namespace

void route_experts(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<RouteExpertsParams>();
  const auto* logits = operation.data<const float>(0);  // (rows, experts)
  const auto* bias = operation.data<const float>(1);    // (experts)
  auto* experts = operation.data<uint32_t>(2);          // (rows, chosen)
  auto* weights = operation.data<float>(3);             // (rows, chosen)
  threads.parallel_for(p.rows, size_t{p.experts} * 20, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const std::vector<float> scores = scores_of(logits + r * p.experts, p);
      std::vector<float> choice = scores;
      for (uint32_t e = 0; bias != nullptr && e < p.experts; ++e) choice[e] += bias[e];
      if (p.groups > 1) keep_groups(choice, p);
      const std::vector<uint32_t> chosen = places_of_largest(choice, p.chosen);
      float sum = p.epsilon;
      for (const uint32_t e : chosen) sum += scores[e];
      for (uint32_t i = 0; i < p.chosen; ++i) {
        const float score = scores[chosen[i]];
        experts[r * p.chosen + i] = chosen[i];
        weights[r * p.chosen + i] = p.scale * (p.normalised != 0 ? score / sum : score);
      }
    }
  });
}

}  // namespace ssm::cpu
