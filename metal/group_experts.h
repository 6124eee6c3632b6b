// Parameters of group_experts, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct GroupExpertsParams {
  uint32_t rows;  // products: chosen experts of all tokens
  uint32_t experts;
  uint32_t tiles;  // room for them
};
SSM_OPERATION(GroupExpertsParams, reads(chosen), writes(tiles));

// Products of one expert, by their numbers, as many as a tile of a product of matrices has rows.
// Where an expert has fewer, kNoProduct is in the other places of its last tile; the tiles behind
// those of all experts have nothing else.
enum ExpertTile : uint32_t {
  kExpertTile = 32,
  kNoProduct = 0xffffffff,
};
