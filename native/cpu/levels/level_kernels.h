// The kernels of one level, as one constant. Included by levels/<name>.cpp with SSM_LEVEL defined.
#pragma once

#include "native/cpu/fast/attention_kernels.h"
#include "native/cpu/fast/delta_kernels.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/largest_kernels.h"
#include "native/cpu/fast/mat_mat_kernels.h"
#include "native/cpu/fast/mat_vec_kernels.h"
#include "native/cpu/fast/norm_kernels.h"
#include "native/cpu/fast/paged_attention_kernels.h"
#include "native/cpu/fast/quantized_mat_vec_kernels.h"
#include "native/cpu/fast/row_kernels.h"
#include "native/cpu/fast/ssd_chunk_kernels.h"
#include "native/cpu/fast/ssd_kernels.h"
#include "native/cpu/fast/tile_kernels.h"

namespace ssm::cpu::SSM_LEVEL {

extern const Kernels kernels;
const Kernels kernels = {
    .mat_vec = mat_vec,
    .quantized_packed_size = quantized_packed_size,
    .quantized_pack = quantized_pack,
    .quantized_mat_vec = quantized_mat_vec,
    .tile_rows = kTileRows,
    .tile_cols = kTileCols,
    .pack_rows = pack_rows,
    .pack_plain = pack_plain,
    .pack_quantized = pack_quantized,
    .multiply_tiles = multiply_tiles,
    .ssd_sizes = ssd_sizes,
    .ssd_scores = ssd_scores,
    .ssd_chunk = ssd_chunk,
    .delta_step = delta_step,
    .delta_work = delta_work,
    .delta_chunk = delta_chunk,
    .conv1d_transposed_row = conv1d_transposed_row,
    .activate = activate,
    .finish_row = finish_row,
    .sum_of_exps = sum_of_exps,
    .sum_of_squares = sum_of_squares,
    .scale_row = scale_row,
    .conv1d_row = conv1d_row,
    .ssd_step = ssd_step,
    .gate_row = gate_row,
    .attend = attend,
    .widen = widen,
    .pack_columns = pack_columns,
    .take_scores = take_scores,
    .correct_sums = correct_sums,
    .attend_keys = attend_keys,
    .finish_head = finish_head,
    .largest_value = largest_value,
};

}  // namespace ssm::cpu::SSM_LEVEL
