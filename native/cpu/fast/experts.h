// What the fast versions of experts_matmul and quantized_experts_matmul share. Products with one
// expert are computed together, so that its rows stream from memory once: of a step each by itself,
// of a chunk in blocks. How many of them there are does not count: it depends on the other tokens,
// and sums of the two kinds are added up in different orders. Both parameter structs have the same
// fields for that.
#pragma once

#include <algorithm>
#include <vector>

#include "native/cpu/experts.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/mat_mat.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"

namespace ssm::cpu::fast {

// Products with one expert, or some of them.
struct ExpertRun {
  size_t expert;
  std::vector<size_t> products;
};

// The products of one operation.
template <class Params, class Weight>
class ExpertsProduct {
 public:
  // Buffer 0 is x (rows / sharing, inputs), rows x_stride apart; buffer `chosen` the experts
  // (rows), which tiles, gate and out follow.
  ExpertsProduct(const Operation& operation, const Params& p, size_t chosen, const Weight& weight,
                 ThreadPool& threads, const Kernels& kernels)
      : p_(p),
        weight_(weight),
        threads_(threads),
        kernels_(kernels),
        x_(operation.data<const float>(0)),
        gate_(operation.data<const float>(chosen + 2)),
        out_(operation.data<float>(chosen + 3)) {}

