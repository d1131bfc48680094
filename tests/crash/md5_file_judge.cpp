// Md5FileWorkload: crashes, and what is right after one.
#include <fmt/core.h>

#include <utility>

#include "common/error.hpp"
#include "tests/crash/md5_file_workload.hpp"

namespace nbdstack::testing {
namespace {

constexpr const char* kDigests = "digests";

std::unique_ptr<Md5File> digests_on(const SimulatedDisk& disk, std::uint32_t block_size) {
  const auto directory = disk.directory();
  auto file = directory->open(kDigests);
  auto identity = Md5File::identity_of(*file);
  if (!identity) {
    directory->sync();
    identity = Md5File::create(*file, "", block_size);
  }
  return std::make_unique<Md5File>(std::move(file), *identity);
}

}  // namespace

void Md5FileWorkload::fail(const std::string& what) {
  if (fault_.empty()) fault_ = fmt::format("{}, at crash point {}", what, crash_points_);
}

Md5FileWorkload::Server Md5FileWorkload::server_on(const SimulatedDisk& disk,
                                                   CrashingLayer& below) {
  Server server;
  server.shared =
      std::make_shared<Md5Export>(Md5Options{.table_blocks = 50, .retry_time = Duration::zero()},
                                  kBlock_bytes, clock_, digests_on(disk, kBlock_bytes));
  server.layer = std::make_unique<Md5Layer>(below, server.shared);
  return server;
}

// A server that is killed loses nothing that it has written.
void Md5FileWorkload::crash(SimulatedDisk& disk, CrashingContent& below) {
  if (pick(4) == 0) return;
  disk.crash(random_());
  below.crash(random_);
}

// Now and then the recovery crashes, too.
void Md5FileWorkload::judge_crash() {
  ++crash_points_;
  judging_ = true;
  SimulatedDisk crashed = disk_.copy();
  CrashingContent below = below_.content();
  crash(crashed, below);
  if (pick(4) == 0) {
    std::uint64_t left = pick(6);
    crashed.set_hook([&](const SimulatedDisk::Operation&) {
      if (left-- == 0) throw Error(EIO, "the machine stops here");
    });
    try {
      digests_on(crashed, kBlock_bytes);
    } catch (const Error&) {
      ++crash_points_;
    }
    crashed.set_hook({});
    crash(crashed, below);
  }
  judge(crashed, below);
  judging_ = false;
}

void Md5FileWorkload::judge(SimulatedDisk& disk, const CrashingContent& content) {
  CrashingLayer below(content, options_.below_is_volatile);
  try {
    Server server = server_on(disk, below);
    for (const std::uint64_t block : blocks_) {
      if (promises_[block] == Promise::safe) expect_verified(*server.layer, below, block);
    }
    expect_all_readable(*server.layer, below);
    if (pick(4) != 0) return;
    // What the reads have found out stays so.
    server.layer->finalize();
    server = {};
    server = server_on(disk, below);
    for (const std::uint64_t block : blocks_) {
      if (promises_[block] == Promise::safe) expect_verified(*server.layer, below, block);
    }
    expect_all_readable(*server.layer, below);
  } catch (const Error& error) {
    fail(fmt::format("the file is not usable: {}", error.what()));
  }
}

void Md5FileWorkload::expect_verified(Md5Layer& layer, CrashingLayer& below, std::uint64_t block) {
  const Range range = range_of(block);
  const std::uint64_t damaged = range.offset + pick(range.length);
  std::vector<std::byte> data(range.length);
  below.content().flip(damaged);
  try {
    layer.pread(data, range.offset);
    fail(fmt::format("block {} was written and flushed, and is not verified", block));
  } catch (const Error& error) {
    if (error.code() != EIO) fail(error.what());
    ++blocks_verified_;
  }
  below.content().flip(damaged);
}

void Md5FileWorkload::expect_all_readable(Md5Layer& layer, CrashingLayer& below) {
  for (const std::uint64_t block : blocks_) {
    const Range range = range_of(block);
    std::vector<std::byte> data(range.length);
    try {
      layer.pread(data, range.offset);
    } catch (const Error& error) {
      fail(fmt::format("block {} is what it may be, and is refused: {}", block, error.what()));
      return;
    }
    const auto there = below.content().bytes().subspan(range.offset, range.length);
    if (!std::equal(data.begin(), data.end(), there.begin())) fail("a read returns something else");
  }
}

}  // namespace nbdstack::testing
