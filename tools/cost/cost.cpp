#include "tools/cost/cost.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace nbdstack {
namespace {

constexpr double kGigabyte = 1U << 30U;
constexpr double kThousand = 1000;

constexpr auto kPutOperations = std::to_array<std::string_view>(
    {"PutObject", "CopyObject", "PostObject", "CreateMultipartUpload", "UploadPart",
     "UploadPartCopy", "CompleteMultipartUpload", "ListObjects", "ListObjectsV2",
     "ListObjectVersions", "ListBuckets", "ListMultipartUploads", "ListParts"});
constexpr auto kFreeOperations =
    std::to_array<std::string_view>({"DeleteObject", "DeleteObjects", "AbortMultipartUpload"});

template <typename Words>
bool is_among(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_billed(std::string_view code) {
  return !code.starts_with('5') && code != "301" && code != "307";
}

void add_request(Usage& usage, const Series& series) {
  const std::string_view operation = series.label("op");
  if (is_among(kFreeOperations, operation) || !is_billed(series.label("code"))) {
    usage.free_requests += series.value;
  } else if (is_among(kPutOperations, operation)) {
    usage.put_requests += series.value;
  } else {
    usage.get_requests += series.value;
  }
}

}  // namespace

Usage usage_of(const std::vector<LayerSnapshot>& layers, const std::string& stack) {
  Usage usage;
  for (const LayerSnapshot& layer : layers) {
    if (layer.stack != stack || !layer.is_running) continue;
    if (const Family* const requests = layer.find(metric::kS3Requests)) {
      for (const Series& series : requests->series) add_request(usage, series);
    }
    if (const Family* const received = layer.find(metric::kS3ReceivedBytes)) {
      for (const Series& series : received->series) usage.received_bytes += series.value;
    }
  }
  return usage;
}

Usage operator-(const Usage& later, const Usage& earlier) {
  return {.put_requests = later.put_requests - earlier.put_requests,
          .get_requests = later.get_requests - earlier.get_requests,
          .free_requests = later.free_requests - earlier.free_requests,
          .received_bytes = later.received_bytes - earlier.received_bytes};
}

Cost cost_of(const Usage& usage, const Prices& prices) {
  const double transfer_per_gb = prices.is_transfer_billed ? prices.transfer_per_gb : 0;
  return {.put = usage.put_requests / kThousand * prices.put_per_1000,
          .get = usage.get_requests / kThousand * prices.get_per_1000,
          .transfer = usage.received_bytes / kGigabyte * transfer_per_gb};
}

double storage_a_month(double stored_bytes, const Prices& prices) {
  return stored_bytes / kGigabyte * prices.storage_per_gb_month;
}

}  // namespace nbdstack
