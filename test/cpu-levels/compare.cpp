// Runs every fast version of an operation on every level of this machine and compares it with the
// reference loop. Needs no Node, so that it can be compiled for another architecture and run under
// an emulator. With SSM_WITHOUT_AVX512 it runs the code of avx512 instead, compiled for AVX2: all
// but its instructions, for machines that lack them. Prints a line for each level and operation;
// exit code 1 when one differs.
#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include "metal/argmax.h"
#include "metal/attention_decode.h"
#include "metal/attention_prefill.h"
#include "metal/conv1d_prefill.h"
#include "metal/conv1d_update.h"
#include "metal/cross_entropy.h"
#include "metal/experts_matmul.h"
#include "metal/gated_rms_norm.h"
#include "metal/mamba2_update.h"
#include "metal/matmul.h"
#include "metal/mlp_activation.h"
#include "metal/paged_attention_decode.h"
#include "metal/paged_attention_prefill.h"
#include "metal/quantized_experts_matmul.h"
#include "metal/quantized_matmul.h"
#include "metal/rms_norm.h"
#include "metal/ssd_chunk_scan.h"
#include "metal/ssd_update.h"
#include "native/command_list.h"
#include "native/cpu/levels.h"
#include "native/cpu/operations.h"

using namespace ssm;

#if defined(SSM_WITHOUT_AVX512)
namespace ssm::cpu::avx512 {
extern const Kernels kernels;
}
#endif

namespace {

std::mt19937 random_bits(1);

std::vector<float> normals(size_t count, float deviation = 1.0f) {
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random_bits);
  return values;
}

// A buffer that starts one element into its memory, so that nothing is aligned to a vector.
template <class T>
Binding buffer(DataType type, const std::vector<T>& values) {
  const size_t bytes = values.size() * sizeof(T);
  auto memory = Memory::allocate(bytes + sizeof(T));
  std::memcpy(memory->data() + sizeof(T), values.data(), bytes);
  return {memory, sizeof(T), bytes, type};
}

Binding floats(const std::vector<float>& values, DataType type = kFloat32) {
  if (type == kFloat32) return buffer(type, values);
  std::vector<uint16_t> halves;
  for (float value : values) {
    halves.push_back(type == kFloat16 ? to_float16(value).bits : to_bfloat16(value).bits);
  }
  return buffer(type, halves);
}

Binding integers(const std::vector<uint32_t>& values) { return buffer(kUInt32, values); }

// The same bytes in memory of its own.
Binding copy_of(const Binding& binding) {
  if (!binding.memory) return {};
  Binding copy = binding;
  copy.memory = Memory::allocate(binding.memory->size());
  std::memcpy(copy.memory->data(), binding.memory->data(), binding.memory->size());
  return copy;
}

OperationKind kind_named(std::string_view name) {
  const auto all = operations();
  for (size_t i = 0; i < all.size(); ++i) {
    if (name == all[i].name) return static_cast<OperationKind>(i);
  }
  throw std::logic_error("there is no operation " + std::string(name));
}

class Comparison {
 public:
  Comparison(const cpu::Level& level, ThreadPool& threads) : level_(level), threads_(threads) {}

  // Runs both versions on the same inputs and compares what they write.
  template <class Params>
  void run(OperationKind kind, const Params& params, const std::vector<Binding>& bindings) {
    const OperationInfo& info = info_of(kind);
    const auto recorded = [&] {
      CommandList list;
      std::vector<Binding> own;
      for (const Binding& binding : bindings) own.push_back(copy_of(binding));
      list.add(kind, own, &params, sizeof(params));
      return list.operations()[0];
    };
    const Operation expected = recorded(), actual = recorded();
    cpu::plain_function(kind)(expected, threads_);
    cpu::fast_function(kind)(actual, threads_, *level_.kernels);
    for (size_t i = 0; i < info.buffers.size(); ++i) {
      if (!is_written(info.buffers[i].access) || !bindings[i].memory) continue;
      for (size_t n = 0; n < bindings[i].bytes / 4; ++n) {
        const bool is_float = bindings[i].type == kFloat32;
        const double e = is_float ? expected.data<float>(i)[n] : expected.data<uint32_t>(i)[n];
        const double a = is_float ? actual.data<float>(i)[n] : actual.data<uint32_t>(i)[n];
        // As test/tolerance.ts; not <= so that NaN is an error.
        if (std::abs(a - e) <= (is_float ? 1e-5 + 1e-5 * std::abs(e) : 0.0)) continue;
        std::printf("%s %s: element %zu of buffer %zu is %g, the reference loop has %g\n",
                    level_.name, info.name, n, i, a, e);
        failed_ = true;
        break;
      }
    }
    cases_ += 1;
  }

