// What is dirty when the server stops: the last write-back of an export, and what is said of what is
// left.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/sync/clock.hpp"
#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

struct LastWriteBack {
  std::string export_name;  // as messages show it
  std::string cache_dir;    // empty: what is not written back is lost
  CacheMode mode = CacheMode::writeback;
  TimePoint since;     // when the server began to stop
  Duration longest{};  // 0: as long as something gets on

  // Opens the layer below and writes back to it. Returns whether anything is lost; that, and what
  // stays in the directory, is in the log then.
  [[nodiscard]] bool loses_data(BlockCache& cache,
                                const std::function<std::unique_ptr<Layer>()>& open) const;
};

}  // namespace nbdstack
