// A disk whose extents are answered from memory where they are known (known_extents.hpp), and asked
// for below, much at once, where they are not.
//
// A question to the layer below is longer than the client's own: all that is unknown from there on,
// and never only the first extent. When the layer below refuses that, the client's own question is
// put to it as it is, and the client gets what comes of that: an error has its reason in what the
// client asked. The client's answer is the layer's reply itself; what is remembered of it is less
// where changes were under way.
//
// All other requests pass. Changes are noted before and after, see known_extents.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "common/block/extents.hpp"
#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "filters/cacheextents/known_extents.hpp"

namespace nbdstack {

class CacheextentsLayer final : public Layer {
 public:
  // `below` outlives the layer.
  CacheextentsLayer(Layer& below, std::shared_ptr<KnownExtents> known, bool verbose = false)
      : below_(below), known_(std::move(known)), verbose_(verbose) {}
  // The same over a layer that goes with this one.
  CacheextentsLayer(std::unique_ptr<Layer> below, std::shared_ptr<KnownExtents> known,
                    bool verbose = false)
      : owned_(std::move(below)), below_(*owned_), known_(std::move(known)), verbose_(verbose) {}

  [[nodiscard]] const LayerTraits& traits() const override { return below_.traits(); }
  std::shared_ptr<const DiskIdentity> identity() override { return below_.identity(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    below_.pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override { below_.flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void cache(std::uint64_t length, std::uint64_t offset) override { below_.cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;
  void finalize() override { below_.finalize(); }

 private:
  [[nodiscard]] ExtentList ask(const Range& range, const Range& asked, bool only_one);

  std::unique_ptr<Layer> owned_;  // below_, or nothing
  Layer& below_;
  const std::shared_ptr<KnownExtents> known_;
  const bool verbose_;
};

}  // namespace nbdstack