  bool failed() const { return failed_; }
  int cases() const { return cases_; }

 private:
  const cpu::Level level_;
  ThreadPool& threads_;
  bool failed_ = false;
  int cases_ = 0;
};

// What a matrix product does besides: half of the cases have all of it, the others nothing.
struct Extras {
  bool all;
  uint32_t step, rows, inputs, outputs;

  std::vector<Binding> bindings() const {
    const size_t results = size_t{rows} * outputs;
    if (!all) return {{}, {}, {}, {}, {}, {}, floats(std::vector<float>(results))};
    std::vector<float> squares = normals(rows * 2, std::sqrt(inputs));
    for (float& square : squares) square *= square;
    return {floats(normals(outputs)),
            floats(normals(outputs)),
            floats(normals(inputs)),
            floats(squares),
            floats(normals(results)),
            floats(normals(results)),
            floats(std::vector<float>(results))};
  }

  template <class Params>
  Params fill(Params p) const {
    p.step = step;
    p.rows = rows;
    p.inputs = p.x_stride = inputs;
    p.outputs = outputs;
    p.activation = kIdentity;
    if (!all) return p;
    p.has_scale = p.has_bias = p.gated = p.has_residual = 1;
    p.norm_group_cols = inputs;
    p.norm_parts = 2;
    p.norm_eps = 1e-5f;
    p.activation = kSilu;
    return p;
  }
};

struct QuantizedFormat {
  uint32_t mode, bits, group_size;

  // Words, scales and biases of random numbers.
  std::vector<Binding> matrix(uint32_t groups, uint32_t rows) const {
    std::vector<uint32_t> words(groups * group_size * rows * bits / 32);
    for (uint32_t& word : words) word = random_bits();
    const size_t count = size_t{groups} * rows;
    if (mode == kAffine) {
      const DataType type = groups == 1 ? kFloat32 : groups == 3 ? kFloat16 : kBFloat16;
      return {integers(words), floats(normals(count, 1.0f / (1u << bits)), type),
              floats(normals(count, 0.5f), type)};
    }
    // Scales of 1/8 to 1/4.
    std::vector<uint8_t> codes(count);
    for (uint8_t& code : codes) {
      code =
          static_cast<uint8_t>(mode == kMxfp4 ? 124 + random_bits() % 2 : 32 + random_bits() % 8);
    }
    return {integers(words), buffer(kUInt8, codes), {}};
  }
};

const QuantizedFormat kQuantizedFormats[] = {
    {kAffine, 4, 32},  {kAffine, 4, 64}, {kAffine, 4, 128}, {kAffine, 8, 32}, {kAffine, 8, 64},
    {kAffine, 8, 128}, {kAffine, 5, 64}, {kAffine, 6, 32},  {kMxfp4, 4, 32},  {kNvfp4, 4, 16}};

void products_of(Comparison& comparison, uint32_t step) {
  // Around the rows that are multiplied at once, of a step and of a chunk.
  for (const uint32_t rows : {1, 2, 7, 8, 9, 31, 32, 33, 530}) {
    if (rows == 530 && step != 0) continue;
    for (const bool all : {false, true}) {
      for (const uint32_t inputs : {1, 3, 16, 31, 97, 333}) {
        if (rows == 530 && inputs != 97) continue;  // slow under an emulator
        for (const DataType type : {kFloat32, kFloat16, kBFloat16}) {
          // 290: more columns than a block has.
          const Extras extras{all, step, rows, inputs, rows == 31 ? 290u : 21u};
          std::vector<Binding> bindings = {
              floats(normals(rows * inputs, 1 / std::sqrt(inputs))),
              floats(normals(inputs * extras.outputs), type),
          };
          for (Binding& binding : extras.bindings()) bindings.push_back(binding);
          comparison.run(kind_named("matmul"), extras.fill(MatmulParams{}), bindings);
        }
      }
      for (const QuantizedFormat& format : kQuantizedFormats) {
        // The last has more groups than a kernel takes at once.
        for (const uint32_t groups : {1, 3, 37}) {
          if (rows == 530 && groups != 1) continue;
          const Extras extras{all, step, rows, groups * format.group_size, 21};
          // Small enough that up to 4736 terms round to less than the bound in any order.
          std::vector<Binding> bindings = {
              floats(normals(rows * extras.inputs, 0.5f / std::sqrt(extras.inputs)))};
          for (Binding& binding : format.matrix(groups, extras.outputs)) {
            bindings.push_back(binding);
          }
          for (Binding& binding : extras.bindings()) bindings.push_back(binding);
          QuantizedMatmulParams p = extras.fill(QuantizedMatmulParams{});
          p.mode = format.mode;
          p.bits = format.bits;
          p.group_size = format.group_size;
          comparison.run(kind_named("quantized_matmul"), p, bindings);
        }
      }
    }
  }
}

