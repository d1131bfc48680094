// The zero-block optimisation: a layer that neither sends, stores nor fetches a block of zeros
// where that can be helped.
//
// All connections to an export share a ZeroMap of what its blocks hold.
//
//   request   known zeros                              all else
//   read      answered here; inside a request only     read below; whole blocks of zeros are
//             from kLongZeros on, because more         remembered
//             requests cost more than short zeros
//   write     write_plan.hpp                           write_plan.hpp
//   zero      dropped at both ends, or altogether      zeroed below; whole blocks are zeros then
//   trim      of holes: dropped at both ends, or       trimmed below; unknown then, because nobody
//             altogether. Others: as all else          promises what a trimmed block holds
//   cache     dropped at both ends, or altogether      passed
//   extents   answered here                            one question below, which is learnt from
//
// Durability. What is known to be zeros may have been acknowledged and not yet flushed: a request
// that leaves it to somebody else's zeros is not safer than those. So nothing is dropped
//   - with FUA: the zeros are sent (again), with FUA;
//   - where the layer below is not multi-conn: a flush on this connection would not make durable
//     what another one has written.
// A flush always passes, so that a dropped write is as durable behind it as the zeros it stands
// for.
//
// Order of changes. A change owns its bytes (RangeLock) while the layer below works, and an end
// block that is known to be zeros whole, because all of it may be written. So changes of different
// parts of one block do not wait for each other but for the first one of a block of zeros, and no
// two changes disagree about what a block holds. A thread owns one range at a time.
//
// What is known is used and learnt only while nobody else can have changed the disk
// (writer_watch.hpp): else all requests pass, and nothing is known.
//
// Calls below are made on the caller's thread, one after the other. A write that consists of
// several requests below and fails may have happened in part, as any write that fails.
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
#include "filters/zeroblock/write_plan.hpp"
#include "filters/zeroblock/zero_map.hpp"

namespace nbdstack {

// Asks about what lies from `position` on, and learns what the reply says. Returns where that ends.
std::uint64_t ask_from(Layer& below, ZeroMap& map, std::uint64_t position);

// What the connections to one export share.
struct ZeroBlockState {
  // `below`: what one of the connections to the layer below says of it. `verbose_requests`: log
  // what becomes of each request.
  // `identity`: what it tells of its disk, or null.
  ZeroBlockState(const LayerTraits& below, std::uint32_t block_size, bool verbose_requests = false,
                 const std::shared_ptr<const DiskIdentity>& identity = nullptr);

  // Scans the extents below on the connections of clients, as they come and go. (On a connection of
  // its own, the export's name would be hidden from a plugin that asks nbdkit for it when it is
  // opened; nbdkit's file plugin crashes then.) Before the first client; where the server stops, no
  // query that has failed is asked again: a layer below takes its time for what is asked then.
  void start_scan(std::function<bool()> server_stops = [] { return false; });

  const bool verbose;

  ZeroMap map;
  WriterWatch writers;  // may the map be used?
  RangeLock changes;
  LentLayers clients;                // for the scan
  std::unique_ptr<ExtentScan> scan;  // or nothing
};

class ZeroBlockLayer final : public ForwardingLayer {
 public:
  // Known zeros that are worth two requests instead of one: some 10 ms of a fast network.
  static constexpr std::uint64_t kLongZeros = 1U << 20U;

  // The layer below is as long as the map says.
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
  // A change that has its range to itself.
  struct OwnedChange {
    RangeLock::Guard owned;  // given back after the change has ended
    ZeroMap::Change change;
  };

  // Whether the map may be used; where not, nothing is in it.
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

  // That of a request for `range` so many bytes go below.
  void explain(const char* request, const Range& range, std::uint64_t bytes_below) const;

  const std::shared_ptr<ZeroBlockState> shared_;
  ZeroMap& map_;  // in shared_
  const BlockGeometry geometry_;
  const LayerTraits traits_;
  Loan loan_;  // to the scan
};

}  // namespace nbdstack
