// One connection to an export with readahead: passes everything on, and reports reads.
#pragma once

#include <memory>
#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "filters/readahead/readahead_export.hpp"

namespace nbdstack {

class ReadaheadLayer final : public ForwardingLayer {
 public:
  // `shared` is null if the layer below cannot cache: then reads are not reported.
  ReadaheadLayer(LayerBelow layer_below, std::shared_ptr<ReadaheadExport> shared)
      : ForwardingLayer(std::move(layer_below)), shared_(std::move(shared)), loan_(below()) {}

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    if (shared_ == nullptr) {
      below().pread(buffer, offset);
      return;
    }
    {
      const Reading reading(*shared_, {offset, buffer.size()}, loan_.layer());
      below().pread(buffer, offset);
    }
    shared_->fetch_for_reader(below());
  }
  // Waits for the fetches in flight for this client; the others are discarded.
  void finalize() override {
    loan_.take_back();
    below().finalize();
  }

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

  const std::shared_ptr<ReadaheadExport> shared_;
  Loan loan_;
};

}  // namespace nbdstack
