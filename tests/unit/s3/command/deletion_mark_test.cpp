// The bytes of the mark of a volume that is being deleted: docs/formats/own-layout.md.
#include "plugins/s3/command/deletion_mark.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/golden.hpp"

namespace nbdstack::testing {
namespace {

constexpr const char* kGoldenMark = "own-layout/being-deleted.json";

TEST(DeletionMarkFormat, IsWrittenAsItAlwaysWas) {
  const DeletionMark mark{.size_bytes = 10737418240, .object_size = 1048576};
  expect_golden(kGoldenMark, mark.to_json());
}

TEST(DeletionMarkFormat, IsReadAsItWasWritten) {
  const auto found = DeletionMark::parse(golden_text(kGoldenMark));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size_bytes, 10737418240U);
  EXPECT_EQ(found->object_size, 1048576U);
}

}  // namespace
}  // namespace nbdstack::testing
