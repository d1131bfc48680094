// One connection's view of an export that is read ahead: everything passes, reads are noticed.
#pragma once

#include <memory>
#include <utility>

#include "common/block/layer.hpp"
#include "filters/readahead/readahead_export.hpp"

namespace nbdstack {

class ReadaheadLayer final : public Layer {
 public:
  // Without `shared`, where the layer below cannot cache, nothing is noticed either.
  ReadaheadLayer(Layer& below, std::shared_ptr<ReadaheadExport> shared)
      : below_(below), shared_(std::move(shared)), lent_(std::make_shared<LentLayer>(below)) {}
  ~ReadaheadLayer() override { lent_->take_back(); }

  [[nodiscard]] const LayerTraits& traits() const override { return below_.traits(); }
  std::shared_ptr<const DiskIdentity> identity() override { return below_.identity(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    if (shared_ == nullptr) {
      below_.pread(buffer, offset);
      return;
    }
    {
      const Reading reading(*shared_, {offset, buffer.size()}, lent_);
      below_.pread(buffer, offset);
    }
    shared_->fetch_for_reader(below_);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    below_.pwrite(buffer, offset, durability);
  }
  void flush() override { below_.flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    below_.zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    below_.trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { below_.cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    below_.extents(length, offset, only_one, extents);
  }
  // What is being fetched for this client is waited for, and the rest is dropped.
  void finalize() override { lent_->take_back(); }

 private:
  // A read from its beginning to its end, however it ends.
  class Reading {
   public:
    Reading(ReadaheadExport& shared, const Range& range, const std::shared_ptr<LentLayer>& below)
        : shared_(shared), range_(range) {
      shared_.read_begins(range_, below);
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { shared_.read_ends(range_); }

   private:
    ReadaheadExport& shared_;
    const Range range_;
  };

  Layer& below_;
  const std::shared_ptr<ReadaheadExport> shared_;
  const std::shared_ptr<LentLayer> lent_;
};

}  // namespace nbdstack
