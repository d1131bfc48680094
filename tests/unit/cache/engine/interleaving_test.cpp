// Every ordered pair of {fill, write, zero, trim, write-back, evict, flush} on one block: the first
// is stopped in the middle, in the layer below or in the cache's own file, the second runs into it,
// then the first goes on.
//
// What holds for all of them:
//  - what is read afterwards, and what is below after a flush, is the result of the two one after
//    the other, in either order; in the order of time where the first could not be stopped;
//  - a fill returns what the block held before, between, or after them;
//  - it is still the same when the block has been evicted and fetched again.
//
// Trims go around the cache here, to have something to stop them at; trims that are remembered are
// zeros.
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <thread>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

enum class Act : std::uint8_t { fill, write, zero, trim, write_back, evict, flush };
constexpr std::array kActs{Act::fill,       Act::write, Act::zero, Act::trim,
                           Act::write_back, Act::evict, Act::flush};
enum class StopIn : std::uint8_t { layer_below, store };
enum class Before : std::uint8_t { absent, clean, dirty };  // the block, when the first begins
// Pages of the block, and which of them the two change.
enum class Shape : std::uint8_t { one_page, same_page, different_pages, whole_block };

struct Pair {
  Act first;
  Act second;
  StopIn stop;
  Shape shape;
  Before before;
};

std::string name_of(const Pair& pair) {
  static constexpr std::array kActNames{"Fill",      "Write", "Zero", "Trim",
                                        "WriteBack", "Evict", "Flush"};
  static constexpr std::array kStopNames{"Below", "Store"};
  static constexpr std::array kShapeNames{"OnePage", "SamePage", "DifferentPages", "WholeBlock"};
  static constexpr std::array kBeforeNames{"Absent", "Clean", "Dirty"};
  return fmt::format("{}StoppedIn{}Then{}{}{}", kActNames.at(static_cast<std::size_t>(pair.first)),
                     kStopNames.at(static_cast<std::size_t>(pair.stop)),
                     kActNames.at(static_cast<std::size_t>(pair.second)),
                     kShapeNames.at(static_cast<std::size_t>(pair.shape)),
                     kBeforeNames.at(static_cast<std::size_t>(pair.before)));
}

// Stops whoever comes first, once, until it is released. The one who is to be stopped may also end
// without having come here.
class StopOnce {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    if (arrived_ || ended_) return;
    arrived_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return released_; });
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // Whether it was stopped.
  bool wait_for_arrival_or_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ || ended_; });
    return arrived_;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // protects everything below
  std::condition_variable changed_;
  bool arrived_ = false;
  bool ended_ = false;
  bool released_ = false;
};

// What each page holds: one value in all of its bytes.
using Content = std::vector<int>;

class CacheInterleaving : public CacheTest, public ::testing::WithParamInterface<Pair> {
 protected:
  static constexpr int kOld = 1;
  static constexpr int kDirty = 2;
  static constexpr int kFirst = 3;
  static constexpr int kSecond = 4;
  static constexpr int kOthers = 5;

  void SetUp() override {
    settings.block_size = pages() * kPage;
    settings.max_size_bytes = std::uint64_t{4} * settings.block_size;
    settings.cache_on_read = [] { return true; };
    below.fill({0, kDiskSize}, std::byte{kOld});
    let_trims_go_around();
    content_ = Content(pages(), kOld);
    switch (GetParam().before) {
      case Before::absent:
        break;
      case Before::clean:
        read(whole());
        break;
      case Before::dirty:
        write_pages({0, 1}, kDirty);
        if (pages() > 1) write_pages({5, 2}, kDirty);
        content_[0] = kDirty;
        if (pages() > 1) content_[5] = content_[6] = kDirty;
        break;
    }
  }

