// All metrics of nbdstack, each named once: the measurements of a stack, in Prometheus' terms.
// man/nbdstack-metrics.pod explains each to operators, and a test holds that page against this
// file.
//
// Names follow Prometheus' conventions: counters end in _total, units are base units (seconds,
// bytes), and points in time are timestamps, so that an age is `time() - x` whenever it is asked.
// All have the labels `stack` and `layer`, which their registry adds.
#pragma once

#include <cstdint>

namespace nbdstack {

enum class MetricKind : std::uint8_t { counter, gauge, histogram };

// Combines two values of one series.
enum class Together : std::uint8_t { sum, smallest };

struct Metric {
  const char* name;
  MetricKind kind;
  const char* help;
  Together together = Together::sum;
};

namespace metric {

// clang-format off

// --- Of each layer: its clients' requests, and those that it sends below (labels: export, op) ---
inline constexpr Metric kRequests{"nbdstack_requests_total", MetricKind::counter,
    "Requests that the layer has answered"};
inline constexpr Metric kRequestBytes{"nbdstack_request_bytes_total", MetricKind::counter,
    "Bytes of the requests that the layer has answered with success"};
inline constexpr Metric kRequestErrors{"nbdstack_request_errors_total", MetricKind::counter,
    "Requests that the layer has answered with an error"};
inline constexpr Metric kRequestSeconds{"nbdstack_request_duration_seconds", MetricKind::histogram,
    "How long requests took in the layer and below it; a filter measures one of 31 reads and writes"};
inline constexpr Metric kConnections{"nbdstack_connections", MetricKind::gauge,
    "Clients that are connected to the export"};
inline constexpr Metric kLayersBelow{"nbdstack_layers_below", MetricKind::gauge,
    "Layers of nbdstack below this one: clients see the layer of a stack that has the most"};
inline constexpr Metric kBelowRequests{"nbdstack_below_requests_total", MetricKind::counter,
    "Requests that the filter has sent to the layer below, without those that failed"};
inline constexpr Metric kBelowBytes{"nbdstack_below_bytes_total", MetricKind::counter,
    "Bytes of these requests"};

// --- The cache filter (label: export) ---
inline constexpr Metric kCacheHits{"nbdstack_cache_hits_total", MetricKind::counter,
    "Reads that found all their bytes in the cache"};
inline constexpr Metric kCacheMisses{"nbdstack_cache_misses_total", MetricKind::counter,
    "Reads that needed the layer below, or a fetch that was under way"};
inline constexpr Metric kCacheEvictions{"nbdstack_cache_evictions_total", MetricKind::counter,
    "Blocks that have left the cache to make room"};
inline constexpr Metric kCacheBytes{"nbdstack_cache_bytes", MetricKind::gauge,
    "Bytes in the cache"};
inline constexpr Metric kCacheLimitBytes{"nbdstack_cache_limit_bytes", MetricKind::gauge,
    "The bound on the bytes in the cache; no series without a bound"};
inline constexpr Metric kCacheDirtyBytes{"nbdstack_cache_dirty_bytes", MetricKind::gauge,
    "Bytes that the layer below does not have yet"};
inline constexpr Metric kCacheOldestDirty{"nbdstack_cache_oldest_dirty_timestamp_seconds", MetricKind::gauge,
    "When the oldest of the dirty blocks became dirty; no series while nothing is dirty",
    Together::smallest};

// --- The md5 filter (label: export) ---
inline constexpr Metric kMd5VerifiedBytes{"nbdstack_md5_verified_bytes_total", MetricKind::counter,
    "Bytes of blocks that were read and are what was last written"};
inline constexpr Metric kMd5Mismatches{"nbdstack_md5_mismatches_total", MetricKind::counter,
    "Blocks that differed when they were read, and were read again"};
inline constexpr Metric kMd5Failures{"nbdstack_md5_failures_total", MetricKind::counter,
    "Blocks that differed as long as they were read again: the client got an error"};

// --- The readahead filter (label: export) ---
inline constexpr Metric kReadaheadSentBytes{"nbdstack_readahead_prefetched_bytes_total",
    MetricKind::counter, "Bytes that the layer below was asked to fetch ahead"};
inline constexpr Metric kReadaheadUsedBytes{"nbdstack_readahead_used_bytes_total",
    MetricKind::counter, "Bytes of these that a client has read since"};

// --- The s3 plugin. Requests are counted as they are sent: each attempt of each operation. `op` is
// S3's name of it (GetObject), `code` the status of the answer, or "none" without one. ---
inline constexpr Metric kS3Requests{"nbdstack_s3_requests_total", MetricKind::counter,
    "Requests that were sent to the service, by operation and status"};
inline constexpr Metric kS3SentBytes{"nbdstack_s3_sent_bytes_total", MetricKind::counter,
    "Bytes of the bodies of requests"};
inline constexpr Metric kS3ReceivedBytes{"nbdstack_s3_received_bytes_total", MetricKind::counter,
    "Bytes of the bodies of answers"};
inline constexpr Metric kS3Seconds{"nbdstack_s3_request_duration_seconds", MetricKind::histogram,
    "How long requests to the service took, without the pauses before another attempt"};
inline constexpr Metric kS3Retries{"nbdstack_s3_retries_total", MetricKind::counter,
    "Attempts after the first one of an operation"};
inline constexpr Metric kS3Volume{"nbdstack_s3_volume_info", MetricKind::gauge,
    "1; the labels place (the URL of the bucket) and key tell which volume is served"};
inline constexpr Metric kS3LeaseSeconds{"nbdstack_s3_lease_remaining_seconds", MetricKind::gauge,
    "How long the server may write before it must have renewed its lease; below zero it may not write",
    Together::smallest};

// --- What nbdstack-metrics adds of each layer ---
inline constexpr Metric kUp{"nbdstack_up", MetricKind::gauge,
    "1 while the layer's server runs, 0 if it was killed"};
inline constexpr Metric kUnreadable{"nbdstack_unreadable", MetricKind::gauge,
    "1 if the layer's file is not what a layer writes, and is left out"};
inline constexpr Metric kConflictingFamilies{"nbdstack_conflicting_families", MetricKind::gauge,
    "Metrics of the layer that another layer has as another kind, and that are left out"};
// --- Of each stack, by `class`: put, get, transfer ---
inline constexpr Metric kCost{"nbdstack_cost_dollars_total", MetricKind::counter,
    "What the stack's requests and transfers have cost by the table of prices"};

// clang-format on

}  // namespace metric
}  // namespace nbdstack