void matrix_products(Comparison& comparison) {
  for (const uint32_t step : {1, 0}) products_of(comparison, step);
}

// Two products a token with the first two of three experts, of a step or of a chunk, whose tiles
// are asked for by being there.
struct ExpertsShape {
  uint32_t tokens, inputs;
  bool is_chunk;

  static constexpr uint32_t kOutputs = 37, kExperts = 3;

  template <class Params>
  void run(Comparison& comparison, const char* name, Params p, std::vector<Binding> weight) const {
    p.rows = 2 * tokens;
    p.sharing = 2;
    p.inputs = p.x_stride = inputs;
    p.outputs = p.expert_rows = kOutputs;
    p.experts = kExperts;
    p.activation = kRelu2;
    p.gated = 1;
    std::vector<uint32_t> chosen(p.rows);
    for (uint32_t& expert : chosen) expert = random_bits() % 2;
    weight.insert(weight.begin(), floats(normals(tokens * inputs, 0.5f / std::sqrt(inputs))));
    weight.push_back(integers(chosen));
    weight.push_back(is_chunk ? integers({0}) : Binding{});
    weight.push_back(floats(normals(p.rows * kOutputs)));
    weight.push_back(floats(std::vector<float>(p.rows * kOutputs)));
    comparison.run(kind_named(name), p, weight);
  }
};

void products_with_experts(Comparison& comparison) {
  for (const bool is_chunk : {false, true}) {
    for (const uint32_t tokens : {1, 20, 300}) {
      const ExpertsShape shape{tokens, 97, is_chunk};
      for (const DataType type : {kFloat32, kFloat16, kBFloat16}) {
        const uint32_t rows = ExpertsShape::kExperts * ExpertsShape::kOutputs;
        shape.run(comparison, "experts_matmul", ExpertsMatmulParams{},
                  {floats(normals(rows * shape.inputs), type)});
      }
      for (const QuantizedFormat& format : kQuantizedFormats) {
        QuantizedExpertsMatmulParams p{};
        p.mode = format.mode;
        p.bits = format.bits;
        p.group_size = format.group_size;
        ExpertsShape{tokens, 3 * format.group_size, is_chunk}.run(
            comparison, "quantized_experts_matmul", p,
            format.matrix(3, ExpertsShape::kExperts * ExpertsShape::kOutputs));
      }
    }
  }
}

void norms(Comparison& comparison) {
  for (const uint32_t cols : {1, 7, 96, 130}) {
    const uint32_t rows = 3;
    const Binding x = floats(normals(rows * cols)), w = floats(normals(cols));
    const Binding out = floats(std::vector<float>(rows * cols));
    comparison.run(kind_named("rms_norm"), RmsNormParams{rows, cols, cols, 1e-5f}, {x, w, out});
    const Binding z = floats(normals(rows * cols, 5.0f));
    for (const uint32_t before : {0, 1}) {
      const GatedRmsNormParams p{.rows = rows,
                                 .cols = cols,
                                 .group_cols = cols % 2 == 0 ? cols / 2 : cols,
                                 .x_stride = cols,
                                 .z_stride = cols,
                                 .norm_before_gate = before,
                                 .eps = 1e-5f};
      comparison.run(kind_named("gated_rms_norm"), p, {x, z, w, out});
    }
  }
}

// The slots of a batch, of batch + 1, from the last one down: the first one nobody names.
Binding slots_of(uint32_t batch) {
  std::vector<uint32_t> rows;
  for (uint32_t slot = batch; slot > 0; --slot) rows.push_back(slot);
  return integers(rows);
}

