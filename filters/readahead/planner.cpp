#include "filters/readahead/planner.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

// A stream is active if it has one of the last streams * kReadsPerTurn reads.
constexpr std::uint64_t kReadsPerTurn = 16;

}  // namespace

Planner::Planner(const PlannerOptions& options)
    : options_(options),
      strangers_(options.streams),
      allowance_(options.streams, options.window.first_bytes, options.window.largest_bytes) {}

std::vector<Range> Planner::read_begins(const Range& read) {
  const AskedRanges::Removed found = asked_.remove(read);
  allowance_.give_back(found.queued_bytes + found.sent_bytes);
  options_.counters.used_bytes.add(found.sent_bytes);
  Stream* stream = stream_of(read);
  if (stream == nullptr) stream = start_stream(read);
  under_way_.push_back(read);
  if (stream == nullptr) return {};
  stream->note_arrival(++stream_reads_);
  return ask_for(stream->move_window(share_of(*stream)));
}

std::vector<Range> Planner::fetch_begins(const Range& piece) {
  std::vector<Range> parts = asked_.send(piece);
  for (const Range& part : parts) options_.counters.sent_bytes.add(part.length);
  return parts;
}

// Active streams share the allowance equally: one with less ahead of it gets more.
std::uint64_t Planner::share_of(const Stream& stream) const {
  const std::uint64_t recently = options_.streams * kReadsPerTurn;
  const auto active = std::count_if(streams_.begin(), streams_.end(), [&](const Stream& other) {
    return other.last_arrival() + recently > stream_reads_;
  });
  const std::uint64_t all = allowance_.left_bytes() + asked_.bytes();
  const std::uint64_t equal = all / static_cast<std::uint64_t>(active);
  const std::uint64_t ahead = stream.ahead_bytes();
  const std::uint64_t left =
      stream.reads_on() ? allowance_.left_bytes() : allowance_.left_for_guesses_bytes();
  return std::min(left, equal - std::min(equal, ahead));
}

void Planner::read_ends(const Range& read) {
  const auto found = std::find(under_way_.begin(), under_way_.end(), read);
  if (found == under_way_.end()) return;
  *found = under_way_.back();
  under_way_.pop_back();
}

// Returns the stream that the read continues; of several, the one that skips least.
Stream* Planner::stream_of(const Range& read) {
  auto best = streams_.end();
  Stream::Match best_match;
  for (auto stream = streams_.begin(); stream != streams_.end(); ++stream) {
    const Stream::Match match = stream->match(read, !under_way_.empty());
    if (match.relation == Stream::Relation::stranger) continue;
    if (best != streams_.end() && match.distance_bytes >= best_match.distance_bytes) continue;
    best = stream;
    best_match = match;
  }
  if (best == streams_.end()) return nullptr;
  if (const auto gap = best->take(read, best_match.relation)) give_up(*gap);
  if (best->is_lost()) {
    end_stream(best);
    return nullptr;
  }
  allowance_.earn(read.length);
  streams_.splice(streams_.begin(), streams_, best);
  return &*best;
}

Stream* Planner::start_stream(const Range& read) {
  const auto pattern = strangers_.add(read);
  if (!pattern) return nullptr;
  if (streams_.size() == options_.streams) end_stream(std::prev(streams_.end()));
  return &streams_.emplace_front(*pattern, options_.disk_size_bytes, options_.window);
}

void Planner::end_stream(Streams::iterator stream) {
  for (const Range& range : stream->expected()) give_up(range);
  streams_.erase(stream);
}

// Queued parts cost nothing; parts that were sent are fetched, and lost.
void Planner::give_up(const Range& range) {
  allowance_.give_back(asked_.remove(range).queued_bytes);
}

std::vector<Range> Planner::ask_for(const std::vector<Range>& window) {
  std::vector<Range> pieces;
  RunMap<bool> wanted;
  for (const Range& range : window) {
    wanted.assign(range, true);
    for (const Range& part : asked_.overlapping(range)) wanted.erase(part);
  }
  for (const Range& read : under_way_) wanted.erase(read);
  while (const auto run = wanted.first()) {
    const std::uint64_t largest = options_.largest_piece_bytes;
    const std::uint64_t bound = (run->range.offset / largest + 1) * largest;
    const Range piece = run->range.intersection({run->range.offset, bound - run->range.offset});
    wanted.erase(piece);
    asked_.add(piece);
    allowance_.spend(piece.length);
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace nbdstack