  struct Part {
    unsigned first;
    unsigned count;
  };
  static unsigned pages() { return GetParam().shape == Shape::one_page ? 1 : 16; }
  Range whole() const { return {0, settings.block_size}; }
  // What the first or the second one changes.
  static Part part_of(bool is_first) {
    switch (GetParam().shape) {
      case Shape::one_page:
        return {0, 1};
      case Shape::same_page:
        return {5, 1};
      case Shape::different_pages:
        return {is_first ? 5U : 6U, 1};
      case Shape::whole_block:
        return {0, 16};
    }
    return {0, 0};
  }
  void write_pages(const Part& part, int value) {
    write(std::vector<std::byte>(std::size_t{part.count} * kPage, static_cast<std::byte>(value)),
          std::uint64_t{part.first} * kPage);
  }

  // Pages have to be of one value each; -1 if not.
  static Content content_of(const std::vector<std::byte>& bytes) {
    Content content;
    for (std::size_t at = 0; at < bytes.size(); at += kPage) {
      const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      const bool uniform =
          std::all_of(first, first + kPage, [&](auto each) { return each == *first; });
      content.push_back(uniform ? static_cast<int>(*first) : -1);
    }
    return content;
  }

  // What an act makes of a block.
  static Content after(Content content, Act act, bool is_first) {
    const Part part = part_of(is_first);
    const auto change = [&](int value) {
      std::fill_n(content.begin() + part.first, part.count, value);
    };
    if (act == Act::write) change(is_first ? kFirst : kSecond);
    if (act == Act::zero) change(0);
    if (act == Act::trim) std::fill(content.begin(), content.end(), 0);
    return content;
  }

  // Other blocks take the room of this one.
  void evict() {
    for (std::uint64_t i = 0; i < 6; ++i) {
      const std::uint64_t offset = (8 + i) * settings.block_size;
      write(std::vector<std::byte>(settings.block_size, std::byte{kOthers}), offset);
    }
  }
  void run(Act act, bool is_first, Content& filled) {
    const Part part = part_of(is_first);
    const Range range{std::uint64_t{part.first} * kPage, std::uint64_t{part.count} * kPage};
    switch (act) {
      case Act::fill:
        filled = content_of(read(whole()));
        break;
      case Act::write:
        write_pages(part, is_first ? kFirst : kSecond);
        break;
      case Act::zero:
        layer().zero(range.length, range.offset, {});
        break;
      case Act::trim:
        trim(whole());
        break;
      case Act::write_back:
        cache().write_back_all(below);
        break;
      case Act::evict:
        evict();
        break;
      case Act::flush:
        layer().flush();
        break;
    }
  }

  void set_stop() {
    const Act act = GetParam().first;
    if (GetParam().stop == StopIn::store) {
      store_hook.set([this, act](StoreOp op) {
        const bool reads = act == Act::write_back || act == Act::evict || act == Act::flush;
        const StoreOp stopped = reads              ? StoreOp::read
                                : act == Act::zero ? StoreOp::forget
                                                   : StoreOp::write;
        if (op == stopped) stop_.pass();
      });
    } else if (act == Act::fill) {
      below.on_read_result([this](std::span<std::byte>, std::uint64_t offset) {
        if (offset < settings.block_size) stop_.pass();
      });
    } else {
      below.on_call([this, act](const Call& call) {
        const bool changes = call.op == Op::pwrite || call.op == Op::zero || call.op == Op::trim;
        const bool meant =
            act == Act::flush ? call.op == Op::flush : changes && call.range.overlaps(whole());
        if (meant) stop_.pass();
      });
    }
  }

  // Where the second one has to go on whatever the first one does: below for minutes, perhaps.
  static bool must_not_wait() {
    const Pair& pair = GetParam();
    if (pair.stop != StopIn::layer_below) return false;
    const bool changes = pair.second == Act::write || pair.second == Act::zero;
    if (pair.first == Act::fill) return pair.second != Act::fill;
    const bool writes_back = pair.first == Act::write_back || pair.first == Act::flush;
    // A fill of a block that has all pages; of another one, what is read from below.
    return writes_back && (changes || pair.second == Act::fill);
  }

