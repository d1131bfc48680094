// What `delete --versions` removes of what a bucket keeps, in which order, and what it leaves.
#include "plugins/s3/command/version_removal.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::disk_object;

// A bucket that keeps versions. Objects are bare: what they contain matters to nobody here.
class VersionedStore final : public ObjectStore {
 public:
  // The next version of the key.
  void add(const std::string& key, bool is_marker = false, const std::string& id = "") {
    const std::lock_guard lock(mutex_);
    versions_[key].push_back({.key = key,
                              .version_id = id.empty() ? fmt::format("v{}", ++last_id_) : id,
                              .is_marker = is_marker});
  }
  // As "KEY ID", with a '-' behind markers.
  [[nodiscard]] std::vector<std::string> left() {
    std::vector<std::string> names;
    list_versions("", [&](const ListedVersion& each) {
      names.push_back(each.key + " " + each.version_id + (each.is_marker ? "-" : ""));
      return true;
    });
    return names;
  }
  // Called before each removal, with all that it removes.
  std::function<void(std::span<const Removal>)> on_removal;

  void list_versions(const std::string& prefix,
                     const std::function<bool(const ListedVersion&)>& visit) override {
    std::unique_lock lock(mutex_);
    const auto all = versions_;
    lock.unlock();
    for (const auto& [key, versions] : all) {
      for (auto each = versions.rbegin(); key.starts_with(prefix) && each != versions.rend();
           ++each) {
        ListedVersion version = *each;
        version.is_latest = each == versions.rbegin();
        if (!visit(version)) return;
      }
    }
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& /*doubt*/) override {
    if (on_removal) on_removal(removals);
    const std::lock_guard lock(mutex_);
    for (const Removal& each : removals) {
      EXPECT_FALSE(each.version_id.empty());
      auto& versions = versions_[each.key];
      std::erase_if(versions, [&](const ListedVersion& version) {
        return version.version_id == each.version_id;
      });
      if (versions.empty()) versions_.erase(each.key);
    }
    return {};
  }

  bool get(const std::string& /*key*/, std::span<std::byte> /*body*/) override { return false; }
  bool get_range(const std::string& /*key*/, std::span<std::byte> /*body*/,
                 const ObjectPart& /*part*/) override {
    return false;
  }
  std::optional<std::string> get_text(const std::string& /*key*/, std::size_t /*limit*/) override {
    return std::nullopt;
  }
  std::optional<ObjectInfo> fetch(const std::string& /*key*/,
                                  std::span<std::byte> /*buffer*/) override {
    return std::nullopt;
  }
  std::optional<ObjectInfo> look_up(const std::string& /*key*/) override { return std::nullopt; }
  PutOutcome put(const std::string& key, std::span<const std::byte> /*body*/,
                 const PutOptions& /*options*/) override {
    add(key);
    return {};
  }
  void remove(std::span<const std::string> keys) override {
    for (const std::string& key : keys) add(key, true);
  }
  void list(const std::string& /*prefix*/, const std::string& /*start_after*/,
            const std::function<bool(const ListedObject&)>& /*visit*/) override {}

 private:
  std::mutex mutex_;                                            // protects what follows
  std::map<std::string, std::vector<ListedVersion>> versions_;  // from the oldest on
  unsigned last_id_ = 0;
};

class VersionRemovalTest : public ::testing::Test {
 protected:
  std::uint64_t remove_all(bool holds_right = true) {
    return remove_old_versions(store_, scope_, {.requests = 2}, holds_right);
  }
  static std::string block(std::uint64_t number) { return disk_object(number); }

  VersionedStore store_;
  VersionScope scope_ = VersionScope::of(no_volume({.bucket = "b", .key = "disk"}));
};

using Lines = std::vector<std::string>;

TEST_F(VersionRemovalTest, OlderOnesAndMarkersGoAndObjectsStay) {
  store_.add(block(0));
  store_.add(block(0));
  store_.add(block(0), true);
  store_.add(block(1));
  store_.add(block(1), true);
  store_.add(block(1));  // somebody has a new volume there
  store_.add(block(1UL << 40U), true);
  EXPECT_TRUE(has_old_versions(store_, scope_));
  EXPECT_EQ(remove_all(), 6U);
  EXPECT_EQ(store_.left(), Lines{block(1) + " v6"});
  EXPECT_FALSE(has_old_versions(store_, scope_));
}