void state_spaces(Comparison& comparison) {
  struct Shape {
    uint32_t heads, head_dim, d_state, groups, width;
  };
  for (const Shape s : {Shape{1, 1, 1, 1, 1}, Shape{2, 5, 3, 1, 3}, Shape{6, 30, 37, 3, 4},
                        Shape{4, 64, 128, 1, 4}}) {
    const uint32_t batch = 2, slots = batch + 1;
    const uint32_t inner = s.heads * s.head_dim, shared = s.groups * s.d_state;
    const uint32_t channels = inner + 2 * shared, columns = inner + channels + s.heads;
    const Binding w = floats(normals(channels * s.width, 0.5f)), bias = floats(normals(channels));
    const Binding ring = floats(normals(slots * s.width * channels));
    const Binding position = integers({2, 9}), rows = slots_of(batch);
    std::vector<float> decays = normals(s.heads);
    for (float& decay : decays) decay = -std::abs(decay);
    const Binding A = floats(decays), D = floats(normals(s.heads));
    const Binding dt_bias = floats(normals(s.heads));
    const Binding state = floats(normals(slots * inner * s.d_state));
    const Binding out = floats(std::vector<float>(batch * inner));
    const Binding x = floats(normals(batch * inner)), dt = floats(normals(batch * s.heads));
    const Binding B = floats(normals(batch * shared)), C = floats(normals(batch * shared));
    for (const uint32_t gated : {0, 1}) {
      const auto gate = [&] { return gated ? floats(normals(batch * channels)) : Binding{}; };
      comparison.run(kind_named("conv1d_update"),
                     Conv1dUpdateParams{.batch = batch,
                                        .slots = slots,
                                        .channels = channels,
                                        .width = s.width,
                                        .x_stride = channels,
                                        .input_gate_stride = channels,
                                        .output_gate_stride = channels,
                                        .has_bias = 1,
                                        .gated = gated,
                                        .activation = gated ? kIdentity : kSilu},
                     {floats(normals(batch * channels)), w, bias, gate(), gate(), ring, position,
                      rows, floats(std::vector<float>(batch * channels))});
    }
    const SsdUpdateParams p{.batch = batch,
                            .slots = slots,
                            .heads = s.heads,
                            .head_dim = s.head_dim,
                            .d_state = s.d_state,
                            .groups = s.groups,
                            .x_stride = inner,
                            .dt_stride = s.heads,
                            .b_stride = shared,
                            .c_stride = shared,
                            .dt_min = 0.0f,
                            .dt_max = INFINITY};
    comparison.run(kind_named("ssd_update"), p, {x, dt, A, B, C, D, dt_bias, state, rows, out});
    for (const uint32_t variant : {0, 1, 2}) {  // gate first, norm first, discrete
      const uint32_t discrete = variant == 2;
      const Mamba2UpdateParams m{.batch = batch,
                                 .slots = slots,
                                 .heads = s.heads,
                                 .head_dim = s.head_dim,
                                 .d_state = s.d_state,
                                 .groups = s.groups,
                                 .width = s.width,
                                 .has_bias = 1,
                                 .activation = discrete ? kIdentity : kSilu,
                                 .norm_before_gate = variant == 1,
                                 .gate_after = discrete,
                                 .discrete = discrete,
                                 .dt_min = 0.0f,
                                 .dt_max = INFINITY};
      comparison.run(kind_named("mamba2_update"), m,
                     {floats(normals(batch * columns)), w, bias, ring, A, D, dt_bias, state,
                      position, rows, out, floats(std::vector<float>(batch * s.heads))});
    }
  }
}

