// The zero-block optimisation: a layer that avoids sending, storing and fetching blocks of zeros.
//
// All connections to an export share a ZeroMap of the known states of its blocks.
//
//   request   known zeros                              everything else
//   read      answered here; in the middle of a        read below; whole blocks of zeros are
//             request from kLongZeros on, as more      remembered
//             requests cost more than short zeros
//   write     client_write_plan.hpp                    client_write_plan.hpp
//   zero      dropped at both ends, or altogether      zeroed below; whole blocks are zeros then
//   trim      of holes: dropped at both ends, or       trimmed below; unknown then, as no layer
//             altogether. Others: as everything else   promises what a trimmed block holds
//   cache     dropped at both ends, or altogether      passed
//   extents   answered here                            one query below; its reply is learnt
//
// Durability. Known zeros may have been acknowledged and not yet flushed, and a dropped request is
// no more durable than the zeros that it relies on. So nothing is dropped
//   - with FUA: the zeros are sent (again), with FUA;
//   - if the layer below is not multi-conn: a flush on this connection would not make durable what
//     another connection has written.
// A flush always passes, so that after it a dropped write is as durable as the zeros that it relies
// on.
//
// Order of changes. While the layer below works, a change owns its bytes (RangeLock), and the whole
// of an end block that is known to be zeros, because all of that may be written. So changes of
// different parts of one block do not wait for each other, except for the first change of a block
// of zeros, and no two changes disagree about what a block holds. A thread owns one range at a
// time.
//
// The map is used and filled only while no other writer can have changed the disk
// (writer_watch.hpp). Otherwise all requests pass, and nothing is known.
//
// Calls below are made on the caller's thread, one after the other. A write that needs several
// requests below and fails may have been done in part, as any write that fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "common/block/extent_scan.hpp"
#include "common/block/forwarding_layer.hpp"
#include "common/block/lent_layer.hpp"
#include "common/block/range.hpp"
#include "common/block/range_lock.hpp"
#include "common/block/writer_watch.hpp"
#include "filters/zeroblock/client_write_plan.hpp"
#include "filters/zeroblock/zero_map.hpp"

namespace nbdstack {

// Queries the extents from `position` on, and learns the reply. Returns the end of the reply.
std::uint64_t ask_from(Layer& below, ZeroMap& map, std::uint64_t position);

// The state that the connections to one export share.
struct ZeroBlockState {
  // `below` are the traits of one of the connections to the layer below, and `identity` is that of
  // its disk, or null. `verbose_requests` logs the handling of each request.
  ZeroBlockState(const LayerTraits& below, std::uint32_t block_size, bool verbose_requests = false,
                 const std::shared_ptr<const DiskIdentity>& identity = nullptr);

  // Scans the extents below on the connections of clients, as they come and go. (On a connection of
  // the scan's own, a plugin that asks nbdkit for the export's name when it is opened would not get
  // it; nbdkit's file plugin crashes then.) Called before the first client. A query that fails
  // while the server stops is not repeated: a layer below may spend its grace period on it.
  void start_scan(std::function<bool()> server_stops = [] { return false; });

  const bool verbose;

  ZeroMap map;
  WriterWatch writers;  // tells whether the map may be used
  RangeLock changes;
  LentLayers clients;                // for the scan
  std::unique_ptr<ExtentScan> scan;  // or null
};

class ZeroBlockLayer final : public ForwardingLayer {
 public:
  // Known zeros of this length are worth two requests instead of one: some 10 ms of a fast network.
  static constexpr std::uint64_t kLongZeros = 1U << 20U;

  // The layer below has the map's size.
  ZeroBlockLayer(LayerBelow layer_below, std::shared_ptr<ZeroBlockState> shared);

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void cache(std::uint64_t length, std::uint64_t offset) override;
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;
  void finalize() override;

 private:
  // A change that owns its range.
  struct OwnedChange {
    RangeLock::Guard owned;  // given back after the change has ended
    ZeroMap::Change change;
  };

  // Returns whether the map may be used; if not, it is empty.
  [[nodiscard]] bool trusts_map() { return shared_->writers.trusts(below()); }

  // Reading
  void read_and_learn(std::span<std::byte> buffer, std::uint64_t offset);
  void ask_and_learn(const Range& range, bool only_one, ExtentList& answer);

  // Changing (zeroblock_write.cpp)
  [[nodiscard]] bool may_drop(Durability durability);
  OwnedChange begin_change(const Range& range);
  void end_change(OwnedChange& owned, std::span<const ZeroMap::Content> contents);
  void write_run(const Range& run, std::span<const std::byte> buffer, std::uint64_t offset,
                 Durability durability);
  bool zero_below(const Range& range, const ZeroOptions& options);

  // Logs how many bytes of a request for `range` are sent below.
  void explain(const char* request, const Range& range, std::uint64_t bytes_below) const;

  const std::shared_ptr<ZeroBlockState> shared_;
  ZeroMap& map_;  // in shared_
  const BlockGeometry geometry_;
  const LayerTraits traits_;
  Loan loan_;  // to the scan
};

}  // namespace nbdstack
