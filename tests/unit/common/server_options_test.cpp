#include "common/nbdkit/server_options.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(ServerOptions, ReadonlyIsFoundHoweverItIsWritten) {
  for (const char* word : {"-r", "-fr", "-rf", "--readonly", "--read-only", "--rea", "-vrP"}) {
    EXPECT_TRUE(is_readonly({"-f", word, "memory", "1M"})) << word;
  }
  EXPECT_TRUE(is_readonly({"memory", "1M", "-r"}));
  EXPECT_TRUE(is_readonly({"-U", "-", "-r", "memory", "1M"}));
  for (const char* option : {"--tls-verify-peer", "--swap", "--exit-with-parent", "--single"}) {
    EXPECT_TRUE(is_readonly({option, "-r", "memory", "1M"})) << option;
  }
}

TEST(ServerOptions, OtherOptionsAreNotTakenForIt) {
  EXPECT_FALSE(is_readonly({"-f", "-U", "-", "--run", "echo", "--filter=readahead", "memory"}));
  EXPECT_FALSE(is_readonly({"-Urelative.sock", "-Proot.pid", "-fvtr", "cache-dir=-r"}));
  EXPECT_FALSE(is_readonly({"--", "-r"}));
  EXPECT_FALSE(is_readonly({}));
}

TEST(ServerOptions, ValuesOfOthersAreNotTakenForIt) {
  for (const char* option : {"-e", "-fe", "-P", "--exportname", "--export-n", "--run", "--tls"}) {
    EXPECT_FALSE(is_readonly({option, "-r", "memory", "1M"})) << option;
    EXPECT_TRUE(is_readonly({option, "-r", "-r", "memory", "1M"})) << option;
  }
}

TEST(ServerOptions, FiltersThatShowAnotherDiskAreFoundBelow) {
  const std::string ours = "--filter=/usr/lib/nbdkit-cache-filter.so";
  for (const std::string filter : {"swab", "cow", "offset", "/opt/nbdkit-new-filter.so"}) {
    EXPECT_TRUE(may_change_the_disk({"nbdkit", ours, "--filter=" + filter, "s3"}, "cache"));
    EXPECT_TRUE(may_change_the_disk({"nbdkit", ours, "--filter", filter, "s3"}, "cache"));
    EXPECT_TRUE(may_change_the_disk({"nbdkit", ours, "--fil=" + filter, "s3"}, "cache"));
    // In doubt.
    EXPECT_TRUE(may_change_the_disk({"nbdkit", "--filter=" + filter, "s3"}, "cache"));
  }
}

TEST(ServerOptions, FiltersThatShowTheSameDiskOrStandAboveAreNot) {
  const std::string ours = "--filter=/usr/lib/nbdkit-cache-filter.so";
  for (const std::string filter : {"delay", "nozero", "retry", "/build/nbdkit-md5-filter.so"}) {
    EXPECT_FALSE(may_change_the_disk({"nbdkit", ours, "--filter=" + filter, "s3"}, "cache"));
  }
  EXPECT_FALSE(may_change_the_disk({"nbdkit", "--filter=cow", ours, "s3", "bucket=swab"}, "cache"));
  EXPECT_FALSE(may_change_the_disk({"nbdkit", ours, "s3", "--", "--filter=cow"}, "cache"));
}

TEST(ServerOptions, ThisProcessIsNot) {
  EXPECT_FALSE(is_readonly_server());
  EXPECT_FALSE(may_be_readonly_server());
  EXPECT_FALSE(may_end_with_last_connection());
}

}  // namespace
}  // namespace nbdstack
