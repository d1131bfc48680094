// A disk whose extents are answered from memory where they are known (known_extents.hpp), and asked
// for below, much at once, where they are not.
//
// A query to the layer below is longer than the client's own: all that is unknown from there on,
// and never only the first extent. When the layer below refuses that, the client's own query is
// put to it as it is, and the client gets what comes of that: an error has its reason in what the
// client asked. The client's answer is the layer's reply itself; what is remembered of it is less
// where changes were under way.
//
// What is known is used and learnt only while nobody else can have changed the disk
// (writer_watch.hpp): else queries pass, too.
//
// All other requests pass. Changes are noted before and after, see known_extents.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "common/block/background_below.hpp"
#include "common/block/extent_scan.hpp"
#include "common/block/extents.hpp"
#include "common/block/forwarding_layer.hpp"
#include "common/block/range.hpp"
#include "common/block/writer_watch.hpp"
#include "filters/cacheextents/known_extents.hpp"

namespace nbdstack {

// What the connections to one disk share.
struct CacheextentsState {
  // `identity`: what the layer below tells of its disk, or null.
  CacheextentsState(std::size_t max_runs, std::uint64_t disk_bytes,
                    const std::shared_ptr<const DiskIdentity>& identity = nullptr)
      : size_bytes(disk_bytes),
        known(max_runs),
        writers(identity, [this](const DiskIdentity*) { known.forget_all(); }) {}

  // Scans the disk on a connection of its own. `name` is for the log.
  void start_scan(std::string name, OwnBelow::Open open_below);

  const std::uint64_t size_bytes;
  KnownExtents known;
  WriterWatch writers;        // may the above be used?
  std::mutex one_call_below;  // where the layer below takes no more, and the scan calls it too
  LentLayers clients;         // who lend the scan nothing
  std::unique_ptr<ExtentScan> scan;  // or nothing; before what it uses goes
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
