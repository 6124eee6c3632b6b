// The part of Accelerate that native/cpu/fast/mat_mat_blas.h uses: the C interface of the BLAS
// (netlib.org/blas/cblas.h). Apple gives the function another name in the library when
// ACCELERATE_NEW_LAPACK is defined; here it keeps its own.
#pragma once

enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };

extern "C" void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE trans_a,
                            enum CBLAS_TRANSPOSE trans_b, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c,
                            int ldc);
