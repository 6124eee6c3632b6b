// Draws the next token from a row of logits: those given, or those that its slot has kept. In this
// order:
//   1. repetition penalty: the logit of each token in the ring of recent ones is divided by the
//      penalty when positive, multiplied when negative (Keskar et al., CTRL, 2019)
//   2. minus frequency_penalty * counts[token], and minus presence_penalty where that is not 0
//   3. plus the token's bias
//   4. -infinity where the row is masked and the token's bit of the mask is 0
//   5. temperature 0: the largest score, done. Otherwise scores are divided by the temperature
//   6. top-k: keep scores >= the k-th largest
//   7. top-p: keep the most probable tokens up to and including the one with which their summed
//      probability reaches top_p, and all others equally probable
//   8. min-p: keep tokens at least min_p times as probable as the most probable one
//   9. the largest of score + Gumbel noise, which draws from the softmax of what is left
// Thresholds are values, so the result does not depend on the order of equal scores. The noise of
// a token is a function of (seed, position, token id): random.h.
// The drawn token enters the ring of recent tokens at place position mod `recent`, its count goes
// up by one where step 2 looks at counts, and one token less remains to be drawn: none if it is
// among the stops.
// With NaN among the logits that the mask leaves, at a temperature above 0 with a largest score
// that is infinite, and where a mask leaves nothing above -infinity, a row draws no token: its
// report says so, none remains, and its token, its ring and its counts stay as they are. A row that
// has no slot changes nothing but its report.
#include "metal/sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "metal/random.h"
#include "native/cpu/largest.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

// More than the largest Gumbel noise: -log(-log(1 - 2^-24)) is 16.6.
constexpr float kMostNoise = 17.0f;

void penalise_repetition(std::vector<float>& logits, const uint32_t* history, size_t length,
                         float penalty) {
  if (penalty == 1.0f) return;
  std::vector<uint32_t> recent(history, history + length);
  std::sort(recent.begin(), recent.end());
  recent.erase(std::unique(recent.begin(), recent.end()), recent.end());
  for (uint32_t token : recent) {
    if (token >= logits.size()) continue;  // an empty row of the ring
    float& logit = logits[token];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

// `counts`: how often each token was generated.
void penalise_generated(std::vector<float>& scores, const uint32_t* counts,
                        const SampleSettings& settings) {
  for (size_t v = 0; v < scores.size(); ++v) {
    if (counts[v] == 0) continue;
    scores[v] -=
        settings.frequency_penalty * static_cast<float>(counts[v]) + settings.presence_penalty;
  }
}

void add_biases(std::vector<float>& scores, const SampleBias* biases, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    if (biases[i].token < scores.size()) scores[biases[i].token] += biases[i].bias;
  }
}

// Bit v % 32 of word v / 32 of `mask` is 1 for tokens that may be drawn.
void rule_out(std::vector<float>& scores, const uint32_t* mask) {
  for (size_t v = 0; v < scores.size(); ++v) {
    if ((mask[v / 32] >> v % 32 & 1) == 0) scores[v] = -INFINITY;
  }
}

void drop_below(std::vector<float>& logits, float threshold) {
  for (float& logit : logits) {
    if (logit < threshold) logit = -INFINITY;
  }
}

void keep_top_k(std::vector<float>& logits, uint32_t k) {
  if (k == 0 || k >= logits.size()) return;
  std::vector<float> sorted = logits;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  drop_below(logits, sorted[k - 1]);
}

void keep_top_p(std::vector<float>& logits, float top_p) {
  if (top_p >= 1.0f) return;
  std::vector<float> candidates;
  for (float logit : logits) {
    if (logit > -INFINITY) candidates.push_back(logit);
  }
  const float top = *std::max_element(candidates.begin(), candidates.end());
  double total = 0;
  for (float logit : candidates) total += std::exp(static_cast<double>(logit) - top);
  // A heap, because the most probable few suffice: sorting a vocabulary takes milliseconds.
  std::make_heap(candidates.begin(), candidates.end());
  double sum = 0;
  while (!candidates.empty()) {
    std::pop_heap(candidates.begin(), candidates.end());
    const float logit = candidates.back();
    candidates.pop_back();
    sum += std::exp(static_cast<double>(logit) - top);
    if (sum >= top_p * total) return drop_below(logits, logit);
  }
}

void keep_min_p(std::vector<float>& logits, float min_p) {
  if (min_p <= 0.0f) return;
  drop_below(logits, *std::max_element(logits.begin(), logits.end()) + std::log(min_p));
}

// Draws from a row of scores, which it changes.
SampleReport draw(std::vector<float>& row, const SampleSettings& settings,
                  const SampleSelection& selection, uint32_t position) {
  const auto report = [](size_t token, SampleStatus status) {
    return SampleReport{static_cast<uint32_t>(token), status};
  };
  const Largest top = largest(row.data(), row.size());
  if (top.is_nan) return report(top.index, kLogitIsNan);
  if (selection.masked != 0 && row[top.index] == -INFINITY) return report(kNoToken, kNoneAllowed);
  if (!(settings.temperature > 0.0f)) return report(top.index, kDrawn);
  const float top_logit = row[top.index];
  if (!std::isfinite(top_logit)) return report(top.index, kLogitIsInfinite);
  // Relative to the largest, so that a tiny temperature cannot overflow.
  for (float& logit : row) logit = (logit - top_logit) / settings.temperature;
  keep_top_k(row, selection.top_k);
  keep_top_p(row, settings.top_p);
  keep_min_p(row, settings.min_p);
  const auto noisy = [&](size_t i) {
    const RandomBlock random =
        philox(position, static_cast<uint32_t>(i), selection.seed_low, selection.seed_high);
    return row[i] - std::log(-std::log(uniform(random.word[0])));
  };
  // Most tokens cannot win, whatever their noise, and need none.
  float best = noisy(top.index);
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = row[i] < best - kMostNoise ? -INFINITY : noisy(i);
    best = std::max(best, row[i]);
  }
  return report(largest(row.data(), row.size()).index, kDrawn);
}

