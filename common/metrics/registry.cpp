#include "common/metrics/registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "common/invariant.hpp"

namespace nbdstack {
namespace {

constexpr double kNanosecond = 1e-9;
constexpr const char* kOtherExports = "(others)";

const char* kind_text(MetricKind kind) {
  switch (kind) {
    case MetricKind::counter:
      return "counter";
    case MetricKind::gauge:
      return "gauge";
    case MetricKind::histogram:
      return "histogram";
  }
  return "";
}

std::uint64_t sum_of_shards(MetricCell* cell) {
  std::uint64_t sum = 0;
  for (std::size_t shard = 0; shard < kShards; ++shard) {
    const std::atomic_ref<MetricCell> one(cell[shard * kCellsOfShard]);
    sum += one.load(std::memory_order_relaxed);
  }
  return sum;
}

// `labels` ends with '}'; one more is added.
std::string with_bound(const std::string& labels, const std::string& bound) {
  return fmt::format("{},le=\"{}\"}}", std::string_view(labels).substr(0, labels.size() - 1),
                     bound);
}

// A bucket includes the counts of all before it. The total is that of the last one, so that both
// agree whatever is counted meanwhile.
void add_histogram(std::vector<std::string>& lines, const char* name, const std::string& labels,
                   MetricCell* cells) {
  std::uint64_t count = 0;
  for (std::size_t bucket = 0; bucket < Histogram::kBuckets; ++bucket) {
    count += sum_of_shards(cells + bucket);
    const bool is_last = bucket + 1 == Histogram::kBuckets;
    const std::string bound =
        is_last ? "+Inf"
                : fmt::format(
                      "{}", static_cast<double>(Histogram::end_of_bucket_ns(bucket)) * kNanosecond);
    lines.push_back(fmt::format("{}_bucket{} {}\n", name, with_bound(labels, bound), count));
  }
  const auto sum_ns = static_cast<double>(sum_of_shards(cells + Histogram::kBuckets));
  lines.push_back(fmt::format("{}_sum{} {}\n", name, labels, sum_ns * kNanosecond));
  lines.push_back(fmt::format("{}_count{} {}\n", name, labels, count));
}

}  // namespace

std::string label_text(const Labels& labels) {
  if (labels.empty()) return {};
  std::string text = "{";
  for (const auto& [name, value] : labels) {
    text += text.size() == 1 ? "" : ",";
    text += name;
    text += "=\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        text += '\\';
        text += c;
      } else if (c >= ' ' && c <= '~') {
        text += c;
      } else {
        text += fmt::format("\\\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
    text += '"';
  }
  return text + "}";
}

std::string MetricsRegistry::full_labels(const Labels& labels) const {
  Labels all{{"stack", stack_}, {"layer", layer_}};
  all.insert(all.end(), labels.begin(), labels.end());
  return label_text(all);
}

Counter MetricsRegistry::counter(const Metric& metric, const Labels& labels) {
  INVARIANT(metric.kind == MetricKind::counter);
  return Counter(cells_of(metric, labels, 1));
}

Gauge MetricsRegistry::gauge(const Metric& metric, const Labels& labels) {
  INVARIANT(metric.kind == MetricKind::gauge);
  return Gauge(cells_of(metric, labels, 1));
}

Histogram MetricsRegistry::histogram(const Metric& metric, const Labels& labels) {
  INVARIANT(metric.kind == MetricKind::histogram);
  return Histogram(cells_of(metric, labels, Histogram::kCells));
}

MetricCell* MetricsRegistry::cells_of(const Metric& metric, const Labels& labels,
                                      std::size_t count) {
  const std::string text = full_labels(labels);
  const MutexLock lock(mutex_);
  auto family = std::find_if(families_.begin(), families_.end(),
                             [&](const Family& one) { return one.metric == &metric; });
  if (family == families_.end()) family = families_.insert(family, {&metric, {}});
  MetricCell*& cells = family->series[text];
  if (cells == nullptr) cells = allocate(count);
  return cells;
}

MetricCell* MetricsRegistry::allocate(std::size_t count) {
  if (used_ + count > kCellsOfShard) {
    Chunk chunk(static_cast<MetricCell*>(std::calloc(kShards * kCellsOfShard, sizeof(MetricCell))));
    if (chunk == nullptr) throw std::bad_alloc();
    chunks_.push_back(std::move(chunk));
    used_ = 0;
  }
  MetricCell* const cells = chunks_.back().get() + used_;
  used_ += count;
  return cells;
}

MetricsRegistry::Sampled MetricsRegistry::sampled(const Metric& metric, const Labels& labels,
                                                  Sample sample) {
  INVARIANT(metric.kind != MetricKind::histogram);
  std::string text = full_labels(labels);
  const MutexLock lock(samples_mutex_);
  samples_.emplace(++last_sample_, Sampler{&metric, std::move(text), std::move(sample)});
  return {*this, last_sample_};
}

void MetricsRegistry::end_sample(std::uint64_t id) {
  const MutexLock lock(samples_mutex_);
  samples_.erase(id);
}

std::string MetricsRegistry::export_label(const std::string& name) {
  const MutexLock lock(mutex_);
  if (std::find(exports_.begin(), exports_.end(), name) != exports_.end()) return name;
  if (exports_.size() == kMostExports) return kOtherExports;
  exports_.push_back(name);
  return name;
}

void MetricsRegistry::add_counted(Lines& lines) {
  const MutexLock lock(mutex_);
  for (const Family& family : families_) {
    auto& own = lines[family.metric];
    for (const auto& [labels, cells] : family.series) {
      if (family.metric->kind == MetricKind::histogram) {
        add_histogram(own, family.metric->name, labels, cells);
      } else {
        const std::uint64_t sum = sum_of_shards(cells);
        const std::string value = family.metric->kind == MetricKind::gauge
                                      ? fmt::format("{}", static_cast<std::int64_t>(sum))
                                      : fmt::format("{}", sum);
        own.push_back(fmt::format("{}{} {}\n", family.metric->name, labels, value));
      }
    }
  }
}

// Two samples may be of one series, such as the states of two disks whose exports share a label. A
// series that comes twice makes the whole text invalid.
void MetricsRegistry::add_sampled(Lines& lines) {
  std::map<std::pair<const Metric*, std::string>, double> values;
  {
    const MutexLock lock(samples_mutex_);
    for (const auto& [id, sampler] : samples_) {
      const auto value = sampler.sample();
      if (!value) continue;
      const auto [series, is_new] = values.try_emplace({sampler.metric, sampler.labels}, *value);
      if (is_new) continue;
      series->second = sampler.metric->together == Together::sum ? series->second + *value
                                                                 : std::min(series->second, *value);
    }
  }
  for (const auto& [series, value] : values) {
    const auto& [metric, labels] = series;
    lines[metric].push_back(fmt::format("{}{} {}\n", metric->name, labels, value));
  }
}

std::string MetricsRegistry::text() {
  Lines lines;
  add_counted(lines);
  add_sampled(lines);
  std::string text;
  for (const auto& [metric, own] : lines) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric->name, metric->help, metric->name,
                        kind_text(metric->kind));
    for (const std::string& line : own) text += line;
  }
  return text;
}

}  // namespace nbdstack
