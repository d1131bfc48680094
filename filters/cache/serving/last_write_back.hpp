// The last write-back of an export when the server stops, and the messages about dirty content that
// is left.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/sync/clock.hpp"
#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

struct LastWriteBack {
  std::string export_name;  // as in messages
  std::string cache_dir;    // if empty, content that is not written back is lost
  CacheMode mode = CacheMode::writeback;
  TimePoint since;     // when the server began to stop
  Duration longest{};  // no bound while there is progress if 0

  // Opens the layer below and writes back to it. Returns whether anything is lost. That, and what
  // stays in the directory, is logged.
  [[nodiscard]] bool loses_data(BlockCache& cache,
                                const std::function<std::unique_ptr<Layer>()>& open) const;
};

}  // namespace nbdstack
