#include "common/nbdkit/server_options.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(ServerOptions, ReadonlyIsFoundHoweverItIsWritten) {
  for (const char* word : {"-r", "-fr", "-rf", "--readonly", "--read-only", "--rea", "-vrP"}) {
    EXPECT_TRUE(may_be_readonly({"-f", word, "memory", "1M"})) << word;
  }
  EXPECT_TRUE(may_be_readonly({"memory", "1M", "-r"}));
}

TEST(ServerOptions, OtherOptionsAreNotTakenForIt) {
  EXPECT_FALSE(may_be_readonly({"-f", "-U", "-", "--run", "echo", "--filter=readahead", "memory"}));
  EXPECT_FALSE(may_be_readonly({"-Urelative.sock", "-Proot.pid", "-fvtr", "cache-dir=-r"}));
  EXPECT_FALSE(may_be_readonly({"--", "-r"}));
  EXPECT_FALSE(may_be_readonly({}));
}

TEST(ServerOptions, ThisProcessIsNot) {
  EXPECT_FALSE(may_be_readonly_server());
  EXPECT_FALSE(may_end_with_last_connection());
}

}  // namespace
}  // namespace nbdstack
