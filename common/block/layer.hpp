// A disk, as a layer of the stack sees the one below it and offers itself to the one above.
//
// Engines (the cache, the consistency check, ...) know neither nbdkit nor a network: each is a
// Layer over another Layer. Under a server the lowest is nbdkit's next layer
// (common/nbdkit/next_layer.hpp), in unit tests a fake whose time and order the test controls;
// engines stack on each other without a server just as well.
//
// Rules for whoever implements or calls one:
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

// How well a layer does something: nbdkit's three-valued answers.
enum class Support : std::uint8_t { none, emulated, native };

// What the layer can do. Asked once, when the layer is opened; it does not change afterwards.
struct LayerTraits {
  std::uint64_t size_bytes = 0;
  // As NBD's block size constraints; all three are 0 where the layer states none.
  std::uint32_t minimum_block_size = 0;
  std::uint32_t preferred_block_size = 0;
  std::uint32_t maximum_block_size = 0;
  // Whether calls may run in parallel. Where not, whoever sits above keeps to one call at a time (a
  // plugin's thread model).
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

// FUA asks that the data be durable before the call returns. It may be passed only where
// traits().fua is not none.
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

  // Appends extents from `offset` on, at least one and possibly fewer than the range asked for;
  // with `only_one` a layer may stop after the first.
  virtual void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                       ExtentList& extents) = 0;

  // Which disk this is, and whether this server may write it (disk_identity.hpp); null where that
  // is not known. Unlike traits() it may change, so it may be asked for with each request: what
  // has not changed is the same object, at the cost of a lock that nobody holds for long.
  virtual std::shared_ptr<const DiskIdentity> identity() { return nullptr; }

  // The client is about to leave; the layer below still works. What must not get lost is written
  // now.
  virtual void finalize() {}
};

}  // namespace nbdstack
