// A cache without content, driven by a trace: what does a policy keep?
//
// Every block that a request touches is asked for once: a hit if it is cached; a miss if it is not,
// and then it takes the place of a victim. Everything may go at any time, so the figures are the
// policy's alone: no dirty blocks, no fills, no time.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/policy_replay/trace.hpp"
#include "filters/cache/policy/eviction_policy.hpp"

namespace nbdstack {

// A reader of the whole disk from its start to its end, as a backup is, at an even speed while the
// middle half of the trace runs.
struct Scan {
  std::uint64_t request_bytes = 0;  // 0: there is none
};

// The result of the trace's requests; those of the scan are not counted.
struct ReplayResult {
  std::uint64_t accesses = 0;
  std::uint64_t misses = 0;
  std::uint64_t read_misses = 0;  // of the misses, those of reads
};

// The cache has room for cache_bytes / block_size blocks, at least one. block_size is a power of
// two.
ReplayResult replay(const Trace& trace, std::unique_ptr<EvictionPolicy> policy,
                    std::uint64_t cache_bytes, std::uint32_t block_size, Scan scan);

}  // namespace nbdstack