  // Each of them as if it were alone: in the order of sums of a step, whatever the other rows are.
  void multiply_each(const std::vector<ExpertRun>& runs) const {
    constexpr size_t kBlock = 16;  // rows of the weight that stay in cache for all products
    const size_t stride = weight_.prepared_size(), blocks = (p_.outputs + kBlock - 1) / kBlock;
    std::vector<size_t> first_row;  // of a run, among those that are prepared
    std::vector<size_t> order;
    for (const ExpertRun& run : runs) {
      first_row.push_back(order.size());
      order.insert(order.end(), run.products.begin(), run.products.end());
    }
    if (order.empty()) return;
    float* prepared = scratch<Scratch::kShared>(order.size() * stride);
    threads_.parallel_for(order.size(), 2 * size_t{p_.inputs}, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) weight_.prepare(row(order[i]), prepared + i * stride);
    });
    const size_t cost = kBlock * weight_.row_bytes() * ((order.size() - 1) / runs.size() + 1);
    threads_.parallel_for(runs.size() * blocks, cost, [&](size_t begin, size_t end) {
      float sums[kStepRows * kBlock];
      for (size_t item = begin; item < end; ++item) {
        const ExpertRun& run = runs[item / blocks];
        const float* rows = prepared + first_row[item / blocks] * stride;
        const size_t n = item % blocks * kBlock, count = std::min(kBlock, p_.outputs - n);
        for (size_t i = 0; i < run.products.size(); i += kStepRows) {
          const size_t some = std::min(kStepRows, run.products.size() - i);
          weight_.multiply(weight_row(run, n), count, rows + i * stride, stride, some, sums);
          for (size_t r = 0; r < some; ++r) {
            finish(run.products[i + r], n, count, sums + r * count);
          }
        }
      }
    });
  }

  // In blocks, as multiply_matrix does (fast/mat_mat.h): some runs at a time, which bounds the copy
  // of x that is worked with and leaves work for all threads.
  void multiply_together(const std::vector<ExpertRun>& runs) const {
    const size_t most = kMatMatRows / 2 * std::max(2u, threads_.threads());
    for (size_t first = 0; first < runs.size();) {
      size_t end = first, rows = 0;
      while (end < runs.size() && (end == first || rows + runs[end].products.size() <= most)) {
        rows += runs[end++].products.size();
      }
      multiply_tiles(runs.data() + first, end - first);
      first = end;
    }
  }

 private:
  // A tile of rows of x.
  struct Tile {
    const size_t* products;
    size_t count;
  };

  void multiply_tiles(const ExpertRun* runs, size_t count) const {
    constexpr size_t kPanels = 8;  // as in multiply_matrix
    const size_t tile = kernels_.tile_rows, inputs = p_.inputs;
    const size_t block_cols = kPanels * kernels_.tile_cols;
    const size_t blocks = (p_.outputs + block_cols - 1) / block_cols;
    std::vector<Tile> tiles;
    std::vector<size_t> first_tile;  // of a run, and their end
    size_t longest = 0;
    for (size_t i = 0; i < count; ++i) {
      first_tile.push_back(tiles.size());
      const std::vector<size_t>& products = runs[i].products;
      longest = std::max(longest, (products.size() + tile - 1) / tile);
      for (size_t r = 0; r < products.size(); r += tile) {
        tiles.push_back({products.data() + r, std::min(tile, products.size() - r)});
      }
    }
    first_tile.push_back(tiles.size());
    const float* packed = pack(tiles);
    const size_t cost = tiles.size() * tile / count * inputs * block_cols / kMatMatSpeedup;
    threads_.parallel_for(count * blocks, cost, [&](size_t begin, size_t end) {
      const size_t sums_size = longest * tile * block_cols;
      float* sums = scratch<Scratch::kOwn>(sums_size + kMatMatDepth * block_cols);
      for (size_t item = begin; item < end; ++item) {
        const ExpertRun& run = runs[item / blocks];
        const size_t at = first_tile[item / blocks], n = item % blocks * block_cols;
        const size_t cols = std::min<size_t>(block_cols, p_.outputs - n);
        multiply_strip(packed + at * tile * inputs, run.products.size(), weight_,
                       weight_row(run, n), cols,
                       std::min<size_t>(block_cols, p_.outputs - n - cols), inputs,
                       sums + sums_size, sums, block_cols, kernels_);
        for (size_t r = 0; r < run.products.size(); ++r) {
          finish(run.products[r], n, cols, sums + r * block_cols);
        }
      }
    });
  }

  // In scratch memory that all threads may read.
  const float* pack(const std::vector<Tile>& tiles) const {
    const size_t tile = kernels_.tile_rows, inputs = p_.inputs;
    float* packed = scratch<Scratch::kShared>(tiles.size() * tile * inputs);
    threads_.parallel_for(tiles.size(), 2 * tile * inputs, [&](size_t begin, size_t end) {
      float* gathered = scratch<Scratch::kOwn>(tile * inputs);
      for (size_t t = begin; t < end; ++t) {
        for (size_t i = 0; i < tiles[t].count; ++i) {
          std::copy_n(row(tiles[t].products[i]), inputs, gathered + i * inputs);
        }
        kernels_.pack_rows(gathered, inputs, tiles[t].count, inputs, packed + t * tile * inputs);
      }
    });
    return packed;
  }

  const float* row(size_t product) const { return x_ + product / p_.sharing * p_.x_stride; }
  size_t weight_row(const ExpertRun& run, size_t n) const {
    return run.expert * p_.expert_rows + n;
  }
  void finish(size_t product, size_t n, size_t count, const float* sums) const {
    const size_t at = product * p_.outputs + n;
    kernels_.finish_row(sums, nullptr, nullptr, p_.activation,
                        gate_ == nullptr ? nullptr : gate_ + at, nullptr, count, out_ + at);
  }

  const Params& p_;
  const Weight& weight_;
  ThreadPool& threads_;
  const Kernels& kernels_;
  const float* x_;
  const float* gate_;
  float* out_;
};

// `chosen` is the number of the buffer of experts, as in ExpertsProduct.
template <class Params, class Weight>
void multiply_experts(const Operation& operation, const Params& p, size_t chosen,
                      ThreadPool& threads, const Kernels& kernels, const Weight& weight) {
  const bool is_chunk = operation.bindings[chosen + 1].memory != nullptr;
  std::vector<ExpertRun> runs;
  const auto products = products_by_expert(operation.data<const uint32_t>(chosen), p);
  for (size_t expert = 0; expert < products.size(); ++expert) {
    const std::vector<size_t>& all = products[expert];
    if (all.empty()) continue;
    const size_t most = is_chunk ? kMatMatRows : all.size();
    for (size_t i = 0; i < all.size(); i += most) {
      const size_t end = std::min(all.size(), i + most);
      runs.push_back({expert, {all.begin() + i, all.begin() + end}});
    }
  }
  const ExpertsProduct product(operation, p, chosen, weight, threads, kernels);
  if (is_chunk) {
    product.multiply_together(runs);
  } else {
    product.multiply_each(runs);
  }
}

}  // namespace ssm::cpu::fast