// The buffers of one slot.
struct SampleSlot {
  const SampleSettings& settings;
  const SampleSelection& selection;
  const uint32_t* stops;     // (stops)
  const SampleBias* biases;  // (biases)
  const uint32_t* mask;      // (vocabulary / 32): bits
  uint32_t* counts;          // (vocabulary)
  uint32_t* history;         // (history_length)
  uint32_t position;
  uint32_t& remaining;
  float* kept;  // (vocabulary)
  uint32_t& out;
};

// Draws for one row of logits and leaves the token in its slot.
SampleReport sample_row(const SampleParams& p, const float* logits, const SampleSlot& slot) {
  const SampleSettings& settings = slot.settings;
  const SampleSelection& selection = slot.selection;
  if (p.has_logits != 0 && selection.keeps_logits != 0) {
    std::copy_n(logits, p.vocabulary, slot.kept);
  }
  std::vector<float> row(logits, logits + p.vocabulary);
  const uint32_t recent = std::min(selection.recent, p.history_length);
  penalise_repetition(row, slot.history, recent, settings.repetition_penalty);
  const bool uses_counts = settings.presence_penalty != 0 || settings.frequency_penalty != 0;
  if (uses_counts) penalise_generated(row, slot.counts, settings);
  add_biases(row, slot.biases, std::min(selection.biases, p.biases));
  if (selection.masked != 0) rule_out(row, slot.mask);
  const SampleReport report = draw(row, settings, selection, slot.position);
  if (report.status != kDrawn) {
    slot.remaining = 0;
    return report;
  }
  slot.out = report.token;
  if (recent > 0) slot.history[slot.position % recent] = report.token;
  if (uses_counts) slot.counts[report.token] += 1;
  const bool stops = std::count(slot.stops, slot.stops + p.stops, report.token) > 0;
  slot.remaining = stops || slot.remaining == 0 ? 0 : slot.remaining - 1;
  return report;
}

}  // namespace

void sample(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<SampleParams>();
  const auto* logits = operation.data<const float>(0);   // (batch, vocabulary), if has_logits
  const auto* rows = operation.data<const uint32_t>(1);  // (batch), each slot once
  const auto* settings = operation.data<const SampleSettings>(2);    // (slots, 6) float32
  const auto* selection = operation.data<const SampleSelection>(3);  // (slots, 8) uint32
  const auto* stops = operation.data<const uint32_t>(4);             // (slots, stops)
  const auto* biases = operation.data<const SampleBias>(5);          // (slots, biases, 2) uint32
  const auto* mask = operation.data<const uint32_t>(6);              // (slots, vocabulary / 32)
  auto* counts = operation.data<uint32_t>(7);                        // (slots, vocabulary)
  auto* history = operation.data<uint32_t>(8);                       // (slots, history_length)
  const auto* position = operation.data<const uint32_t>(9);          // (slots)
  auto* remaining = operation.data<uint32_t>(10);                    // (slots)
  auto* kept = operation.data<float>(11);                            // (slots, vocabulary)
  auto* out = operation.data<uint32_t>(12);                          // (slots)
  auto* report = operation.data<SampleReport>(13);                   // (batch, 2) uint32
  const size_t mask_words = (size_t{p.vocabulary} + 31) / 32;
  const size_t cost = size_t{p.vocabulary} * 16;
  threads.parallel_for(p.batch, cost, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      const size_t s = rows[b];
      if (s >= p.slots) {
        report[b] = {kNoToken, kSkipped};
        continue;
      }
      float* const kept_row = kept + s * p.vocabulary;
      report[b] = sample_row(p, p.has_logits != 0 ? logits + b * p.vocabulary : kept_row,
                             {.settings = settings[s],
                              .selection = selection[s],
                              .stops = stops + s * p.stops,
                              .biases = biases + s * p.biases,
                              .mask = mask + s * mask_words,
                              .counts = counts + s * p.vocabulary,
                              .history = history + s * p.history_length,
                              .position = position[s],
                              .remaining = remaining[s],
                              .kept = kept_row,
                              .out = out[s]});
    }
  });
}

}  // namespace ssm::cpu
