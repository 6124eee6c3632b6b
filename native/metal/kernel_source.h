// The kernels of metal/ as text, for GPUs whose driver compiles them. scripts/embed-metal.mjs
// writes the file that defines kernel_sources().
#pragma once

#include <string>
#include <vector>

#include "native/kernel_text.h"
#include "native/metal/program.h"

namespace ssm::metal {

// SSM_CONSTANT(type, name)
struct ConstantDeclaration {
  const char* name;
  bool is_bool;  // else uint
};

// INSTANTIATE(name, (arguments), ...): each combination is a kernel. Without arguments it is no
// template, and its name that of the kernel.
struct KernelFunction {
  const char* name;
  std::vector<std::vector<std::string>> arguments;
};

// One .metal file, the headers that it includes inlined. Its kernels have the same constants.
struct KernelSource {
  const char* file;
  std::vector<KernelFunction> functions;
  std::vector<ConstantDeclaration> constants;
  const char* text;
};

const std::vector<KernelSource>& kernel_sources();

// The file that has a kernel. Throws std::logic_error when none does.
const KernelSource& source_of(const std::string& kernel);

// Throws std::logic_error unless these are the constants that the kernel has, each once, and a bool
// is 0 or 1.
void check_constants(const std::string& kernel, const std::vector<Constant>& constants);

// The text of one kernel, with its constants as literals: what Metal compiles. Equal to the byte
// for equal constants in whatever order:
//   #define SSM_KERNEL matvec_float32_float16_float16
//   #define SSM_VALUE_vector_rows 1          a line for each constant, as the file declares them
//   ...                                      the file
//   template [[host_name("...")]] ...        the kernel, unless it is no template
// Throws as check_constants.
std::string kernel_text(const std::string& kernel, const std::vector<Constant>& constants);

// The kernel of a dispatch. Throws as check_constants.
KernelText text_of(const Dispatch& dispatch);

// The kernels of dispatches, each once, in the order of their first use.
std::vector<KernelText> texts_of(const std::vector<Dispatch>& dispatches);

}  // namespace ssm::metal
