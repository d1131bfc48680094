// The cacheextents filter: parameters, and what the connections to an export share. What it does
// stands in cacheextents_layer.hpp.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "common/block/exclusive_layer.hpp"
#include "common/log.hpp"
#include "common/nbdkit/export_registry.hpp"
#include "common/nbdkit/filter.hpp"
#include "filters/cacheextents/cacheextents_layer.hpp"
#include "filters/cacheextents/extents_walk.hpp"

// Set by nbdkit for -D cacheextents.verbose=1, before the filter is configured.
extern "C" __attribute__((visibility("default"))) int cacheextents_debug_verbose;
int cacheextents_debug_verbose = 0;

namespace nbdstack {
namespace {

struct CacheextentsExport {
  CacheextentsExport(std::size_t max_runs, std::uint64_t size)
      : known(std::make_shared<KnownExtents>(max_runs)), size_bytes(size) {}

  const std::shared_ptr<KnownExtents> known;
  std::atomic<std::uint64_t> size_bytes;  // when it was last opened
  std::mutex one_call_below;  // where the layer below takes no more, and the walk calls it too
  std::unique_ptr<ExtentsWalk> walk;  // before what it uses goes
};

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
    });
  }

  void after_fork(Backend& backend) override { backend_ = &backend; }

  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override {
    const LayerTraits& traits = below.traits();
    const auto state = exports_.find_or_make(request.export_name, [&] {
      auto made = std::make_shared<CacheextentsExport>(max_runs_, traits.size_bytes);
      if (scan_ && traits.can_extents && is_default_export(request.export_name)) {
        start_walk(*made, request.export_name);
      }
      return made;
    });
    forget_if_resized(*state, traits.size_bytes);
    const bool verbose = cacheextents_debug_verbose != 0;
    if (traits.parallel || state->walk == nullptr) {
      return std::make_unique<CacheextentsLayer>(below, state->known, verbose);
    }
    return std::make_unique<CacheextentsLayer>(
        std::make_unique<ExclusiveLayer>(below, state->one_call_below), state->known, verbose);
  }

  void cleanup(Backend& /*backend*/) override {
    for (const auto& [name, state] : exports_.all()) state->walk.reset();
  }

 private:
  void start_walk(CacheextentsExport& state, const std::string& export_name) {
    auto open_below = [this, &state]() -> std::unique_ptr<Layer> {
      auto below = backend_->open_default_export();
      if (below->traits().parallel) return below;
      return std::make_unique<ExclusiveLayer>(std::move(below), state.one_call_below);
    };
    state.walk = std::make_unique<ExtentsWalk>(*state.known, export_name, std::move(open_below));
  }

  // Somebody else has made the disk longer or shorter, and nobody knows what else he did.
  static void forget_if_resized(CacheextentsExport& state, std::uint64_t size_bytes) {
    const std::uint64_t before = state.size_bytes.exchange(size_bytes);
    if (before == size_bytes) return;
    log::debug("cacheextents: the disk was {} bytes long and is {} now: all is forgotten", before,
               size_bytes);
    const KnownExtents::Change everything(*state.known, {0, std::max(before, size_bytes)});
  }

  unsigned max_runs_ = 1'000'000;
  bool scan_ = false;

  Backend* backend_ = nullptr;  // from after_fork on
  ExportRegistry<CacheextentsExport> exports_;
};

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::CacheextentsFilter)
