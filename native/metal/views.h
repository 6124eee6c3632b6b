// Which parts of a block of memory become buffers of their own, where the block is larger than the
// largest buffer of the GPU. No Apple type appears here.
#pragma once

#include <algorithm>
#include <cstddef>

namespace ssm::metal {

struct View {
  size_t begin = 0;  // bytes from the start of the block, a multiple of the page
  size_t bytes = 0;  // a multiple of the page, which may end behind the block's last byte
};

// A block of `bytes` bytes, page-aligned, of which one operation reads at most `largest_part` bytes
// in one piece. Buffers are whole pages and have at most `most` bytes. Views begin one step apart
// and overlap by what an operation reads in one piece, so that some view has all of it; but at most
// by half, because the system may count shared pages more than once: a part that is larger has a
// view of its own.
class Views {
 public:
  Views(size_t bytes, size_t largest_part, size_t page, size_t most)
      : page_(page), most_(most / page * page), whole_(round_up(bytes)) {
    if (most_ < page) most_ = page;
    const size_t overlap = std::min(round_up(largest_part), most_ / 2 / page * page);
    step_ = most_ - overlap;
  }

  // The view that has these bytes of the block; its `bytes` are 0 when no buffer can have them all.
  View of(size_t offset, size_t bytes) const {
    if (whole_ <= most_) return {0, whole_};
    const size_t begin = std::min(offset / step_, count() - 1) * step_;
    const View shared{begin, std::min(most_, whole_ - begin)};
    if (offset - begin + bytes <= shared.bytes) return shared;
    const size_t first = offset / page_ * page_;
    const View own{first, round_up(offset - first + bytes)};
    return own.bytes <= most_ ? own : View{};
  }

  // Of all views that begin a step apart. Parts with a view of their own come on top.
  size_t total_bytes() const {
    if (whole_ <= most_) return whole_;
    return (count() - 1) * most_ + whole_ - (count() - 1) * step_;
  }

 private:
  // Of views that begin a step apart: the last one is the first that reaches the end.
  size_t count() const { return 1 + (whole_ - most_ + step_ - 1) / step_; }
  size_t round_up(size_t bytes) const { return (bytes + page_ - 1) / page_ * page_; }

  size_t page_, most_, whole_, step_;
};

}  // namespace ssm::metal
