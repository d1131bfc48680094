#include "common/nbdkit/description_texts.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

std::shared_ptr<const DiskIdentity> disk(WriteRight right) {
  return std::make_shared<const DiskIdentity>(
      DiskIdentity{.id = "d", .size_bytes = 512, .term = std::nullopt, .right = right});
}

TEST(DescriptionTexts, AnEarlierTextStaysValidAfterTheIdentityHasChanged) {
  DescriptionTexts texts;
  const char* const held = texts.text_of(disk(WriteRight::held));
  const char* const lost = texts.text_of(disk(WriteRight::lost));
  EXPECT_STREQ(held, "nbdstack-disk id=d size=512 right=held");
  EXPECT_STREQ(lost, "nbdstack-disk id=d size=512 right=lost");
}

TEST(DescriptionTexts, SaysWhichServerTellsIt) {
  DescriptionTexts texts("9d4e");
  EXPECT_STREQ(texts.text_of(disk(WriteRight::held)),
               "nbdstack-disk id=d size=512 right=held server=9d4e");
}

TEST(DescriptionTexts, EqualIdentitiesShareOneText) {
  DescriptionTexts texts;
  const char* const first = texts.text_of(disk(WriteRight::held));
  texts.text_of(disk(WriteRight::doubtful));
  EXPECT_EQ(texts.text_of(disk(WriteRight::held)), first);
}

TEST(DescriptionTexts, NoIdentityHasNoText) {
  EXPECT_EQ(DescriptionTexts().text_of(nullptr), nullptr);
}

}  // namespace
}  // namespace nbdstack
