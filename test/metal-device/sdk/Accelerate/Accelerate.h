// The part of Accelerate that native/cpu/fast/mat_mat_blas.h uses: the C interface of the BLAS
// (netlib.org/blas/cblas.h). As Apple's headers do, ACCELERATE_NEW_LAPACK gives the function the
// name that it has in the library since macOS 13.3.
#pragma once

#ifdef ACCELERATE_NEW_LAPACK
#define SDK_BLAS_NAME(name) __asm("_" #name "$NEWLAPACK")
#else
#define SDK_BLAS_NAME(name)
#endif

enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };

extern "C" void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE trans_a,
                            enum CBLAS_TRANSPOSE trans_b, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c,
                            int ldc) SDK_BLAS_NAME(cblas_sgemm);
