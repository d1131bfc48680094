// The user's settings, in the engine's terms (man/nbdkit-cache-filter.pod).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/sync/clock.hpp"
#include "filters/cache/policy/eviction_policy.hpp"

namespace nbdstack {

//   mode          changes are written    flushes and FUA
//   writeback     to the cache           make dirty content durable below
//   writethrough  below, and to the      are passed on
//                 cache
//   unsafe        to the cache           do nothing
enum class CacheMode : std::uint8_t { writeback, writethrough, unsafe };

// A flush makes content durable in the layer below, or in the cache's own directory.
enum class FlushTo : std::uint8_t { below, local };

struct CacheSettings {
  CacheMode mode = CacheMode::writeback;
  FlushTo flush = FlushTo::below;         // local only over a durable store
  std::uint32_t block_size = 64U << 10U;  // a power of two
  std::uint64_t fetch_bytes = 0;          // loaded together on a miss; one block if not larger
  std::uint64_t max_size_bytes = 0;       // as large as the disk if 0
  // Parts of max_size_bytes: above the high one blocks are evicted, down to the low one.
  unsigned high_threshold_percent = 95;
  unsigned low_threshold_percent = 80;
  std::uint64_t max_dirty_bytes = 0;                  // writers wait above it; no bound if 0
  std::size_t threads = 16;                           // concurrent requests of write-backs below
  Duration write_delay{};                             // dirty blocks wait for a flush if 0
  Duration full_retry = std::chrono::seconds(1);      // while the cache's disk is full
  Duration give_up_after = std::chrono::seconds(60);  // for a write-back that only fails
  Duration stop_timeout{};  // of the last write-back; while it makes progress if 0
  Duration timeout{};       // clean blocks are dropped then; never if 0
  CachePolicy policy = CachePolicy::lru;
  std::uint64_t protect_bytes = 0;                             // of the disk: evicted last
  std::function<bool()> cache_on_read = [] { return false; };  // asked for each read
  bool verbose = false;                                        // a debug message for every block

  // The differences between the modes.
  struct ModeRules {
    bool writes_through = false;   // changes bypass the cache
    bool ignores_flushes = false;  // and FUA
  };
  [[nodiscard]] ModeRules rules() const {
    switch (mode) {
      case CacheMode::writeback:
        break;
      case CacheMode::writethrough:
        return {.writes_through = true};
      case CacheMode::unsafe:
        return {.ignores_flushes = true};
    }
    return {};
  }
  [[nodiscard]] bool writes_through() const { return rules().writes_through; }
  [[nodiscard]] bool ignores_flushes() const { return rules().ignores_flushes; }
  // Returns whether the cache guarantees that a flush on any connection covers all writes below.
  [[nodiscard]] bool makes_flushes_durable() const {
    return !writes_through() && !ignores_flushes();
  }
};

}  // namespace nbdstack
