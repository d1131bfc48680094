// A CacheextentsLayer over TrueExtents.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "filters/cacheextents/cacheextents_layer.hpp"
#include "tests/unit/cacheextents/true_extents.hpp"

namespace nbdstack::testing {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;
constexpr ExtentType kZeros{.hole = false, .zero = true};

using Extents = std::vector<Extent>;

class CacheextentsTest : public ::testing::Test {
 protected:
  void use_disk(std::uint64_t size_bytes, std::size_t max_runs = 1000) {
    below = std::make_unique<TrueExtents>(size_bytes);
    shared = std::make_shared<CacheextentsState>(max_runs, size_bytes, below->identity());
    known = &shared->known;
    layer = std::make_unique<CacheextentsLayer>(*below, shared);
  }

  // What the layer says of a range, in as many answers as it takes.
  Extents map(const Range& range, bool only_one = false) const {
    ExtentList all;
    for (std::uint64_t position = range.offset; position < range.end();) {
      ExtentList answer;
      layer->extents(range.end() - position, position, only_one, answer);
      for (const Extent& each : answer.all()) all.append(each.range, each.type);
      position = answer.end();
    }
    return all.all();
  }
  [[nodiscard]] ExtentType type_at(std::uint64_t offset) const {
    return map({offset, 1}).front().type;
  }
  // Questions that have reached the layer below so far.
  [[nodiscard]] std::size_t questions() const { return below->asked().size(); }

  void write(const Range& range) const {
    layer->pwrite(std::vector<std::byte>(range.length), range.offset, Durability::on_flush);
  }
  void trim(const Range& range) const {
    layer->trim(range.length, range.offset, Durability::on_flush);
  }
  void zero(const Range& range, bool may_trim) const {
    layer->zero(range.length, range.offset, {.may_trim = may_trim});
  }

  std::unique_ptr<TrueExtents> below;
  std::shared_ptr<CacheextentsState> shared;
  KnownExtents* known = nullptr;  // in shared
  std::unique_ptr<CacheextentsLayer> layer;
};

// The errno that `action` throws, 0 for none.
inline int error_of(const std::function<void()>& action) {
  try {
    action();
    return 0;
  } catch (const Error& error) {
    return error.code();
  }
}

}  // namespace nbdstack::testing
