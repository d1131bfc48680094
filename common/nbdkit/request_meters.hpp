// The boundary's counts of requests, whichever layer answers them: those of clients, and those that
// a filter sends below.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/metrics/cells.hpp"
#include "common/metrics/registry.hpp"
#include "common/metrics/thread_shard.hpp"

namespace nbdstack {

// One kind of request of one export.
class RequestMeter {
 public:
  enum class Measures : std::uint8_t { each, some };

  RequestMeter() = default;
  RequestMeter(const Metrics& metrics, const char* op, Measures measures)
      : is_on_(metrics.is_on()),
        measures_(measures),
        requests_(metrics.counter(metric::kRequests, {{"op", op}})),
        bytes_(metrics.counter(metric::kRequestBytes, {{"op", op}})),
        errors_(metrics.counter(metric::kRequestErrors, {{"op", op}})),
        duration_(metrics.histogram(metric::kRequestSeconds, {{"op", op}})) {}

  // Calls `answer`, which returns 0 or an errno, and returns that.
  template <typename Answer>
  int measured(std::uint64_t bytes, Answer&& answer) const {
    if (!is_on_) return answer();
    std::optional<std::chrono::steady_clock::time_point> begin;
    if (measures_ == Measures::each || ThreadShard::of_this_thread().is_sample()) {
      begin = std::chrono::steady_clock::now();
    }
    const int code = answer();
    if (begin) duration_.observe(std::chrono::steady_clock::now() - *begin);
    requests_.add();
    if (code == 0) {
      bytes_.add(bytes);
    } else {
      errors_.add();
    }
    return code;
  }

 private:
  bool is_on_ = false;
  Measures measures_ = Measures::each;
  Counter requests_;
  Counter bytes_;
  Counter errors_;
  Histogram duration_;
};

// All kinds of one export. Reads and writes may be answered from memory in a few microseconds.
struct RequestMeters {
  RequestMeters() = default;
  RequestMeters(const Metrics& metrics, RequestMeter::Measures measures)
      : reads(metrics, "read", measures),
        writes(metrics, "write", measures),
        flushes(metrics, "flush", RequestMeter::Measures::each),
        trims(metrics, "trim", RequestMeter::Measures::each),
        zeros(metrics, "zero", RequestMeter::Measures::each),
        extents(metrics, "extents", RequestMeter::Measures::each),
        cache(metrics, "cache", RequestMeter::Measures::each),
        connections(metrics.gauge(metric::kConnections)) {}

  RequestMeter reads;
  RequestMeter writes;
  RequestMeter flushes;
  RequestMeter trims;
  RequestMeter zeros;
  RequestMeter extents;
  RequestMeter cache;
  Gauge connections;
};

// Requests of one kind that a filter sends below.
struct BelowMeter {
  BelowMeter() = default;
  BelowMeter(const Metrics& metrics, const char* op)
      : requests(metrics.counter(metric::kBelowRequests, {{"op", op}})),
        bytes(metrics.counter(metric::kBelowBytes, {{"op", op}})) {}

  void count(std::uint64_t length) const {
    requests.add();
    bytes.add(length);
  }

  Counter requests;
  Counter bytes;
};

struct BelowMeters {
  BelowMeters() = default;
  explicit BelowMeters(const Metrics& metrics)
      : reads(metrics, "read"),
        writes(metrics, "write"),
        flushes(metrics, "flush"),
        trims(metrics, "trim"),
        zeros(metrics, "zero") {}

  BelowMeter reads;
  BelowMeter writes;
  BelowMeter flushes;
  BelowMeter trims;
  BelowMeter zeros;
};

// A client that is there, from its open to its close.
class ConnectionMeter {
 public:
  explicit ConnectionMeter(const Gauge& connections) : connections_(connections) {
    connections_.add(1);
  }
  ConnectionMeter(const ConnectionMeter&) = delete;
  ConnectionMeter& operator=(const ConnectionMeter&) = delete;
  ~ConnectionMeter() { connections_.add(-1); }

 private:
  const Gauge connections_;
};

}  // namespace nbdstack