TEST_F(VersionRemovalTest, WhatIsNotTheVolumesStays) {
  for (const char* key :
       {"disk/notes.txt", "disk/0", "disk2/0000000000000000", "0000000000000000"}) {
    store_.add(key);
    store_.add(key, true);
  }
  EXPECT_FALSE(has_old_versions(store_, scope_));
  EXPECT_EQ(remove_all(), 0U);
  EXPECT_EQ(store_.left().size(), 8U);
}

TEST_F(VersionRemovalTest, WhatElseAVolumeHasGoesToo) {
  for (const std::string key : {"disk/nbdstack-volume.json", "disk/nbdstack-blocks",
                                "disk/nbdstack-probe-1234", "disk/nbdstack-lease.json"}) {
    store_.add(key);
    store_.add(key, true);
  }
  EXPECT_EQ(lease_object_key("disk"), "disk/nbdstack-lease.json");
  EXPECT_EQ(remove_all(false), 8U);
  EXPECT_EQ(store_.left(), Lines());
}

// The older version would be back, as a block of a volume that is created meanwhile.
TEST_F(VersionRemovalTest, NoMarkerGoesBeforeWhatIsOlder) {
  for (std::uint64_t i = 0; i < 2500; ++i) {
    store_.add(block(i));
    store_.add(block(i), true);
  }
  std::size_t largest = 0;
  std::mutex mutex;
  store_.on_removal = [&](std::span<const Removal> removals) {
    const auto left = store_.left();
    const std::lock_guard lock(mutex);
    largest = std::max(largest, removals.size());
    const auto is_object = [](const std::string& line) { return !line.ends_with('-'); };
    const bool removes_markers =
        std::ranges::find(left, removals.front().key + " " + removals.front().version_id + "-") !=
        left.end();
    if (removes_markers) {
      EXPECT_EQ(std::ranges::count_if(left, is_object), 0);
    }
  };
  EXPECT_EQ(remove_all(), 5000U);
  EXPECT_EQ(largest, 1000U);
  EXPECT_EQ(store_.left(), Lines());
}

TEST_F(VersionRemovalTest, AMarkerOverWhatCameMeanwhileStays) {
  store_.add(block(0));
  store_.add(block(0), true);
  bool is_first = true;
  store_.on_removal = [&](std::span<const Removal> /*removals*/) {
    if (!std::exchange(is_first, false)) return;
    store_.add(block(0));        // v3
    store_.add(block(0), true);  // v4
  };
  EXPECT_EQ(remove_all(), 1U);
  EXPECT_EQ(store_.left(), (Lines{block(0) + " v4-", block(0) + " v3", block(0) + " v2-"}));
}

// An object of the same id may have taken the marker's place by the time the removal arrives.
TEST_F(VersionRemovalTest, AMarkerWithoutAnIdOfItsOwnGoesOnlyUnderTheRightToWrite) {
  store_.add(block(0), false, "v");
  store_.add(block(0), true, "null");
  EXPECT_EQ(remove_all(false), 1U);
  EXPECT_EQ(store_.left(), Lines{block(0) + " null-"});
  EXPECT_EQ(remove_all(true), 1U);
  EXPECT_EQ(store_.left(), Lines());
}

TEST_F(VersionRemovalTest, WithTheRightToWriteItEnds) {
  for (int i = 0; i < 3; ++i) store_.add(block(0));
  const ChangeOptions options{.check_writable = [] { throw Error(ESHUTDOWN, "lost"); }};
  EXPECT_THROW(remove_old_versions(store_, scope_, options, true), Error);
  EXPECT_EQ(store_.left().size(), 3U);
}

TEST_F(VersionRemovalTest, ADeletedVolumeIsFoundByWhatIsKeptOfIt) {
  const VolumeRequest request{.bucket = "b", .key = "disk"};
  EXPECT_THROW(find_volume_or_versions(store_, request), Error);
  store_.add(block(3), true);
  const FoundVolume found = find_volume_or_versions(store_, request);
  EXPECT_EQ(found.kind, FoundKind::foreign);
  EXPECT_EQ(found.block_count(), 0U);
  EXPECT_EQ(found.id(), "");
}

}  // namespace
}  // namespace nbdstack
