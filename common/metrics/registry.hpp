// The metrics of one layer: it gives out cells to count in, and writes all of them as a text in
// Prometheus' format (version 0.0.4 of its text format).
//
// A series (a metric with its labels) exists from its first request on, as long as the registry;
// further requests return the same one. A number that an engine keeps anyway, such as the bytes in
// a cache, is sampled: a function is called whenever the text is written, and the series ends with
// the Sampled that was given for it.
//
// Labels come from outside in one case, the names of exports. These are bounded (kMostExports): a
// client that connects under a million names does not fill the memory.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/metrics/cells.hpp"
#include "common/metrics/metric.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

// Returns `{a="x",b="y"}`, or nothing for no labels. A byte that is no printable ASCII is written
// as \xNN: Prometheus refuses a whole text for one name that is no UTF-8.
std::string label_text(const Labels& labels);

class MetricsRegistry {
 public:
  static constexpr std::size_t kMostExports = 64;
  // Returns the present value, or nothing if there is none: then there is no series either.
  using Sample = std::function<std::optional<double>()>;

  // A series that is sampled until this is destroyed; that waits for a sample under way.
  class Sampled {
   public:
    Sampled() = default;
    Sampled(MetricsRegistry& registry, std::uint64_t id) : registry_(&registry), id_(id) {}
    Sampled(Sampled&& other) noexcept
        : registry_(std::exchange(other.registry_, nullptr)), id_(other.id_) {}
    Sampled& operator=(Sampled&& other) noexcept {
      std::swap(registry_, other.registry_);
      std::swap(id_, other.id_);
      return *this;
    }
    ~Sampled() {
      if (registry_ != nullptr) registry_->end_sample(id_);
    }

   private:
    MetricsRegistry* registry_ = nullptr;
    std::uint64_t id_ = 0;
  };

  MetricsRegistry(std::string stack, std::string layer)
      : stack_(std::move(stack)), layer_(std::move(layer)) {}
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  Counter counter(const Metric& metric, const Labels& labels) EXCLUDES(mutex_);
  Gauge gauge(const Metric& metric, const Labels& labels) EXCLUDES(mutex_);
  Histogram histogram(const Metric& metric, const Labels& labels) EXCLUDES(mutex_);
  // `sample` is called by the thread that writes the text, while samples of this registry are kept
  // from ending: it must not destroy a Sampled, and no lock that it takes is held while one is.
  Sampled sampled(const Metric& metric, const Labels& labels, Sample sample)
      EXCLUDES(samples_mutex_);

  // Returns the label for an export's name: the name, or one for all that come after kMostExports.
  std::string export_label(const std::string& name) EXCLUDES(mutex_);

  std::string text() EXCLUDES(mutex_, samples_mutex_);

 private:
  // Half a megabyte of zeros, of which only the shards of threads that count become memory.
  struct FreeCells {
    void operator()(MetricCell* cells) const { std::free(cells); }
  };
  using Chunk = std::unique_ptr<MetricCell, FreeCells>;
  struct Family {
    const Metric* metric;
    std::map<std::string, MetricCell*> series;  // by the text of their labels
  };
  struct Sampler {
    const Metric* metric;
    std::string labels;
    Sample sample;
  };
  struct ByName {
    bool operator()(const Metric* a, const Metric* b) const {
      return std::string_view(a->name) < std::string_view(b->name);
    }
  };
  using Lines = std::map<const Metric*, std::vector<std::string>, ByName>;

  MetricCell* cells_of(const Metric& metric, const Labels& labels, std::size_t count)
      EXCLUDES(mutex_);
  MetricCell* allocate(std::size_t count) REQUIRES(mutex_);
  [[nodiscard]] std::string full_labels(const Labels& labels) const;
  void end_sample(std::uint64_t id) EXCLUDES(samples_mutex_);
  void add_counted(Lines& lines) EXCLUDES(mutex_);
  void add_sampled(Lines& lines) EXCLUDES(samples_mutex_);

  const std::string stack_;
  const std::string layer_;
  Mutex mutex_;
  std::vector<Chunk> chunks_ GUARDED_BY(mutex_);
  std::size_t used_ GUARDED_BY(mutex_) = kCellsOfShard;  // of the last chunk
  std::vector<Family> families_ GUARDED_BY(mutex_);
  std::vector<std::string> exports_ GUARDED_BY(mutex_);
  Mutex samples_mutex_;
  std::map<std::uint64_t, Sampler> samples_ GUARDED_BY(samples_mutex_);
  std::uint64_t last_sample_ GUARDED_BY(samples_mutex_) = 0;
};

// The registry for an engine, with labels that all its series share; empty if metrics are off.
class Metrics {
 public:
  Metrics() = default;
  Metrics(MetricsRegistry& registry, Labels labels)
      : registry_(&registry), labels_(std::move(labels)) {}

  [[nodiscard]] bool is_on() const { return registry_ != nullptr; }

  [[nodiscard]] Counter counter(const Metric& metric, const Labels& more = {}) const {
    return registry_ == nullptr ? Counter() : registry_->counter(metric, with(more));
  }
  [[nodiscard]] Gauge gauge(const Metric& metric, const Labels& more = {}) const {
    return registry_ == nullptr ? Gauge() : registry_->gauge(metric, with(more));
  }
  [[nodiscard]] Histogram histogram(const Metric& metric, const Labels& more = {}) const {
    return registry_ == nullptr ? Histogram() : registry_->histogram(metric, with(more));
  }
  [[nodiscard]] MetricsRegistry::Sampled sampled(const Metric& metric,
                                                 MetricsRegistry::Sample sample,
                                                 const Labels& more = {}) const {
    if (registry_ == nullptr) return {};
    return registry_->sampled(metric, with(more), std::move(sample));
  }

 private:
  [[nodiscard]] Labels with(const Labels& more) const {
    Labels all = labels_;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  MetricsRegistry* registry_ = nullptr;
  Labels labels_;
};

}  // namespace nbdstack
