// The metrics of one cache.
#pragma once

#include <memory>
#include <vector>

#include "common/metrics/registry.hpp"
#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

// Returns series that are sampled for as long as they are kept, and as the cache lives.
std::vector<MetricsRegistry::Sampled> cache_metrics(const Metrics& metrics,
                                                    const std::weak_ptr<BlockCache>& cache);

}  // namespace nbdstack
