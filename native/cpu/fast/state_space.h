// The convolution of one token, which conv1d_update and mamba2_update share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/conv1d.h"
#include "cpu/fast/kernels.h"

namespace ssm::cpu::fast {

// The convolution of one sequence at one position, for any part of its channels. As conv1d_step
// (native/cpu/conv1d.h), by kernels.
class ConvStep {
 public:
  // ring (width, channels), w (channels, width), bias (channels) or null.
  ConvStep(float* ring, uint32_t position, const float* w, const float* bias, size_t channels,
           uint32_t width)
      : newest_(ring + ring_row(position, width) * channels), w_(w), bias_(bias), width_(width) {
    for (uint32_t k = 0; k < width; ++k) {
      taps_.push_back(ring + ring_row(int64_t{position} - width + 1 + k, width) * channels);
    }
  }

  // Channels [first, first + count): x (count) enters the ring, out (count) is their convolution.
  // `taps` has room for width pointers.
  void run(const Kernels& kernels, const float* x, size_t first, size_t count, const float** taps,
           float* out) const {
    std::copy_n(x, count, newest_ + first);
    for (uint32_t k = 0; k < width_; ++k) taps[k] = taps_[k] + first;
    kernels.conv1d_row(taps, w_ + first * width_, bias_ ? bias_ + first : nullptr, count, width_,
                       out);
  }

 private:
  std::vector<float*> taps_;  // rows of the ring, the oldest first
  float* newest_;
  const float* w_;
  const float* bias_;
  uint32_t width_;
};

}  // namespace ssm::cpu::fast
