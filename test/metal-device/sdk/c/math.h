// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define HUGE_VAL __builtin_huge_val()
#define HUGE_VALF __builtin_huge_valf()
#define HUGE_VALL __builtin_huge_vall()
#define FP_NAN 1
#define FP_INFINITE 2
#define FP_ZERO 3
#define FP_NORMAL 4
#define FP_SUBNORMAL 5
#define FP_ILOGB0 (-2147483647 - 1)
#define FP_ILOGBNAN (-2147483647 - 1)
#define MATH_ERRNO 1
#define MATH_ERREXCEPT 2
#define math_errhandling 2
typedef float float_t;
typedef double double_t;

extern "C" {
// Each in double, float and long double.
#define SDK_MATH1(f) \
  double f(double);  \
  float f##f(float); \
  long double f##l(long double)
#define SDK_MATH2(f)        \
  double f(double, double); \
  float f##f(float, float); \
  long double f##l(long double, long double)
#define SDK_OTHERS(T, s)           \
  T fma##s(T, T, T);               \
  T frexp##s(T, int*);             \
  int ilogb##s(T);                 \
  T ldexp##s(T, int);              \
  long long llrint##s(T);          \
  long long llround##s(T);         \
  long lrint##s(T);                \
  long lround##s(T);               \
  T modf##s(T, T*);                \
  T nan##s(const char*);           \
  T nexttoward##s(T, long double); \
  T remquo##s(T, T, int*);         \
  T scalbln##s(T, long);           \
  T scalbn##s(T, int)
SDK_MATH1(acos);
SDK_MATH1(acosh);
SDK_MATH1(asin);
SDK_MATH1(asinh);
SDK_MATH1(atan);
SDK_MATH1(atanh);
SDK_MATH1(cbrt);
SDK_MATH1(ceil);
SDK_MATH1(cos);
SDK_MATH1(cosh);
SDK_MATH1(erf);
SDK_MATH1(erfc);
SDK_MATH1(exp);
SDK_MATH1(exp2);
SDK_MATH1(expm1);
SDK_MATH1(fabs);
SDK_MATH1(floor);
SDK_MATH1(lgamma);
SDK_MATH1(log);
SDK_MATH1(log10);
SDK_MATH1(log1p);
SDK_MATH1(log2);
SDK_MATH1(logb);
SDK_MATH1(nearbyint);
SDK_MATH1(rint);
SDK_MATH1(round);
SDK_MATH1(sin);
SDK_MATH1(sinh);
SDK_MATH1(sqrt);
SDK_MATH1(tan);
SDK_MATH1(tanh);
SDK_MATH1(tgamma);
SDK_MATH1(trunc);
SDK_MATH2(atan2);
SDK_MATH2(copysign);
SDK_MATH2(fdim);
SDK_MATH2(fmax);
SDK_MATH2(fmin);
SDK_MATH2(fmod);
SDK_MATH2(hypot);
SDK_MATH2(nextafter);
SDK_MATH2(pow);
SDK_MATH2(remainder);
SDK_OTHERS(double, );
SDK_OTHERS(float, f);
SDK_OTHERS(long double, l);
#undef SDK_MATH1
#undef SDK_MATH2
#undef SDK_OTHERS
}
