// Memory runs out once, at the n-th allocation of a history of a volume's requests, for every n: no
// request hangs, what was acknowledged is there, and when there is memory again everything works.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint32_t kObject = 4096;
constexpr std::uint32_t kPage = 1024;
constexpr std::uint64_t kPages = 40;

// Memory may run out in the store as it does in a real one: before a request is sent, and when its
// answer is there, which leaves what was sent in doubt. Nowhere else, so that the objects are
// whole.
class ShortStore final : public ObjectStore {
 public:
  bool get(const std::string& key, std::span<std::byte> body) override {
    return around([&] { return memory.get(key, body); });
  }
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override {
    return around([&] { return memory.get_range(key, body, part); });
  }
  std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) override {
    return around([&] { return memory.get_text(key, size_limit); });
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    return around([&] { return memory.fetch(key, buffer); });
  }
  std::optional<ObjectInfo> look_up(const std::string& key) override {
    return around([&] { return memory.look_up(key); });
  }
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    return around([&] { return memory.put(key, body, options); }, options.doubt);
  }
  void remove(std::span<const std::string> keys) override {
    around([&] { return memory.remove(keys), true; });
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    return around([&] { return memory.remove_matching(removals, doubt); }, &doubt);
  }
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    std::vector<ListedObject> listed;
    around([&] {
      memory.list(prefix, start_after,
                  [&](const ListedObject& object) { return listed.push_back(object), true; });
      return true;
    });
    for (const ListedObject& object : listed) {
      if (!visit(object)) return;
    }
  }

  MemoryStore memory;

 private:
  template <typename Effect>
  std::invoke_result_t<Effect> around(const Effect& effect, Doubt* doubt = nullptr) {
    const std::string sent(kPage, 'x');
    std::optional<std::invoke_result_t<Effect>> result;
    {
      const SafeMemory safe;
      result.emplace(effect());
    }
    if (doubt != nullptr) doubt->is_open = true;
    const std::string answered(kPage, 'x');
    if (doubt != nullptr) doubt->is_open = false;
    return std::move(*result);
  }
};

struct Shape {
  std::string name;
  bool has_conditions;
  Compression compression;
};

class VolumeMemory : public ::testing::TestWithParam<Shape> {
 protected:
  // What a page may contain.
  using Values = std::set<int>;

  void start() {
    store_ = std::make_unique<ShortStore>();
    clock_ = std::make_unique<FakeClock>();
    map_ = std::make_shared<PresenceMap>([] { return true; });
    volume_ = make_volume(map_);
    volume_->wait_until_listed();
    values_.assign(kPages, {0});
  }

  std::unique_ptr<Volume> make_volume(std::shared_ptr<PresenceMap> map) {
    const bool is_framed = GetParam().compression != Compression::none;
    VolumeOptions options{.connections = 3, .map = std::move(map)};
    options.guard.bound = std::chrono::seconds(60);
    options.guard.clock = clock_.get();
    if (GetParam().has_conditions) {
      options.guard.conditions = {.support = ConditionSupport::with_quotes,
                                  .of_removals = RemovalState::kept};
    }
    return std::make_unique<Volume>(
        *store_,
        std::make_shared<OwnFormat>(OwnFormatSettings{.key = "disk",
                                                      .object_size = kObject,
                                                      .volume_id = "",
                                                      .compression = GetParam().compression,
                                                      .level = 1,
                                                      .framed = is_framed,
                                                      .volume_key = std::nullopt}),
        BlockGeometry(kPages * kPage, kObject), options);
  }

  // Whether the request succeeded. Memory runs out in requests only, not in the test itself.
  bool succeeds(const std::function<void()>& request) {
    fail_allocation(countdown_);
    bool succeeded = true;
    try {
      request();
    } catch (const Error& error) {
      succeeded = false;
      EXPECT_TRUE(error.code() == ENOMEM || error.code() == EIO) << error.what();
    } catch (const std::bad_alloc&) {
      succeeded = false;
    }
    countdown_ = stop_failing();
    if (!succeeded) {
      EXPECT_EQ(countdown_, 0) << "a request failed, and memory had not run out yet";
    }
    return succeeded;
  }