void chunks_of_tokens(Comparison& comparison) {
  struct Shape {
    uint32_t batch, length, heads, head_dim, d_state, groups, chunk_size;
  };
  // One past a chunk, one past the longest chunk of a kernel, one token, a batch of several groups.
  for (const Shape s :
       {Shape{1, 1, 1, 1, 1, 1, 64}, Shape{2, 9, 4, 5, 3, 2, 8}, Shape{1, 65, 2, 33, 37, 1, 64},
        Shape{2, 70, 6, 35, 17, 3, 1000}, Shape{1, 130, 4, 64, 128, 1, 64}}) {
    const uint32_t slots = s.batch + 1, tokens = s.batch * s.length, inner = s.heads * s.head_dim;
    const uint32_t shared = s.groups * s.d_state, channels = inner + 2 * shared;
    std::vector<float> decays = normals(s.heads);
    for (float& decay : decays) decay = -std::abs(decay);
    const SsdChunkScanParams p{.batch = s.batch,
                               .slots = slots,
                               .length = s.length,
                               .heads = s.heads,
                               .head_dim = s.head_dim,
                               .d_state = s.d_state,
                               .groups = s.groups,
                               .chunk_size = s.chunk_size,
                               .x_stride = inner,
                               .dt_stride = s.heads,
                               .b_stride = shared,
                               .c_stride = shared,
                               .dt_min = 0.0f,
                               .dt_max = INFINITY};
    comparison.run(kind_named("ssd_chunk_scan"), p,
                   {floats(normals(tokens * inner)), floats(normals(tokens * s.heads)),
                    floats(decays), floats(normals(tokens * shared, 0.3f)),
                    floats(normals(tokens * shared, 0.3f)), floats(normals(s.heads)),
                    floats(normals(s.heads)), floats(normals(slots * inner * s.d_state)),
                    slots_of(s.batch), floats(std::vector<float>(tokens * inner))});
    for (const uint32_t width : {1, 3, 4}) {
      const uint32_t gated = width == 3;
      const auto gate = [&] { return gated ? floats(normals(tokens * channels)) : Binding{}; };
      comparison.run(
          kind_named("conv1d_prefill"),
          Conv1dPrefillParams{.batch = s.batch,
                              .slots = slots,
                              .length = s.length,
                              .channels = channels,
                              .width = width,
                              .x_stride = channels,
                              .input_gate_stride = channels,
                              .output_gate_stride = channels,
                              .has_bias = 1,
                              .gated = gated,
                              .activation = gated ? kIdentity : kSilu},
          {floats(normals(tokens * channels)), floats(normals(channels * width, 0.5f)),
           floats(normals(channels)), gate(), gate(), floats(normals(slots * width * channels)),
           integers(std::vector<uint32_t>(s.batch, 7)), slots_of(s.batch),
           floats(std::vector<float>(tokens * channels))});
    }
  }
  for (const uint32_t head_dim : {1, 10, 64}) {
    // A prompt's start, and a chunk that does not fit into what is left of the window.
    const uint32_t batch = 2, slots = 3, length = 30, heads = 6, kv_heads = 2, window = 21;
    const uint32_t row = kv_heads * head_dim, inner = heads * head_dim;
    const AttentionPrefillParams p{.batch = batch,
                                   .slots = slots,
                                   .length = length,
                                   .heads = heads,
                                   .kv_heads = kv_heads,
                                   .head_dim = head_dim,
                                   .window = window,
                                   .q_stride = inner,
                                   .k_stride = row,
                                   .v_stride = row,
                                   .scale = 1 / std::sqrt(1.0f * head_dim)};
    comparison.run(kind_named("attention_prefill"), p,
                   {floats(normals(batch * length * inner)), floats(normals(batch * length * row)),
                    floats(normals(batch * length * row)), floats(normals(slots * window * row)),
                    floats(normals(slots * window * row)), integers({0, 50}), slots_of(batch),
                    floats(std::vector<float>(batch * length * inner))});
  }
}

void elements(Comparison& comparison) {
  for (const uint32_t count : {1, 16, 1003}) {
    const Binding x = floats(normals(count, 4.0f)), gate = floats(normals(count));
    const Binding out = floats(std::vector<float>(count));
    for (const uint32_t activation : {kGelu, kSilu}) {
      for (const uint32_t gated : {0, 1}) {
        comparison.run(kind_named("mlp_activation"),
                       MlpActivationParams{.rows = 1,
                                           .cols = count,
                                           .x_stride = count,
                                           .activation = activation,
                                           .gated = gated},
                       {x, gated ? gate : Binding{}, out});
      }
    }
    comparison.run(kind_named("cross_entropy"), CrossEntropyParams{.rows = 3, .vocabulary = count},
                   {floats(normals(3 * count, 4.0f)), integers({0, count / 2, count - 1}),
                    floats(std::vector<float>(3))});
  }
}

