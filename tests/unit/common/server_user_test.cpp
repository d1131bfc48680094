// Which user nbdkit will change to, from its command line.
#include "common/nbdkit/server_user.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace nbdstack {
namespace {

using Words = std::vector<std::string>;

std::string user_of(const Words& words) {
  return ServerUserOptions(read_options(words)).user.value_or("(none)");
}

TEST(ServerUserTest, IsReadAsNbdkitReadsIt) {
  EXPECT_EQ(user_of({"-u", "nobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"-unobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"-fru", "nobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"--user", "nobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"--user=nobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"--us=nobody", "s3"}), "nobody");
  EXPECT_EQ(user_of({"-u", "a", "--user=b", "s3"}), "b");
  EXPECT_EQ(user_of({"s3", "bucket=b", "-u", "nobody"}), "nobody");
}

TEST(ServerUserTest, WhatIsNotItsOptionIsNotTakenForIt) {
  EXPECT_EQ(user_of({"s3", "bucket=-u", "--", "-u", "nobody"}), "(none)");
  EXPECT_EQ(user_of({"-P", "-u", "-U", "-u", "s3"}), "(none)");
  EXPECT_EQ(user_of({"--filter", "-u", "--run", "-u x", "s3"}), "(none)");
  EXPECT_EQ(user_of({"-4", "--no-sr", "--unix=x", "s3"}), "(none)");
}

TEST(ServerUserTest, AGroupIsReadAsWell) {
  const ServerUserOptions options(read_options({"-g", "disk", "--user", "7", "s3"}));
  EXPECT_EQ(options.group, "disk");
  EXPECT_EQ(options.user, "7");
}

TEST(ServerUserTest, ThePluginEndsOptionsWherePosixIsFollowed) {
  ASSERT_EQ(::setenv("POSIXLY_CORRECT", "1", 1), 0);
  EXPECT_EQ(user_of({"s3", "bucket=b", "-u", "nobody"}), "(none)");
  EXPECT_EQ(user_of({"-u", "nobody", "s3"}), "nobody");
  ASSERT_EQ(::unsetenv("POSIXLY_CORRECT"), 0);
}

TEST(ServerUserTest, ThisProgramHasNoSuchOption) {
  const uid_t before = ::geteuid();
  as_server_user([&] { EXPECT_EQ(::geteuid(), before); });
}

}  // namespace
}  // namespace nbdstack