  void change(std::uint64_t first, std::uint64_t count, int value, bool acknowledged) {
    for (std::uint64_t page = first; page < first + count; ++page) {
      if (acknowledged) values_[page].clear();
      values_[page].insert(value);
    }
  }

  void request(std::mt19937& random, int value) {
    const std::uint64_t first = random() % kPages;
    const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 13, kPages - first);
    const std::uint64_t offset = first * kPage;
    const std::uint64_t length = count * kPage;
    std::vector<std::byte> buffer(length, static_cast<std::byte>(value));
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
        change(first, count, value,
               succeeds([&] { volume_->pwrite(buffer, offset, Durability::fua); }));
        break;
      case 3:
      case 4:
        if (succeeds([&] { volume_->pread(buffer, offset); })) check(buffer, first);
        break;
      case 5:
        change(first, count, 0,
               succeeds([&] { volume_->zero(length, offset, {.may_trim = true}); }));
        break;
      case 6:
        change(first, count, 0, false);  // a trim may do nothing
        succeeds([&] { volume_->trim(length, offset, Durability::on_flush); });
        break;
      default:
        ExtentList extents;
        if (succeeds([&] { volume_->extents(length, offset, false, extents); })) check(extents);
    }
  }

  void check(const std::vector<std::byte>& content, std::uint64_t first) const {
    for (std::size_t at = 0; at < content.size(); at += kPage) {
      const std::uint64_t page = first + at / kPage;
      const int found = std::to_integer<int>(content[at]);
      EXPECT_TRUE(values_[page].contains(found)) << "page " << page << " holds " << found;
    }
  }
  // A hole reads as zeros.
  void check(const ExtentList& extents) const {
    for (const auto& [range, type] : extents.all()) {
      if (type == kData) continue;
      for (std::uint64_t page = range.offset / kPage; page * kPage < range.end(); ++page) {
        EXPECT_TRUE(values_[page].contains(0)) << "page " << page << " is told to be a hole";
      }
    }
  }
  void check_all() {
    std::vector<std::byte> content(kPages * kPage);
    volume_->pread(content, 0);
    check(content, 0);
  }

  // Whether the allocation that was to fail has come.
  bool history(long number) {
    start();
    countdown_ = number;
    std::mt19937 random(1);
    for (int value = 1; value <= 40; ++value) request(random, value);
    const bool came = countdown_ == 0;
    countdown_ = 0;  // there is memory again
    check_all();
    for (std::uint64_t page = 0; page < kPages; page += 3) {
      const std::uint64_t count = std::min<std::uint64_t>(3, kPages - page);
      const int value = 100 + static_cast<int>(page);
      const std::vector<std::byte> content(count * kPage, static_cast<std::byte>(value));
      volume_->pwrite(content, page * kPage, Durability::fua);
      change(page, count, value, true);
    }
    check_all();
    // The next life believes what this one knew of its blocks.
    volume_.reset();
    map_ = std::make_shared<PresenceMap>([] { return true; }, map_->known());
    volume_ = make_volume(map_);
    check_all();
    volume_->zero(kPages * kPage, 0, {.may_trim = true});
    change(0, kPages, 0, true);
    check_all();
    EXPECT_TRUE(store_->memory.keys().empty());
    EXPECT_FALSE(store_->memory.saw_overlapping_writes());
    volume_.reset();
    return came;
  }

  std::unique_ptr<ShortStore> store_;
  std::unique_ptr<FakeClock> clock_;
  std::shared_ptr<PresenceMap> map_;
  std::unique_ptr<Volume> volume_;
  std::vector<Values> values_;
  long countdown_ = 0;
};

TEST_P(VolumeMemory, EveryAllocationMayFail) {
  EXPECT_GT(for_every_allocation([&](long number) { return history(number); }), 500);
}

INSTANTIATE_TEST_SUITE_P(Shapes, VolumeMemory,
                         ::testing::Values(Shape{"Conditions", true, Compression::none},
                                           Shape{"NoConditions", false, Compression::none},
                                           Shape{"Compressed", true, Compression::zstd}),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace nbdstack::testing