void attention(Comparison& comparison) {
  for (const uint32_t head_dim : {1, 10, 64, 100}) {
    const uint32_t batch = 2, slots = 3, heads = 6, kv_heads = 2, window = 21;
    const uint32_t row = kv_heads * head_dim;
    const AttentionDecodeParams p{batch,
                                  slots,
                                  heads,
                                  kv_heads,
                                  head_dim,
                                  window,
                                  heads * head_dim,
                                  row,
                                  row,
                                  1 / std::sqrt(1.0f * head_dim)};
    comparison.run(kind_named("attention_decode"), p,
                   {floats(normals(batch * heads * head_dim)), floats(normals(batch * row)),
                    floats(normals(batch * row)), floats(normals(slots * window * row)),
                    floats(normals(slots * window * row)), integers({4, 50}), slots_of(batch),
                    floats(std::vector<float>(batch * heads * head_dim))});
  }
}

// A sequence within its first page, and one whose keys are in two pages and a bit.
void attention_over_pages(Comparison& comparison) {
  for (const auto& [head_dim, type] :
       {std::pair(1u, kFloat32), {10u, kFloat16}, {64u, kFloat32}, {100u, kFloat16}}) {
    const uint32_t batch = 2, slots = 3, page_count = 5, heads = 6, kv_heads = 2, length = 75;
    const uint32_t row = kv_heads * head_dim, inner = 2 * heads * head_dim;
    const float scale = 1 / std::sqrt(1.0f * head_dim);
    const Binding keys = floats(normals(page_count * 256 * row), type);
    const Binding values = floats(normals(page_count * 256 * row), type);
    const Binding table = integers({9, 9, 9, 4, 0, 2, 1, 9, 9});
    const PagedAttentionDecodeParams decode{.batch = batch,
                                            .slots = slots,
                                            .page_count = page_count,
                                            .pages_per_slot = 3,
                                            .heads = heads,
                                            .kv_heads = kv_heads,
                                            .head_dim = head_dim,
                                            .rotary_dim = head_dim / 2 * 2,
                                            .interleaved = 0,
                                            .gated = 1,
                                            .q_stride = inner,
                                            .k_stride = row,
                                            .v_stride = row,
                                            .eps = 0.1f,
                                            .attention_factor = 1.1f,
                                            .scale = scale};
    comparison.run(
        kind_named("paged_attention_decode"), decode,
        {floats(normals(batch * inner)), floats(normals(batch * row)), floats(normals(batch * row)),
         floats(normals(head_dim)), floats(normals(head_dim)),
         head_dim > 1 ? floats(normals(head_dim / 2)) : Binding{}, keys, values, table,
         integers({40, 519}), integers({2, 1}),
         floats(std::vector<float>(batch * heads * head_dim))});
    const PagedAttentionPrefillParams prefill{.batch = batch,
                                              .slots = slots,
                                              .page_count = page_count,
                                              .pages_per_slot = 3,
                                              .length = length,
                                              .heads = heads,
                                              .kv_heads = kv_heads,
                                              .head_dim = head_dim,
                                              .gated = 1,
                                              .q_stride = inner,
                                              .scale = scale};
    comparison.run(
        kind_named("paged_attention_prefill"), prefill,
        {floats(normals(batch * length * inner)), keys, values, table, integers({40, 519}),
         integers({2, 1}), floats(std::vector<float>(batch * length * heads * head_dim))});
  }
}

void largest(Comparison& comparison) {
  for (const uint32_t cols : {1, 9, 64, 1001}) {
    std::vector<float> x = normals(3 * cols);
    x[cols / 2] = x[cols - 1] = 9.0f;  // of equal ones the first
    comparison.run(kind_named("argmax"), ArgmaxParams{3, cols},
                   {floats(x), integers(std::vector<uint32_t>(3))});
  }
}

}  // namespace

int main() {
  bool failed = false;
  ThreadPool threads(2);
#if defined(SSM_WITHOUT_AVX512)
  const std::vector<cpu::Level> levels = {{"avx512 without AVX-512", &cpu::avx512::kernels}};
#else
  const std::vector<cpu::Level> levels = cpu::available_levels();
#endif
  for (const cpu::Level& level : levels) {
    if (level.kernels == nullptr) continue;
    Comparison comparison(level, threads);
    matrix_products(comparison);
    products_with_experts(comparison);
    norms(comparison);
    state_spaces(comparison);
    chunks_of_tokens(comparison);
    elements(comparison);
    attention(comparison);
    attention_over_pages(comparison);
    largest(comparison);
    std::printf("%s: %d cases %s\n", level.name, comparison.cases(),
                comparison.failed() ? "differ" : "agree");
    failed |= comparison.failed();
  }
  return failed ? 1 : 0;
}
