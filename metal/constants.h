// What a kernel is compiled for. A kernel file declares its constants and the buffers that depend
// on them by these macros, and lists its kernels:
//   SSM_CONSTANT(bool, has_bias);                 a bool or a uint that the host sets by its name
//   SSM_OPTIONAL(has_bias, 2, device const float* bias)   a parameter that is there with the
//   constant SSM_ABSENT(has_bias, device const float* bias);       in the body: null without the
//   constant INSTANTIATE(matvec, (float32, float16), (float32, float16, bfloat16));
//                                  each combination of template arguments, "matvec_float32_float16"
//
// What Metal compiles is the text of one kernel (native/metal/kernel_source.h). Its first lines
// define SSM_KERNEL and, for each constant, SSM_VALUE_<name>; its last one is the one
// instantiation. So every constant is a literal, and a buffer that is absent is no parameter.
#pragma once

#ifdef SSM_KERNEL

#define SSM_CONSTANT(type, name) constant constexpr type name = SSM_VALUE_##name
#define SSM_OPTIONAL(flag, index, ...) \
  SSM_CHOOSE(SSM_OPTIONAL_, SSM_VALUE_##flag)(index, __VA_ARGS__)
#define SSM_OPTIONAL_0(index, ...)
#define SSM_OPTIONAL_1(index, ...) __VA_ARGS__ [[buffer(index)]],
#define SSM_ABSENT(flag, ...) SSM_CHOOSE(SSM_ABSENT_, SSM_VALUE_##flag)(__VA_ARGS__)
#define SSM_ABSENT_0(...) __VA_ARGS__ = nullptr
#define SSM_ABSENT_1(...)
#define SSM_CHOOSE(name, value) SSM_PASTE(name, value)
#define SSM_PASTE(a, b) a##b
#define INSTANTIATE(...)

#else

// test/software-metal/compile-kernels.mjs reads these, and INSTANTIATE as it stands: there one text
// has all kernels of its file, constants are variables, and an absent buffer is a null pointer.
#define SSM_CONSTANT(type, name) constant type name [[function_constant]]
#define SSM_OPTIONAL(flag, index, ...) __VA_ARGS__ [[buffer(index), function_constant(flag)]],
#define SSM_ABSENT(flag, ...)

#endif
