#include "filters/readahead/recent_reads.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>

namespace nbdstack {
namespace {

constexpr std::size_t kReadsOfStride = 5;
constexpr std::uint64_t kStride_bytes_max = 16ULL << 20U;
// Room for the reads of a stride, and for some other reads, for each stream.
constexpr std::size_t kRememberedPerStream = 8;
// A sequence is searched among the latest of these.
constexpr std::size_t kFreshPerStream = 4;
// The weight of pairs in order, minus those out of order: two pairs in rhythm, or three.
constexpr int kEvidence = 5;
constexpr int kWeightOfPair = 2;
constexpr int kWeightOfRhythm = 1;
constexpr std::int64_t kRhythmSlack_arrivals = 1;  // for irregular other reads

// Returns whether `second` begins at the end of `first`, or near it.
bool adjoin(const Range& first, const Range& second) {
  const std::uint64_t slack = second.length / 4;
  return second.offset + slack >= first.end() && second.offset <= first.end() + slack;
}

std::uint64_t distance(const Range& a, const Range& b) {
  return a.offset < b.offset ? b.offset - a.offset : a.offset - b.offset;
}

}  // namespace

RecentReads::RecentReads(std::size_t streams) : reads_(streams * kRememberedPerStream) {}

std::optional<AccessPattern> RecentReads::add(const Range& range) {
  const Read read{range, ++arrivals_};
  if (const auto pattern = find_sequence(read)) return pattern;
  if (const auto pattern = find_stride(read)) return pattern;
  reads_[oldest_] = read;
  oldest_ = (oldest_ + 1) % reads_.size();
  return std::nullopt;
}

bool RecentReads::is_fresh(const Read& read) const {
  return !read.range.empty() &&
         read.arrival + reads_.size() * kFreshPerStream / kRememberedPerStream >= arrivals_;
}

RecentReads::Read* RecentReads::nearest_below(const Range& range) {
  Read* nearest = nullptr;
  for (Read& read : reads_) {
    if (read.range.offset >= range.offset || !is_fresh(read) || !adjoin(read.range, range))
      continue;
    if (nearest == nullptr || nearest->range.offset < read.range.offset) nearest = &read;
  }
  return nearest;
}

RecentReads::Read* RecentReads::nearest_above(const Range& range) {
  Read* nearest = nullptr;
  for (Read& read : reads_) {
    if (read.range.offset <= range.offset || !is_fresh(read) || !adjoin(range, read.range))
      continue;
    if (nearest == nullptr || nearest->range.offset > read.range.offset) nearest = &read;
  }
  return nearest;
}

std::optional<AccessPattern> RecentReads::find_sequence(const Read& read) {
  std::vector<Read*> below;
  for (Read* next = nearest_below(read.range); next != nullptr; next = nearest_below(next->range)) {
    below.push_back(next);
  }
  std::vector<Read*> above;
  for (Read* next = nearest_above(read.range); next != nullptr; next = nearest_above(next->range)) {
    above.push_back(next);
  }
  if (below.empty() && above.empty()) return std::nullopt;
  std::vector<Read> chain;  // from the lowest on
  std::transform(below.rbegin(), below.rend(), std::back_inserter(chain),
                 [](const Read* next) { return *next; });
  chain.push_back(read);
  for (const Read* next : above) chain.push_back(*next);

  const int evidence = evidence_for_forward(chain);
  if (std::abs(evidence) < kEvidence) return std::nullopt;
  for (Read* other : below) *other = {};
  for (Read* other : above) *other = {};
  if (evidence > 0) return AccessPattern{.next = chain.back().range.end()};
  return AccessPattern{.direction = Direction::backward,
                       .next = along(Direction::backward, chain.front().range).end()};
}

int RecentReads::evidence_for_forward(const std::vector<Read>& chain) {
  int evidence = 0;
  std::int64_t before = 0;  // from the arrival of the lower neighbour to that of the higher one
  for (std::size_t i = 1; i < chain.size(); ++i) {
    const auto apart = static_cast<std::int64_t>(chain[i].arrival - chain[i - 1].arrival);
    const int way = apart > 0 ? 1 : -1;
    evidence += way * kWeightOfPair;
    if (apart * before > 0 && std::abs(apart - before) <= kRhythmSlack_arrivals) {
      evidence += way * kWeightOfRhythm;
    }
    before = apart;
  }
  return evidence;
}

std::optional<AccessPattern> RecentReads::find_stride(const Read& read) const {
  for (const Read& before : reads_) {
    const std::uint64_t step = distance(read.range, before.range);
    if (before.range.length != read.range.length || step <= read.range.length ||
        step > kStride_bytes_max || !continues_stride(read, before)) {
      continue;
    }
    const Direction direction =
        before.range.offset < read.range.offset ? Direction::forward : Direction::backward;
    return AccessPattern{.direction = direction,
                         .next = along(direction, read.range).offset + step,
                         .step = step,
                         .length = read.range.length};
  }
  return std::nullopt;
}

// Returns whether the reads before `before` are as far apart as these two. Offsets wrap around
// below zero, to offsets without reads.
bool RecentReads::continues_stride(const Read& read, const Read& before) const {
  const std::uint64_t step = before.range.offset - read.range.offset;
  Read last = before;
  for (std::size_t found = 2; found < kReadsOfStride; ++found) {
    const std::uint64_t offset = last.range.offset + step;
    const auto next = std::find_if(reads_.begin(), reads_.end(), [&](const Read& other) {
      return other.range == Range{offset, read.range.length} && other.arrival < last.arrival;
    });
    if (next == reads_.end()) return false;
    last = *next;
  }
  return true;
}

}  // namespace nbdstack
