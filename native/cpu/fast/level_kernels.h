// The kernels of one level, as one constant. Included by level_<name>.cpp with SSM_LEVEL defined.
#pragma once

#include "cpu/fast/kernels.h"
#include "cpu/fast/mat_vec_kernels.h"
#include "cpu/fast/norm_kernels.h"

namespace ssm::cpu::SSM_LEVEL {

extern const Kernels kernels;
const Kernels kernels = {
    .mat_vec = mat_vec,
    .affine_packed_size = affine_packed_size,
    .affine_pack = affine_pack,
    .affine_mat_vec = affine_mat_vec,
    .sum_of_squares = sum_of_squares,
    .scale_row = scale_row,
};

}  // namespace ssm::cpu::SSM_LEVEL
