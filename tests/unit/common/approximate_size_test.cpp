#include "common/approximate_size.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(ApproximateSize, IsForPeople) {
  EXPECT_EQ(approximate_size(1023), "1023 bytes");
  EXPECT_EQ(approximate_size(1536), "1.5 KiB");
  EXPECT_EQ(approximate_size(std::uint64_t{10} << 30U), "10.0 GiB");
  EXPECT_EQ(approximate_size(UINT64_MAX), "16.0 EiB");
}

}  // namespace
}  // namespace nbdstack
