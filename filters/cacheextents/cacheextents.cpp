// The cacheextents filter: its parameters, and the state that the connections to an export share
// (cacheextents_layer.hpp describes it).
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "common/block/disk_registry.hpp"
#include "common/block/exclusive_layer.hpp"
#include "common/error.hpp"
#include "common/log.hpp"
#include "common/nbdkit/exports_parameter.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/quoted_name.hpp"
#include "filters/cacheextents/cacheextents_layer.hpp"

// Set by nbdkit for -D cacheextents.verbose=1, before the filter is configured.
extern "C" __attribute__((visibility("default"))) int cacheextents_debug_verbose;
int cacheextents_debug_verbose = 0;

namespace nbdstack {
namespace {

class CacheextentsFilter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {"cacheextents", "nbdstack cacheextents filter",
            "remember which ranges are data and which are holes"};
  }

  ParameterTable parameters() override {
    return ParameterTable({
        number_parameter("cacheextents-max-runs", max_runs_, 1000, 100'000'000,
                         "runs of data or holes that are remembered"),
        bool_parameter("cacheextents-scan", scan_, "ask about the whole disk in the background"),
        exports_parameter("cacheextents", exports_),
    });
  }

  void after_fork(Backend& backend) override { backend_ = &backend; }

  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override {
    const LayerTraits& traits = below.traits();
    const ShownDisk disk = ShownDisk::of(below);
    const auto state =
        disks_.find_or_make(request, disk, [&] { return make_state(below, disk, request); });
    const bool verbose = cacheextents_debug_verbose != 0;
    if (traits.parallel || state->scan == nullptr) {
      return std::make_unique<CacheextentsLayer>(below, state, verbose);
    }
    return std::make_unique<CacheextentsLayer>(
        std::make_unique<ExclusiveLayer>(below, state->one_call_below), state, verbose);
  }

  void cleanup(Backend& /*backend*/) override {
    for (const auto& [name, state] : disks_.all()) state->scan.reset();
  }

 private:
  std::shared_ptr<CacheextentsState> make_state(Layer& below, const ShownDisk& disk,
                                                const OpenRequest& request) {
    auto made = std::make_shared<CacheextentsState>(max_runs_, disk.size_bytes, disk.identity);
    if (!scan_ || !below.traits().can_extents) return made;
    if (!default_export_may_be(request, disk, exports_)) return made;
    if (backend_->serves_beside_clients()) {
      start_scan(*made, disk, quoted_name(request.export_name));
    } else {
      log::debug(
          "cacheextents: the disk is not looked through: only one connection at a time may "
          "be open below");
    }
    return made;
  }

  void start_scan(CacheextentsState& state, const ShownDisk& disk, const std::string& name) {
    auto open_below = [this, &state, disk]() -> std::unique_ptr<Layer> {
      auto below = backend_->open_default_export();
      if (!ShownDisk::of(*below).is(disk))
        throw Error(EINVAL, "the default export is another disk");
      if (below->traits().parallel) return below;
      return std::make_unique<ExclusiveLayer>(std::move(below), state.one_call_below);
    };
    state.start_scan("cacheextents: export " + name, std::move(open_below));
  }

  unsigned max_runs_ = 1'000'000;
  bool scan_ = false;

  Backend* backend_ = nullptr;  // from after_fork on
  ExportRule exports_ = ExportRule::found_out;
  DiskRegistry<CacheextentsState> disks_{{.filter = "cacheextents"}, exports_};
};

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::CacheextentsFilter)
