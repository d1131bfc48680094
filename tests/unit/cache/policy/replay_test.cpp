// The simulator: what it makes of a trace file, and that it counts right.

#include "bench/policy_replay/replay.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "bench/policy_replay/trace.hpp"
#include "common/error.hpp"
#include "filters/cache/policy/make_policy.hpp"

namespace nbdstack {
namespace {

class TraceFile {
 public:
  explicit TraceFile(const std::string& content) {
    const int file = mkstemp(path_.data());
    EXPECT_GE(file, 0);
    close(file);
    std::ofstream(path_, std::ios::binary) << content;
  }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  ~TraceFile() { std::filesystem::remove(path_); }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "nbdstack-trace-XXXXXX";
};

std::string failure_of(const std::string& path, int code) {
  try {
    read_trace(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  return "none";
}

TEST(Trace, IsReadInOrder) {
  const TraceFile file("op,lba512,sectors\nr,0,8\nw,2048,256\r\nr,16,1");
  const Trace trace = read_trace(file.path());
  ASSERT_EQ(trace.requests.size(), 3U);
  EXPECT_EQ(trace.requests[0].bytes, (Range{0, 4096}));
  EXPECT_FALSE(trace.requests[0].is_write);
  EXPECT_EQ(trace.requests[1].bytes, (Range{1048576, 131072}));
  EXPECT_TRUE(trace.requests[1].is_write);
  EXPECT_EQ(trace.requests[2].bytes, (Range{8192, 512}));
  EXPECT_EQ(trace.disk_bytes, 1048576U + 131072U);
}

TEST(Trace, IsRefusedWithTheNumberOfTheLineThatIsWrong) {
  for (const char* line : {"x,0,8", "r,0", "r,,8", "r,0,", "r,0,0", "r,0,8,9", "r,-1,8", "r 0 8",
                           "r,18446744073709551615,8", "r,0,18014398509481985", ""}) {
    const TraceFile file(std::string("op,lba512,sectors\nr,0,8\n") + line + "\n");
    EXPECT_EQ(failure_of(file.path(), EINVAL), file.path() + ", line 3: expected op,lba512,sectors")
        << line;
  }
}

TEST(Trace, IsRefusedWhenItIsMissingEmptyOrCutShort) {
  EXPECT_EQ(failure_of("/nonexistent/trace", ENOENT),
            "/nonexistent/trace: No such file or directory");
  const TraceFile empty("op,lba512,sectors\n");
  EXPECT_EQ(failure_of(empty.path(), EINVAL), empty.path() + ": no requests in it");
  // "op,lba512,sectors", compressed and without its end.
  const TraceFile cut(std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x2f\xd0\xc9", 14));
  EXPECT_NE(failure_of(cut.path(), EIO).find("unexpected end of file"), std::string::npos);
}

constexpr std::uint64_t kBlock = 65536;

ReplayResult replay_lru(const Trace& trace, std::uint64_t blocks, Scan scan = {}) {
  return replay(trace, make_eviction_policy(CachePolicy::lru), blocks * kBlock, kBlock, scan);
}

TEST(Replay, CountsEveryBlockOfARequest) {
  Trace trace;
  trace.disk_bytes = 10 * kBlock;
  trace.requests = {{{kBlock / 2, kBlock}, false},  // blocks 0 and 1
                    {{kBlock, 512}, true},          // 1: a hit
                    {{5 * kBlock, kBlock}, true},   // 5
                    {{0, 512}, false}};             // 0: a hit, or evicted by then
  const ReplayResult large = replay_lru(trace, 3);
  EXPECT_EQ(large.accesses, 5U);
  EXPECT_EQ(large.misses, 3U);
  EXPECT_EQ(large.read_misses, 2U);
  const ReplayResult small = replay_lru(trace, 2);
  EXPECT_EQ(small.misses, 4U);
  EXPECT_EQ(small.read_misses, 3U);
}

TEST(Replay, PutsTheScanIntoTheMiddleAndDoesNotCountIt) {
  Trace trace;
  trace.disk_bytes = 100 * kBlock;
  for (int request = 0; request < 8; ++request) trace.requests.push_back({{0, 512}, false});
  EXPECT_EQ(replay_lru(trace, 4).misses, 1U);
  const ReplayResult scanned = replay_lru(trace, 4, {.request_bytes = 4096});
  EXPECT_EQ(scanned.accesses, 8U);
  EXPECT_EQ(scanned.misses,
            5U);  // once for each quarter of the scan, which follow requests 3 ... 6
}

}  // namespace
}  // namespace nbdstack
