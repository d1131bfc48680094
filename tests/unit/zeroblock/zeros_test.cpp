// The search for zeros: every length around its steps, every place in them.
#include "common/block/zeros.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace nbdstack::testing {
namespace {

TEST(IsZeroTest, FindsAByteWhereverItIs) {
  for (std::size_t length = 0; length <= 800; ++length) {
    std::vector<std::byte> bytes(length);
    ASSERT_TRUE(is_zero(bytes)) << length;
    for (std::size_t at = 0; at < length; ++at) {
      bytes[at] = std::byte{1};
      ASSERT_FALSE(is_zero(bytes)) << length << " bytes, at " << at;
      bytes[at] = std::byte{0};
    }
  }
}

}  // namespace
}  // namespace nbdstack::testing