  // Releases the first one when the second has run into it, as far as that can be known.
  void let_them_meet(const std::atomic<bool>& second_ended) {
    if (must_not_wait()) {
      while (!second_ended) std::this_thread::yield();
    } else {
      for (int i = 0; i < 100 && !second_ended; ++i) std::this_thread::yield();
    }
    stop_.release();
  }

  void expect_one_of(const Content& found, const std::vector<Content>& allowed, const char* what) {
    EXPECT_NE(std::find(allowed.begin(), allowed.end(), found), allowed.end())
        << what << ": " << ::testing::PrintToString(found) << ", and not one of "
        << ::testing::PrintToString(allowed);
  }
  // Each page as before, between, or after: a fill of several pages is not atomic.
  static void expect_filled(const Content& found, const std::vector<Content>& allowed) {
    for (std::size_t page = 0; page < found.size(); ++page) {
      const bool is_allowed = std::any_of(allowed.begin(), allowed.end(), [&](const Content& each) {
        return each[page] == found[page];
      });
      EXPECT_TRUE(is_allowed) << "page " << page << " was read as " << found[page];
    }
  }

  void expect_others_or_old() {
    const auto others = below.content({8ULL * settings.block_size, settings.block_size});
    const Content content = content_of(others);
    EXPECT_TRUE(content == Content(pages(), kOthers) || content == Content(pages(), kOld));
  }

  StopOnce stop_;
  Content content_;
};

TEST_P(CacheInterleaving, IsOneAfterTheOther) {
  const auto [first, second, stop, shape, before] = GetParam();
  const Content after_first = after(content_, first, true);
  const Content first_second = after(after_first, second, false);
  const Content second_first = after(after(content_, second, false), first, true);

  set_stop();
  Content filled_by_first;
  Content filled_by_second;
  auto running = later([&, first = first] {
    run(first, true, filled_by_first);
    stop_.end();
  });
  const bool stopped = stop_.wait_for_arrival_or_end();
  std::atomic<bool> second_ended = false;
  auto second_running = later([&, second = second] {
    run(second, false, filled_by_second);
    second_ended = true;
  });
  let_them_meet(second_ended);
  running.get();
  second_running.get();
  below.on_call({});
  below.on_read_result({});
  store_hook.set({});

  std::vector<Content> results{first_second};
  if (stopped) results.push_back(second_first);
  expect_filled(filled_by_first, {content_, first_second, second_first});
  if (stopped) {
    expect_filled(filled_by_second, {content_, first_second, second_first});
  } else {
    expect_filled(filled_by_second, {first_second});
  }
  const Content found = content_of(read(whole()));
  expect_one_of(found, results, "read afterwards");
  layer().flush();
  EXPECT_EQ(content_of(below.content(whole())), found);
  EXPECT_FALSE(cache().has_unwritten());
  evict();
  layer().flush();
  EXPECT_EQ(content_of(read(whole())), found);
  EXPECT_EQ(content_of(below.content(whole())), found);
  expect_others_or_old();
}

std::vector<Pair> all_pairs() {
  std::vector<Pair> pairs;
  for (const Act first : kActs) {
    for (const Act second : kActs) {
      for (const StopIn stop : {StopIn::layer_below, StopIn::store}) {
        for (const Shape shape :
             {Shape::one_page, Shape::same_page, Shape::different_pages, Shape::whole_block}) {
          for (const Before before : {Before::absent, Before::clean, Before::dirty}) {
            pairs.push_back({first, second, stop, shape, before});
          }
        }
      }
    }
  }
  return pairs;
}

INSTANTIATE_TEST_SUITE_P(AllPairs, CacheInterleaving, ::testing::ValuesIn(all_pairs()),
                         [](const auto& each) { return name_of(each.param); });

}  // namespace
}  // namespace nbdstack::testing
