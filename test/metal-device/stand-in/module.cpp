// The addon of these tests: the shipped one, and what tests ask of the stand-in, as functions
//   standIn(): { liveObjects, buffersMade, ... }
//   setStandIn(name, number)
//   kernelText(kernel, "name=value name=value"): what a Mac compiles; throws when that is wrong
//   readFreed(): a mistake on purpose, to see that AddressSanitizer watches
#include <node_api.h>

#include <map>
#include <sstream>
#include <string>

#include "metal_stand_in.h"
#include "native/metal/kernel_source.h"

namespace objc_runtime {
size_t live_objects();
}

// The shipped addon's own, under the name that CMakeLists.txt gives it.
extern "C" napi_value ssm_register_module(napi_env env, napi_value exports);

namespace {

std::map<std::string, std::atomic<uint64_t>*> numbers() {
  auto& c = metal_stand_in::controls();
  return {{"failBuffers", &c.fail_buffers},
          {"failLibraries", &c.fail_libraries},
          {"failPipelines", &c.fail_pipelines},
          {"failQueues", &c.fail_queues},
          {"failEncoders", &c.fail_encoders},
          {"spareEncoders", &c.spare_encoders},
          {"spare", &c.spare},
          {"failCommandBuffers", &c.fail_command_buffers},
          {"failLate", &c.fail_late},
          {"timeOut", &c.time_out},
          {"runOutOfMemory", &c.run_out_of_memory},
          {"failInAnotherDomain", &c.fail_in_another_domain},
          {"hang", &c.hang},
          {"endHang", &c.end_hang},
          {"loseDevice", &c.lose_device},
          {"completionDelay", &c.completion_delay},
          {"leastGpuTime", &c.least_gpu_time},
          {"reverseCompletions", &c.reverse_completions},
          {"maxBufferLength", &c.max_buffer_length},
          {"workingSet", &c.working_set},
          {"allocatedElsewhere", &c.allocated_elsewhere},
          {"maxThreads", &c.max_threads},
          {"gpuFamily", &c.gpu_family},
          {"buffersMade", &c.buffers_made},
          {"librariesMade", &c.libraries_made},
          {"textsCompiled", &c.texts_compiled},
          {"pipelinesMade", &c.pipelines_made},
          {"gpuWaits", &c.gpu_waits},
          {"inexactDispatches", &c.inexact_dispatches},
          {"commandBuffersDone", &c.command_buffers_done},
          {"dispatchesDone", &c.dispatches_done},
          {"barriers", &c.barriers},
          {"bufferBytes", &c.buffer_bytes},
          {"mostBufferBytes", &c.most_buffer_bytes},
          {"residencyCommits", &c.residency_commits},
          {"residencyRequests", &c.residency_requests}};
}

void set_number(napi_env env, napi_value object, const char* name, uint64_t number) {
  napi_value value;
  napi_create_double(env, static_cast<double>(number), &value);
  napi_set_named_property(env, object, name, value);
}

napi_value stand_in(napi_env env, napi_callback_info) {
  napi_value result;
  napi_create_object(env, &result);
  set_number(env, result, "liveObjects", objc_runtime::live_objects());
  for (const auto& [name, number] : numbers()) set_number(env, result, name.c_str(), *number);
  return result;
}

napi_value set_stand_in(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  char name[64] = {};
  double number = 0;
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  const auto all = numbers();
  if (napi_get_value_string_utf8(env, arguments[0], name, sizeof(name), nullptr) != napi_ok ||
      napi_get_value_double(env, arguments[1], &number) != napi_ok || all.count(name) == 0) {
    napi_throw_type_error(env, nullptr, "setStandIn(name, number): no such name");
    return nullptr;
  }
  *all.at(name) = static_cast<uint64_t>(number);
  return nullptr;
}

napi_value kernel_text(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  char kernel[256] = {}, words[1024] = {};
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  napi_get_value_string_utf8(env, arguments[0], kernel, sizeof(kernel), nullptr);
  napi_get_value_string_utf8(env, arguments[1], words, sizeof(words), nullptr);
  try {
    std::vector<ssm::metal::Constant> constants;
    std::istringstream stream(words);
    for (std::string word; stream >> word;) {
      const size_t middle = word.find('=');
      constants.push_back(
          {word.substr(0, middle), static_cast<uint32_t>(std::stoul(word.substr(middle + 1)))});
    }
    const std::string text = ssm::metal::kernel_text(kernel, constants);
    napi_value result;
    napi_create_string_utf8(env, text.data(), text.size(), &result);
    return result;
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

napi_value read_freed(napi_env env, napi_callback_info) {
  auto* number = new volatile int(7);
  delete number;
  napi_value result;
  napi_create_int32(env, *number, &result);
  return result;
}

void add_function(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
  napi_set_named_property(env, exports, name, value);
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value result = ssm_register_module(env, exports);
  if (result == nullptr) return nullptr;
  add_function(env, result, "standIn", stand_in);
  add_function(env, result, "setStandIn", set_stand_in);
  add_function(env, result, "kernelText", kernel_text);
  add_function(env, result, "readFreed", read_freed);
  return result;
}
