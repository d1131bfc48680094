// Random requests against a byte array, for blocks of many shapes.
#include <random>

#include "filters/cache/store/encrypted_temporary_store.hpp"
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

struct BlockShape {
  std::uint32_t block_size;
  std::uint32_t preferred_block_size;
  bool is_encrypted = false;  // the temporary file
};

std::string name_of(const ::testing::TestParamInfo<BlockShape>& info) {
  return fmt::format("{}KiBOver{}KiB{}", info.param.block_size / 1024,
                     info.param.preferred_block_size / 1024,
                     info.param.is_encrypted ? "Encrypted" : "");
}

// One client, a disk that ends inside a page, and an array that holds what it should read.
class CacheModel : public ::testing::TestWithParam<BlockShape> {
 protected:
  static constexpr std::size_t kSize = (2U << 20U) - 1000;
  static constexpr std::size_t kLongestChange = 60'000;

  void open(std::uint64_t max_size_bytes, CacheMode mode = CacheMode::writeback) {
    below.change_traits().preferred_block_size = GetParam().preferred_block_size;
    settings.mode = mode;
    settings.block_size = GetParam().block_size;
    settings.max_size_bytes = max_size_bytes;
    settings.cache_on_read = [this] { return random() % 2 == 0; };
    below.pwrite(model, 0, Durability::on_flush);
    cache = std::make_shared<BlockCache>(settings, kSize, make_store(), reads, writes);
    layer = std::make_unique<CacheLayer>(below, cache, settings);
  }

  std::unique_ptr<SlotStore> make_store() const {
    if (GetParam().is_encrypted) {
      return std::make_unique<EncryptedTemporaryStore>("/tmp", settings.block_size);
    }
    return std::make_unique<TemporaryStore>("/tmp", settings.block_size);
  }

  Range any_range() {
    const std::uint64_t unit = random() % 3 == 0 ? 1 : random() % 2 == 0 ? kPage : 512;
    const std::uint64_t longest = random() % 4 == 0 ? kLongestChange : 4 * kPage;
    const std::uint64_t length = std::max<std::uint64_t>(unit, random() % longest / unit * unit);
    const std::uint64_t offset = random() % kSize / unit * unit;
    return {offset, std::min(length, kSize - offset)};
  }
  std::span<std::byte> modelled(const Range& range) {
    return std::span(model).subspan(range.offset, range.length);
  }

  void write() {
    const Range range = any_range();
    const auto data = pattern(range.length, random());
    layer->pwrite(data, range.offset, random() % 8 == 0 ? Durability::fua : Durability::on_flush);
    std::copy(data.begin(), data.end(), modelled(range).begin());
  }
  void zero() {
    const Range range = any_range();
    layer->zero(range.length, range.offset,
                {.may_trim = random() % 2 == 0,
                 .durability = random() % 8 == 0 ? Durability::fua : Durability::on_flush});
    std::ranges::fill(modelled(range), std::byte{0});
  }
  // What is trimmed reads as zeros where the layer below has zeros of its own, all but parts of
  // pages at its ends.
  void trim() {
    const Range range = any_range();
    layer->trim(range.length, range.offset, Durability::on_flush);
    const std::uint64_t page = PageGeometry(settings.block_size).page_size();
    const std::uint64_t first = (range.offset + page - 1) / page * page;
    const std::uint64_t end = range.end() == kSize ? kSize : range.end() / page * page;
    if (first < end) std::ranges::fill(modelled({first, end - first}), std::byte{0});
  }
  void read() {
    const Range range = any_range();
    std::vector<std::byte> found(range.length);
    layer->pread(found, range.offset);
    ASSERT_TRUE(std::ranges::equal(found, modelled(range))) << range.offset << "+" << range.length;
  }
  void step() {
    switch (random() % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        return write();
      case 4:
        return zero();
      case 5:
        return trim();
      case 6:
        return layer->cache(kPage, random() % (kSize - kPage));
      default:
        return read();
    }
  }
  void expect_all_below() {
    std::vector<std::byte> found(kSize);
    layer->pread(found, 0);
    EXPECT_TRUE(found == model);
    cache->write_back_all(below);
    EXPECT_TRUE(below.content() == model);
    EXPECT_EQ(cache->unwritten_bytes(), 0U);
  }

  CacheSettings settings;
  FakeLayer below{kSize};
  std::vector<std::byte> model = pattern(kSize, 1);
  std::mt19937 random{5};
  WorkerPool reads{2};
  WorkerPool writes{2};
  std::shared_ptr<BlockCache> cache;
  std::unique_ptr<CacheLayer> layer;
};

TEST_P(CacheModel, AgreesInATinyCache) {
  open(std::uint64_t{4} * GetParam().block_size);
  for (int n = 0; n < 2000 && !HasFatalFailure(); ++n) {
    step();
    if (n % 50 == 49) layer->flush();
    if (n % 1000 == 999) expect_all_below();
    ASSERT_LE(cache->cached_bytes(), std::uint64_t{4} * GetParam().block_size);
  }
  expect_all_below();
}

TEST_P(CacheModel, AgreesInACacheThatHoldsEverything) {
  open(0);
  for (int n = 0; n < 1000 && !HasFatalFailure(); ++n) {
    step();
    if (n % 100 == 99) layer->flush();
  }
  expect_all_below();
}

TEST_P(CacheModel, AgreesInUnsafeMode) {
  open(std::uint64_t{6} * GetParam().block_size, CacheMode::unsafe);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) step();
  expect_all_below();
}

TEST_P(CacheModel, AgreesInWritethroughMode) {
  open(std::uint64_t{6} * GetParam().block_size, CacheMode::writethrough);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) {
    switch (random() % 4) {
      case 0:
        write();
        break;
      case 1:
        zero();
        break;
      default:
        read();
    }
  }
  EXPECT_TRUE(below.content() == model);
  expect_all_below();
}

// Requests of write-backs fail now and then; what failed is still there.
TEST_P(CacheModel, AgreesOverALayerThatFails) {
  open(0);
  std::mt19937 luck(7);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) {
    step();
    if (n % 20 != 19) continue;
    std::mutex mutex;
    below.on_call([&](const Call& call) {
      const std::lock_guard lock(mutex);
      if (call.op != Op::flush && luck() % 3 == 0) throw Error(EIO, "as the test wants it");
    });
    try {
      layer->flush();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
    }
    below.on_call({});
  }
  expect_all_below();
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CacheModel,
    ::testing::Values(BlockShape{kPage, 1}, BlockShape{kPage, 16 * kPage},
                      BlockShape{4 * kPage, kPage}, BlockShape{16 * kPage, 1},
                      BlockShape{16 * kPage, 4 * kPage}, BlockShape{16 * kPage, 16 * kPage},
                      BlockShape{16 * kPage, 256 * kPage}, BlockShape{64 * kPage, kPage},
                      BlockShape{256 * kPage, 1}, BlockShape{256 * kPage, 64 * kPage},
                      BlockShape{256 * kPage, 256 * kPage}, BlockShape{kPage, 1, true},
                      BlockShape{16 * kPage, 4 * kPage, true}, BlockShape{256 * kPage, 1, true}),
    name_of);

}  // namespace
}  // namespace nbdstack::testing
