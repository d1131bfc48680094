#include "common/block/extent_scan.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

ExtentScan::ExtentScan(Settings settings, const KnownRanges& known,
                       std::unique_ptr<BackgroundBelow> below, Step step)
    : settings_(std::move(settings)),
      known_(known),
      below_(std::move(below)),
      step_(std::move(step)) {
  try {
    thread_.start([this](StoppableThread& self) { main(self); });
  } catch (const std::exception& error) {  // std::system_error, std::bad_alloc
    ended_ = true;
    log::error("{}: no thread could be started to ask about the disk: {}", settings_.name,
               error.what());
  }
}

void ExtentScan::main(StoppableThread& self) {
  try {
    scan(self);
  } catch (const Error& error) {
    log::debug("{}: the scan was given up: {}", settings_.name, error.reason());
  } catch (const std::exception& error) {
    log::debug("{}: the scan was given up: {}", settings_.name, error.what());
  }
  below_.reset();
  ended_ = true;
  ended_.notify_all();
}

void ExtentScan::scan(StoppableThread& self) {
  bool has_failed = false;  // at this position
  for (std::size_t queries = 0; position_ < settings_.size_bytes;) {
    if (self.is_stopping()) return;
    if (known_.has_forgotten() || queries == kQueriesMax) {
      log::debug(
          "{}: the scan ends at {} of {} bytes: {}", settings_.name, position_,
          settings_.size_bytes,
          queries == kQueriesMax ? "it takes too many queries" : "there is no room for more");
      return;
    }
    try {
      if (!below_->with([&](Layer& below) { advance(below); })) {
        self.pause();
        continue;
      }
      ++queries;
      has_failed = false;
    } catch (const Error&) {
      if (std::exchange(has_failed, true) || settings_.ends_at_failure()) throw;
      below_->take_another();
    }
  }
  log::debug("{}: the scan is complete, {} runs are known", settings_.name, known_.runs());
}

// Queries begin at multiples of the smallest block of the layer below, though a reply may end
// within one. No query begins where the last one did, so that replies that add nothing do not
// keep the scan in a loop.
void ExtentScan::advance(Layer& below) {
  const std::uint64_t block = std::max(below.traits().minimum_block_size, 1U);
  const std::uint64_t told = step_(below, position_);
  position_ = told >= settings_.size_bytes ? settings_.size_bytes
                                           : std::max(position_ + block, told / block * block);
}

}  // namespace nbdstack
