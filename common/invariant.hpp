// Invariants, checked where the program is about to rely on them.
//
//   INVARIANT(slot < slots, slot, slots);                always: for what costs a comparison
//   COSTLY_INVARIANT(find(block) == kNoSlot, block.value);  in debug and sanitizer builds only
//
// They come in pairs: one on each side of a border (the range of a client's request, and that of
// the request it becomes below; a pin, and its end). The values after the condition appear in the
// message, in this order. They are not evaluated while it holds. The file appears by its name
// alone: a path would be one of the machine that built the program.
//
// One that does not hold ends the process. The program cannot know any more what it does next, and
// it may have the only good copy of somebody's data: a durable cache is read and checked at the
// next start, as after any other crash. What a user, a client or a disk may cause is an Error,
// never this.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <string>

#include "common/log.hpp"

namespace nbdstack {

template <typename... Values>
[[noreturn, gnu::cold, gnu::noinline]] void invariant_is_broken(const char* condition,
                                                                const char* file, int line,
                                                                const char* names,
                                                                const Values&... values) noexcept {
  try {
    std::string shown;
    ((shown += fmt::format("{}{}", shown.empty() ? "" : ", ", values)), ...);
    log::error("nbdstack: {}:{}: this does not hold: {}{}{}{}{}", file, line, condition,
               shown.empty() ? "" : "; ", names, shown.empty() ? "" : " = ", shown);
  } catch (const std::exception&) {
    // There is no message without memory.
  }
  std::abort();
}

}  // namespace nbdstack

#define INVARIANT(condition, ...)                                                     \
  ((condition) ? static_cast<void>(0)                                                 \
               : ::nbdstack::invariant_is_broken(#condition, __FILE_NAME__, __LINE__, \
                                                 #__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__))

#ifdef NDEBUG
// The condition is compiled, so that it stays right, but never evaluated.
#define COSTLY_INVARIANT(condition, ...) \
  (true ? static_cast<void>(0) : INVARIANT(condition __VA_OPT__(, ) __VA_ARGS__))
#else
#define COSTLY_INVARIANT(condition, ...) INVARIANT(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
