// For tests that break an invariant (common/invariant.hpp) on purpose.
//
//   EXPECT_BROKEN(table.unpin(slot), "pins != 0");       ends the process, with this in the message
//
// If no sequence of public calls can break it, a test opens a private member, for nothing else:
//
//   NBDSTACK_OPEN_MEMBER(Entries, &DigestTable::entries_);      in namespace nbdstack::testing
//   (table.*private_member(Entries())).at({3}).pins = 0;
//
// Access checks do not apply to the names in an explicit instantiation, so the class needs no
// friend. Each name is used once in a test program.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>

#include "common/log.hpp"

namespace nbdstack::testing {

// Shows the message to GoogleTest, whatever sink an earlier test has left.
inline void log_to_stderr() {
  log::set_sink({[](const char* line) { std::fprintf(stderr, "%s\n", line); }, [](const char*) {}});
}

template <typename Name, auto member>
struct OpenedMember {
  friend constexpr auto private_member(Name) { return member; }
};

}  // namespace nbdstack::testing

// The statement is an expression, and its value has no use.
#define EXPECT_BROKEN(statement, pattern) \
  EXPECT_DEATH((::nbdstack::testing::log_to_stderr(), statement), pattern)

#define NBDSTACK_OPEN_MEMBER(Name, member)      \
  struct Name {                                 \
    friend constexpr auto private_member(Name); \
  };                                            \
  template struct OpenedMember<Name, member>
