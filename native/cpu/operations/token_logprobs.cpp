// Log-probabilities of the token that a slot has drawn last and of the most probable ones:
//   reported[s, 0] = token[s]; reported[s, 1 ...] = the tokens with the largest logits, the largest
//   first, of equal ones the one with the smaller id
//   logprobs[s, i] = x[reported[s, i]] - log(sum over v of exp(x[v])), the sum in double
// with s = rows[b] and x the logits as the model gave them: logits[b], or kept[s] where none are
// given. selection[s].alternatives is k + 1 for k alternatives. Places beyond them, and beyond the
// vocabulary, stay as they are; so does everything of a slot that asks for nothing. With NaN among
// the logits, which draw no token, the results are of no use.
#include "metal/token_logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

// The `count` tokens with the largest logits, the largest first. NaN counts as infinity: an order
// must have a place for everything.
std::vector<uint32_t> most_probable(const float* logits, uint32_t vocabulary, uint32_t count) {
  const auto value = [logits](uint32_t v) { return std::isnan(logits[v]) ? INFINITY : logits[v]; };
  std::vector<uint32_t> tokens(vocabulary);
  std::iota(tokens.begin(), tokens.end(), 0u);
  std::partial_sort(
      tokens.begin(), tokens.begin() + count, tokens.end(),
      [&](uint32_t a, uint32_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  tokens.resize(count);
  return tokens;
}

// Reports on one row of logits in `places` places of its slot.
void write_report(const float* logits, uint32_t vocabulary, uint32_t drawn, uint32_t places,
                  uint32_t* reported, float* logprobs) {
  const double largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (size_t v = 0; v < vocabulary; ++v) sum += std::exp(logits[v] - largest);
  const double total = largest + std::log(sum);
  const auto put = [&](size_t place, uint32_t token) {
    reported[place] = token;
    logprobs[place] = static_cast<float>(logits[std::min(token, vocabulary - 1)] - total);
  };
  put(0, drawn);
  size_t place = 1;
  for (uint32_t token : most_probable(logits, vocabulary, places - 1)) put(place++, token);
}

}  // namespace

void token_logprobs(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<TokenLogprobsParams>();
  const auto* logits = operation.data<const float>(0);   // (batch, vocabulary), if has_logits
  const auto* rows = operation.data<const uint32_t>(1);  // (batch), each slot once
  const auto* selection = operation.data<const SampleSelection>(2);  // (slots, 8) uint32
  const auto* token = operation.data<const uint32_t>(3);             // (slots)
  const auto* kept = operation.data<const float>(4);                 // (slots, vocabulary)
  auto* reported = operation.data<uint32_t>(5);                      // (slots, places)
  auto* logprobs = operation.data<float>(6);                         // (slots, places)
  threads.parallel_for(p.batch, size_t{p.vocabulary} * 20, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      const size_t s = rows[b];
      if (s >= p.slots || selection[s].alternatives == 0) continue;
      const uint32_t asked = std::min(selection[s].alternatives - 1, p.vocabulary);
      write_report(p.has_logits != 0 ? logits + b * p.vocabulary : kept + s * p.vocabulary,
                   p.vocabulary, token[s], std::min(asked + 1, p.places), reported + s * p.places,
                   logprobs + s * p.places);
    }
  });
}

}  // namespace ssm::cpu
