// A disk, as the interface between a layer of the stack and the one below it.
//
// Engines (the cache, the consistency check, ...) know neither nbdkit nor a network: each is a
// Layer over another Layer. In a server the lowest is nbdkit's next layer
// (common/nbdkit/next_layer.hpp), in unit tests a fake whose time and order the test controls;
// engines also stack on each other without a server.
//
// Rules for implementations and callers:
//  - every call may come from any thread, and calls run in parallel unless traits().parallel is
//    false;
//  - every call may block for as long as a network takes: no lock is held across one;
//  - a range lies inside [0, size_bytes) and is never empty;
//  - failure is an Error. A write, zero or trim that failed leaves its range with unknown content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/block/disk_identity.hpp"
#include "common/block/extents.hpp"

namespace nbdstack {

// How well a layer supports an operation: nbdkit's three-valued answers.
enum class Support : std::uint8_t { none, emulated, native };

// The abilities of a layer, queried once, when it is opened; they do not change afterwards.
struct LayerTraits {
  std::uint64_t size_bytes = 0;
  // These are NBD's block size constraints; all three are 0 if the layer has none.
  std::uint32_t minimum_block_size = 0;
  std::uint32_t preferred_block_size = 0;
  std::uint32_t maximum_block_size = 0;
  // If set, calls may run in parallel. If not, the layer above makes one call at a time (a plugin's
  // thread model).
  bool parallel = true;
  bool can_write = false;
  bool can_flush = false;
  bool can_trim = false;
  bool can_fast_zero = false;
  bool can_extents = false;
  bool can_multi_conn = false;
  Support zero = Support::none;
  Support fua = Support::none;
  Support cache = Support::none;
};

// With FUA the data is durable before the call returns. It may be passed only if traits().fua is
// not none.
enum class Durability : std::uint8_t { on_flush, fua };

struct ZeroOptions {
  bool may_trim = false;  // a hole is as good as zeros
  bool fast =
      false;  // fail with ENOTSUP rather than be as slow as writing; only where can_fast_zero
  Durability durability = Durability::on_flush;
};

class Layer {
 public:
  Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;
  virtual ~Layer() = default;

  [[nodiscard]] virtual const LayerTraits& traits() const = 0;

  virtual void pread(std::span<std::byte> buffer, std::uint64_t offset) = 0;
  virtual void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                      Durability durability) = 0;
  virtual void flush() = 0;
  virtual void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) = 0;
  virtual void trim(std::uint64_t length, std::uint64_t offset, Durability durability) = 0;
  virtual void cache(std::uint64_t length, std::uint64_t offset) = 0;

  // Appends extents from `offset` on, at least one and possibly for less than the requested range;
  // with `only_one` a layer may stop after the first.
  virtual void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                       ExtentList& extents) = 0;

  // Returns which disk this is, and whether this server may write it (disk_identity.hpp), or null
  // if that is not known. Unlike traits() it may change, so it may be called for each request: if
  // nothing has changed it returns the same object, at the cost of a lock that is held briefly.
  virtual std::shared_ptr<const DiskIdentity> identity() { return nullptr; }

  // Called when the client is about to leave, while the layer below still works: content that must
  // not be lost is written now.
  virtual void finalize() {}
};

}  // namespace nbdstack
