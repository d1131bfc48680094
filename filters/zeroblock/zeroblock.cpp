// nbdkit-zeroblock-filter: its parameters, and a ZeroBlockLayer for each connection
// (man/nbdkit-zeroblock-filter.pod; zeroblock_layer.hpp describes it).
#include <memory>
#include <string>
#include <utility>

#include "common/block/block_size.hpp"
#include "common/block/disk_registry.hpp"
#include "common/block/exclusive_layer.hpp"
#include "common/nbdkit/exports_parameter.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/server_stop.hpp"
#include "common/sync/mutex.hpp"
#include "filters/zeroblock/zeroblock_layer.hpp"

// Set by nbdkit for -D zeroblock.verbose=1, before the filter is configured.
extern "C" __attribute__((visibility("default"))) int zeroblock_debug_verbose;
int zeroblock_debug_verbose = 0;

namespace nbdstack {
namespace {

class ZeroBlockFilter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {.name = "zeroblock",
            .longname = "nbdstack zeroblock filter",
            .description = "Neither stores, sends nor fetches blocks of zeros."};
  }

  ParameterTable parameters() override {
    return ParameterTable({
        size_parameter("zeroblock-size", block_size_,
                       {.minimum = 512, .maximum = 32U << 20U, .power_of_two = true},
                       "what the layer below prefers, else 64K", "bytes of a block"),
        bool_parameter("zeroblock-scan", scan_,
                       "ask the layer below for all of its holes in the background"),
        exports_parameter("zeroblock", exports_),
    });
  }

  void after_fork(Backend& /*backend*/) override {
    if (scan_) stop_ = std::make_unique<ServerStop>();
  }

  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override;

  // The layer below is about to end. Scans have ended with their clients; this makes sure.
  void cleanup(Backend& /*backend*/) override {
    for (const auto& [name, state] : disks_.all()) {
      if (state->scan != nullptr) state->scan->stop();
    }
  }

 private:
  [[nodiscard]] std::shared_ptr<ZeroBlockState> make_state(const LayerTraits& traits,
                                                           const ShownDisk& disk) const;

  std::uint64_t block_size_ = 0;  // 0 if not given
  bool scan_ = true;
  std::unique_ptr<ServerStop> stop_;  // from after_fork on, with a scan

  // If the layer below takes one call at a time, perhaps over all connections to all exports,
  // clients and scans share this.
  Mutex one_call_below_;
  ExportRule exports_ = ExportRule::found_out;
  DiskRegistry<ZeroBlockState> disks_{{.filter = "zeroblock"}, exports_};
};

std::shared_ptr<ZeroBlockState> ZeroBlockFilter::make_state(const LayerTraits& traits,
                                                            const ShownDisk& disk) const {
  const std::uint32_t size =
      block_size_over(traits, static_cast<std::uint32_t>(block_size_), "zeroblock-size");
  auto state =
      std::make_shared<ZeroBlockState>(traits, size, zeroblock_debug_verbose != 0, disk.identity);
  if (scan_ && traits.can_extents) state->start_scan([this] { return stop_->has_begun(); });
  return state;
}

std::unique_ptr<Layer> ZeroBlockFilter::open(Layer& below, const OpenRequest& request) {
  const LayerTraits& traits = below.traits();
  const ShownDisk disk = ShownDisk::of(below);
  auto state = disks_.find_or_make(request, disk, [&] { return make_state(traits, disk); });
  if (traits.parallel || !scan_) {
    return std::make_unique<ZeroBlockLayer>(below, std::move(state));
  }
  return std::make_unique<ZeroBlockLayer>(std::make_unique<ExclusiveLayer>(below, one_call_below_),
                                          std::move(state));
}

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::ZeroBlockFilter)
