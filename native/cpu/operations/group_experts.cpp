// tiles = the numbers of the products of each expert, in their order, kExpertTile of them a tile
// (metal/group_experts.h)
#include "metal/group_experts.h"

#include <algorithm>

#include "native/cpu/experts.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void group_experts(const Operation& operation, ThreadPool&) {
  const auto p = operation.params<GroupExpertsParams>();
  auto* tiles = operation.data<uint32_t>(1);  // (tiles, kExpertTile)
  std::fill_n(tiles, size_t{p.tiles} * kExpertTile, uint32_t{kNoProduct});
  for (const auto& products : products_by_expert(operation.data<const uint32_t>(0), p)) {
    std::copy(products.begin(), products.end(), tiles);
    tiles += (products.size() + kExpertTile - 1) / kExpertTile * kExpertTile;
  }
}

}  // namespace ssm::cpu
