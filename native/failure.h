// What went wrong with a run or a list, as data. The message is for people: nobody compares it.
#pragma once

#include <cstddef>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

namespace ssm {

// Why, as far as somebody acts on it. lib/addon/contract.ts has the same numbers.
enum class FailureReason {
  other = 0,
  bad_data = 1,  // an operation refuses what a tensor holds
  out_of_memory = 2,
};

struct Failure {
  std::string message;
  FailureReason reason = FailureReason::other;
  // Index in the list; none where it was no operation, or nobody can tell which.
  std::optional<size_t> operation = std::nullopt;
};

// A failure, thrown.
class Failed : public std::runtime_error {
 public:
  Failed(FailureReason reason, const std::string& message) : Failed({message, reason}) {}
  explicit Failed(Failure failure)
      : std::runtime_error(failure.message), failure_(std::move(failure)) {}

  const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

// What is being handled, in a handler of std::exception.
inline Failure caught_failure() {
  try {
    throw;
  } catch (const Failed& failed) {
    return failed.failure();
  } catch (const std::bad_alloc&) {
    return {"not enough memory", FailureReason::out_of_memory};
  } catch (const std::exception& error) {
    return {error.what()};
  }
}

// Calls `work`. What it throws is a failure of operation `index` of its list, unless it says
// otherwise itself.
template <class Work>
decltype(auto) on_behalf_of(size_t index, Work work) {
  try {
    return work();
  } catch (const std::exception&) {
    Failure failure = caught_failure();
    if (!failure.operation) failure.operation = index;
    throw Failed(std::move(failure));
  }
}

}  // namespace ssm
