// Memory that operations work in, kept from one to the next: allocating megabytes for every one
// costs page faults. It belongs to the thread that asked and goes when that thread ends, which is
// when its device does.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace ssm::cpu::fast {

enum class Scratch {
  kShared,  // of the thread that leads an operation; all threads may read it
  kOwn,     // of each thread that works on an operation
};

// So many floats with undefined contents, on a cache line of their own. What an earlier call for
// the same `use` on this thread gave must not be used any more.
template <Scratch use>
float* scratch(size_t floats) {
  constexpr std::align_val_t kCacheLine{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete[](memory, kCacheLine); }
  };
  thread_local std::unique_ptr<float[], Free> memory;
  thread_local size_t size = 0;
  if (size < floats) {
    memory.reset();
    size = 0;
    memory.reset(new (kCacheLine) float[floats]);
    size = floats;
  }
  return memory.get();
}

// Rounds up, so that what follows n floats starts on a cache line too.
constexpr size_t cache_lines(size_t n) { return (n + 15) / 16 * 16; }

}  // namespace ssm::cpu::fast
