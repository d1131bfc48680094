// One connection's view of an export's cache: a Layer over the layer below of that connection.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "common/block/layer.hpp"
#include "common/block/lent_layer.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/serving/disk_watch.hpp"

namespace nbdstack {

class CacheLayer final : public Layer {
 public:
  // `watch` checks each request; there is no check if it is null.
  CacheLayer(LayerBelow below, std::shared_ptr<BlockCache> cache, const CacheSettings& settings,
             std::shared_ptr<DiskWatch> watch = nullptr);
  CacheLayer(const CacheLayer&) = delete;
  CacheLayer& operator=(const CacheLayer&) = delete;
  ~CacheLayer() override;

  // Sets the export's name, as in messages.
  void set_name(std::string name) { name_ = std::move(name); }
  // Lends the layer below to background work until the client leaves. Before the first request.
  void lend_below(LentLayers& borrower) { loan_.emplace(*below_, &borrower); }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  std::shared_ptr<const DiskIdentity> identity() override { return (*below_).identity(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void cache(std::uint64_t length, std::uint64_t offset) override;
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;
  // The last client to leave writes back what is unflushed, except in unsafe mode. Earlier ones do
  // not: the connections of one client end together, and each would write back what the others have
  // just changed again. And a client that only queries the size of a disk in use must not make the
  // cache write all unflushed content of that disk's user.
  void finalize() override;

 private:
  [[nodiscard]] bool leave();
  void admit() {
    if (watch_ != nullptr) watch_->admit(*below_);
  }
  void confirm(Durability durability);

  const LayerBelow below_;
  std::shared_ptr<BlockCache> cache_;
  std::shared_ptr<DiskWatch> watch_;
  LayerTraits traits_;
  std::string name_;
  bool is_client_;  // one that may write, and has not left
  std::optional<Loan> loan_;
};

}  // namespace nbdstack
