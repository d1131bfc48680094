// A disk that fails a sync, and counts as written what it has lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "filters/md5/open_regions.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

// What Linux does when it cannot write a page back: sync fails once, and the page counts as written
// from then on, although only the memory has it.
class ForgivingFile final : public StorageFile {
 public:
  explicit ForgivingFile(std::size_t size) : current_(size), durable_(size), dirty_(size) {}

  void fail_next_sync() { fails_ = true; }
  void lose_memory() { current_ = durable_; }

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return current_.size(); }
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
    std::copy_n(current_.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(),
                buffer.begin());
  }
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override {
    const auto at = static_cast<std::ptrdiff_t>(offset);
    std::copy(buffer.begin(), buffer.end(), current_.begin() + at);
    std::fill_n(dirty_.begin() + at, buffer.size(), true);
  }
  void punch_hole(std::uint64_t length, std::uint64_t offset) override {
    write_at(std::vector<std::byte>(length), offset);
  }
  void sync_data() override {
    for (std::size_t i = 0; i < current_.size() && !fails_; ++i) {
      if (dirty_[i]) durable_[i] = current_[i];
    }
    dirty_.assign(dirty_.size(), false);
    if (std::exchange(fails_, false)) throw Error(EIO, "told to fail");
  }

 private:
  std::string path_ = "forgiving";
  std::vector<std::byte> current_;
  std::vector<std::byte> durable_;
  std::vector<bool> dirty_;
  bool fails_ = false;
};

TEST(FailedSyncTest, RecordsWhoseSyncHasFailedAreDoubtedOrWrittenAgain) {
  constexpr std::uint64_t kSeed = 7;
  constexpr std::uint64_t kDamaged = 3;
  const std::uint64_t records_at = offset_of_record({kDamaged * kBlocksPerRegion});
  ForgivingFile forgiving(records_at + kRegion_bytes);
  const std::vector<std::byte> fresh(kRegion_bytes, std::byte{1});
  OpenRegions on_it(forgiving, kSeed);
  ASSERT_TRUE(on_it.open({kDamaged, 1}).has_value());
  forgiving.write_at(fresh, records_at);
  forgiving.fail_next_sync();
  EXPECT_EQ(error_of([&] { on_it.settle(on_it.quiet()); }), EIO);
  on_it.settle(on_it.quiet());
  // So many others that its place is used again.
  for (const std::uint64_t first : {100U, 700U, 1300U}) {
    ASSERT_TRUE(on_it.open({first, OpenRegions::kRegionsAtOnce_max}).has_value());
    on_it.settle(on_it.quiet());
  }
  forgiving.lose_memory();
  const auto doubted = OpenRegions(forgiving, kSeed).doubted();
  std::vector<std::byte> found(kRegion_bytes);
  forgiving.read_at(found, records_at);
  EXPECT_TRUE(found == fresh || std::count(doubted.begin(), doubted.end(), kDamaged) == 1)
      << "old records are believed";
}

}  // namespace
}  // namespace nbdstack::testing
