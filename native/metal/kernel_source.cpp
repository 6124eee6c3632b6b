#include "native/metal/kernel_source.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace ssm::metal {

namespace {

// The template arguments in the name of a kernel, which go on after that of its function; empty
// when they are none that the function is instantiated with.
std::vector<std::string> arguments_of(const std::string& kernel, const KernelFunction& function) {
  std::vector<std::string> result;
  std::string rest = kernel.substr(std::string(function.name).size());
  for (const std::vector<std::string>& allowed : function.arguments) {
    if (rest.empty() || rest.front() != '_') return {};
    const size_t end = std::min(rest.find('_', 1), rest.size());
    result.push_back(rest.substr(1, end - 1));
    if (std::find(allowed.begin(), allowed.end(), result.back()) == allowed.end()) return {};
    rest.erase(0, end);
  }
  return rest.empty() ? result : std::vector<std::string>();
}

bool is_kernel_of(const std::string& kernel, const KernelFunction& function) {
  if (function.arguments.empty()) return kernel == function.name;
  return kernel.compare(0, std::string(function.name).size(), function.name) == 0 &&
         !arguments_of(kernel, function).empty();
}

struct Found {
  const KernelSource* source;
  const KernelFunction* function;
};

Found find(const std::string& kernel) {
  for (const KernelSource& source : kernel_sources()) {
    for (const KernelFunction& function : source.functions) {
      if (is_kernel_of(kernel, function)) return {&source, &function};
    }
  }
  throw std::logic_error("no file of metal/ has a kernel named " + kernel);
}

// The value of each constant of the file, in its order.
std::vector<uint32_t> values_of(const std::string& kernel, const KernelSource& source,
                                const std::vector<Constant>& constants) {
  const auto fail = [&](const std::string& name, const std::string& what) {
    throw std::logic_error("kernel " + kernel + " (metal/" + source.file + "): constant " + name +
                           " " + what);
  };
  std::vector<uint32_t> values;
  for (const auto& [name, is_bool] : source.constants) {
    const auto has_name = [name = name](const Constant& constant) { return constant.name == name; };
    const auto given = std::find_if(constants.begin(), constants.end(), has_name);
    if (given == constants.end()) fail(name, "is not set");
    if (std::count_if(constants.begin(), constants.end(), has_name) > 1) fail(name, "is set twice");
    if (is_bool && given->value > 1) fail(name, "is bool, not " + std::to_string(given->value));
    values.push_back(given->value);
  }
  for (const Constant& constant : constants) {
    const bool known = std::any_of(
        source.constants.begin(), source.constants.end(),
        [&](const ConstantDeclaration& declared) { return constant.name == declared.name; });
    if (!known) fail(constant.name, "is set, but the kernel has none of that name");
  }
  return values;
}

// "matvec<float, half, bfloat>"
std::string instance_of(const std::string& kernel, const KernelFunction& function) {
  std::string text = function.name;
  char separator = '<';
  for (const std::string& argument : arguments_of(kernel, function)) {
    text += separator;
    text += argument == "float32"    ? "float"
            : argument == "float16"  ? "half"
            : argument == "bfloat16" ? "bfloat"
            : argument == "uint8"    ? "uchar"
                                     : argument;
    separator = ',';
  }
  return text + ">";
}

}  // namespace

const KernelSource& source_of(const std::string& kernel) { return *find(kernel).source; }

void check_constants(const std::string& kernel, const std::vector<Constant>& constants) {
  values_of(kernel, source_of(kernel), constants);
}

std::string kernel_text(const std::string& kernel, const std::vector<Constant>& constants) {
  const auto [source, function] = find(kernel);
  const std::vector<uint32_t> values = values_of(kernel, *source, constants);
  std::string text = "#define SSM_KERNEL " + kernel + "\n";
  for (size_t i = 0; i < values.size(); ++i) {
    text += std::string("#define SSM_VALUE_") + source->constants[i].name + " " +
            std::to_string(values[i]) + "\n";
  }
  text += source->text;
  if (!function->arguments.empty()) {
    const std::string instance = instance_of(kernel, *function);
    text += "#line 1 \"" + kernel + "\"\ntemplate [[host_name(\"" + kernel +
            "\")]] [[kernel]] decltype(" + instance + ") " + instance + ";\n";
  }
  return text;
}

KernelText text_of(const Dispatch& dispatch) {
  return {.kernel = dispatch.kernel,
          .text = kernel_text(dispatch.kernel, dispatch.constants),
          .threads = dispatch.threads_of_group(),
          .operation = dispatch.operation};
}

std::vector<KernelText> texts_of(const std::vector<Dispatch>& dispatches) {
  std::vector<KernelText> result;
  std::set<std::pair<std::string, uint32_t>> known;
  for (const Dispatch& dispatch : dispatches) {
    KernelText text = text_of(dispatch);
    if (known.emplace(text.text, text.threads).second) result.push_back(std::move(text));
  }
  return result;
}

}  // namespace ssm::metal
