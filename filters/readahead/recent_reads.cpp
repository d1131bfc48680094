#include "filters/readahead/recent_reads.hpp"

#include <algorithm>
#include <cstdlib>

namespace nbdstack {
namespace {

constexpr std::size_t kReadsOfStride = 5;
constexpr std::uint64_t kLongestStride_bytes = 16ULL << 20U;
// Room for the reads of a stride, and some that belong to nothing, for each stream.
constexpr std::size_t kRememberedPerStream = 8;
// Of these, a sequence is looked for among the latest.
constexpr std::size_t kFreshPerStream = 4;
// What pairs in order weigh, less pairs out of order: two soon after each other, or three.
constexpr int kEvidence = 6;
constexpr int kWeightOfSoon = 3;
constexpr int kWeightOfLater = 2;
constexpr std::uint64_t kSoon_arrivals = 2;  // one stream, or two in turn

// Whether `second` goes on where `first` ends, nearly enough.
bool adjoin(const Range& first, const Range& second) {
  const std::uint64_t slack = second.length / 4;
  return second.offset + slack >= first.end() && second.offset <= first.end() + slack;
}

std::uint64_t distance(const Range& a, const Range& b) {
  return a.offset < b.offset ? b.offset - a.offset : a.offset - b.offset;
}

}  // namespace

RecentReads::RecentReads(std::size_t streams) : reads_(streams * kRememberedPerStream) {}

std::optional<Course> RecentReads::add(const Range& range) {
  const Read read{range, ++arrivals_};
  if (const auto course = find_sequence(read)) return course;
  if (const auto course = find_stride(read)) return course;
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

std::optional<Course> RecentReads::find_sequence(const Read& read) {
  Read* const below = nearest_below(read.range);
  Read* const above = nearest_above(read.range);
  if (below == nullptr && above == nullptr) return std::nullopt;
  std::vector<Read*> others;
  int evidence = 0;  // for forward
  const auto compare = [&](const Read& lower, const Read& higher) {
    const bool up = lower.arrival < higher.arrival;
    const std::uint64_t apart =
        up ? higher.arrival - lower.arrival : lower.arrival - higher.arrival;
    const int weight = apart <= kSoon_arrivals ? kWeightOfSoon : kWeightOfLater;
    evidence += up ? weight : -weight;
  };
  const Read* lowest = &read;
  for (Read* next = below; next != nullptr; next = nearest_below(lowest->range)) {
    compare(*next, *lowest);
    others.push_back(next);
    lowest = next;
  }
  const Read* highest = &read;
  for (Read* next = above; next != nullptr; next = nearest_above(highest->range)) {
    compare(*highest, *next);
    others.push_back(next);
    highest = next;
  }
  if (std::abs(evidence) < kEvidence) return std::nullopt;
  const Course course = evidence > 0
                            ? Course{.direction = Direction::forward, .next = highest->range.end()}
                            : Course{.direction = Direction::backward,
                                     .next = along(Direction::backward, lowest->range).end()};
  for (Read* other : others) *other = {};
  return course;
}

std::optional<Course> RecentReads::find_stride(const Read& read) const {
  for (const Read& before : reads_) {
    const std::uint64_t step = distance(read.range, before.range);
    if (before.range.length != read.range.length || step <= read.range.length ||
        step > kLongestStride_bytes || !continues_stride(read, before)) {
      continue;
    }
    const Direction direction =
        before.range.offset < read.range.offset ? Direction::forward : Direction::backward;
    return Course{.direction = direction,
                  .next = along(direction, read.range).offset + step,
                  .step = step,
                  .length = read.range.length};
  }
  return std::nullopt;
}

// Whether the reads before `before` lie as far apart as these two. Offsets wrap around below zero,
// where no read is.
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
