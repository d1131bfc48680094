// Answers queries for extents from memory where these are known (known_extents.hpp). For the others
// it queries the layer below, for long ranges at once.
//
// A query below is longer than the client's: it covers the unknown ranges from there on, and never
// requests the first extent only. If the layer below refuses it, the client's query is passed
// unchanged, and the client gets the result: so an error is about the client's own query. The
// client's answer is the reply of the layer below itself; less of it is remembered if changes were
// under way.
//
// The memory is used and filled only while no other writer can have changed the disk
// (writer_watch.hpp). Otherwise queries pass, too.
//
// All other requests pass. Changes are noted before and after (known_extents.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "common/block/background_below.hpp"
#include "common/block/extent_scan.hpp"
#include "common/block/extents.hpp"
#include "common/block/forwarding_layer.hpp"
#include "common/block/range.hpp"
#include "common/block/writer_watch.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cacheextents/known_extents.hpp"

namespace nbdstack {

// The state that the connections to one disk share.
struct CacheextentsState {
  // `identity` is that of the disk below, or null.
  CacheextentsState(std::size_t max_runs, std::uint64_t disk_bytes,
                    const std::shared_ptr<const DiskIdentity>& identity = nullptr)
      : size_bytes(disk_bytes),
        known(max_runs),
        writers(identity, [this](const DiskIdentity*) { known.forget_all(); }) {}

  // Scans the disk on a connection of its own. `name` is for the log.
  void start_scan(std::string name, OwnBelow::Open open_below);

  const std::uint64_t size_bytes;
  KnownExtents known;
  WriterWatch writers;               // tells whether the above may be used
  Mutex one_call_below;              // for clients and the scan, if the layer below is not parallel
  LentLayers clients;                // stays empty: clients lend the scan nothing
  std::unique_ptr<ExtentScan> scan;  // or null; last: it uses all of the above
};

class CacheextentsLayer final : public ForwardingLayer {
 public:
  CacheextentsLayer(LayerBelow below, std::shared_ptr<CacheextentsState> shared,
                    bool verbose = false)
      : ForwardingLayer(std::move(below)), shared_(std::move(shared)), verbose_(verbose) {}

  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;

 private:
  [[nodiscard]] bool trusts_memory() { return shared_->writers.trusts(below()); }
  void end_change(KnownExtents::Change& change, std::span<const KnownExtents::Content> contents);
  [[nodiscard]] ExtentList ask(const Range& range, const Range& asked, bool only_one);

  const std::shared_ptr<CacheextentsState> shared_;
  const bool verbose_;
};

}  // namespace nbdstack
