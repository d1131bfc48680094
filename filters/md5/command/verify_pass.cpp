#include "filters/md5/command/verify_pass.hpp"

#include <algorithm>
#include <utility>

#include "common/block/zeros.hpp"
#include "filters/md5/parallel_md5.hpp"

namespace nbdstack {

VerifyPass::VerifyPass(KnownBlocks& known, ExportReader& reader, WorkerPool& hashing, Clock& clock,
                       const Options& options, Events events)
    : known_(known),
      reader_(reader),
      hashing_(hashing),
      clock_(clock),
      options_(options),
      events_(std::move(events)) {
  result_.blocks = known_.geometry().block_count();
}

VerifyResult VerifyPass::run() {
  for (;;) {
    start_reads();
    if (!under_way_.empty()) {
      finish(reader_.wait());
      events_.progress(result_, known_.percent_done());
      continue;
    }
    if (suspects_.empty()) return result_;
    clock_.sleep_for(suspects_.front().due - clock_.now());
  }
}

// --- Reading ---

void VerifyPass::start_reads() {
  while (under_way_.size() < options_.requests && start_next()) {
  }
}

// Begun work comes first, so that little is remembered.
bool VerifyPass::start_next() {
  if (start_suspect()) return true;
  if (!alone_.empty()) {
    start({.blocks = {alone_.front()}, .suspect = {}, .alone = true, .data = {}});
    alone_.pop_front();
    return true;
  }
  if (suspects_.size() >= options_.most_suspects) return false;
  auto run = take_run();
  if (run.empty()) return false;
  start({.blocks = std::move(run), .suspect = {}, .alone = false, .data = {}});
  return true;
}

std::vector<KnownBlock> VerifyPass::take_run() {
  if (waiting_.empty() && !all_taken_) {
    const auto next = known_.next();
    waiting_.assign(next.begin(), next.end());
    all_taken_ = next.empty();
  }
  const std::size_t most =
      std::min<std::size_t>(options_.run_bytes, reader_.longest_request_bytes());
  std::vector<KnownBlock> run;
  std::size_t length = 0;
  while (!waiting_.empty()) {
    const KnownBlock& next = waiting_.front();
    if (!run.empty()) {
      const bool is_neighbour = run.back().block.next() == next.block;
      if (!is_neighbour || length + next.record.content.length > most) break;
    }
    length += next.record.content.length;
    run.push_back(next);
    waiting_.pop_front();
  }
  return run;
}

// Step 1. Returns false if no suspect is due.
bool VerifyPass::start_suspect() {
  while (!suspects_.empty() && suspects_.front().due <= clock_.now()) {
    Suspect suspect = std::move(suspects_.front());
    suspects_.pop_front();
    const auto now = known_.look(suspect.known.block);
    if (now != suspect.known.record) {
      if (now) suspect.known.record = *now;
      suspect.wrong_reads = 0;
      look_again(std::move(suspect));
      continue;
    }
    start({.blocks = {suspect.known}, .suspect = suspect, .alone = true, .data = {}});
    return true;
  }
  return false;
}

void VerifyPass::start(Read read) {
  std::size_t length = 0;
  for (const KnownBlock& known : read.blocks) length += known.record.content.length;
  read.data.resize(length);
  const std::uint64_t offset = known_.geometry().offset_of(read.blocks.front().block);
  const std::uint64_t number = next_read_++;
  Read& started = under_way_.emplace(number, std::move(read)).first->second;
  reader_.start(number, started.data, offset);
}

// --- Judging ---

void VerifyPass::finish(const std::vector<ExportReader::Outcome>& outcomes) {
  std::vector<Read> done;
  for (const auto& outcome : outcomes) {
    Read read = std::move(under_way_.extract(outcome.read).mapped());
    if (outcome.failure.empty()) {
      done.push_back(std::move(read));
    } else {
      fail(read, outcome.failure);
    }
  }
  std::vector<std::span<std::byte>> contents;
  for (Read& read : done) {
    result_.bytes += read.data.size();
    std::span<std::byte> rest(read.data);
    for (const KnownBlock& known : read.blocks) {
      contents.push_back(rest.first(known.record.content.length));
      rest = rest.subspan(known.record.content.length);
    }
  }
  const auto digests = md5_of_each(contents, hashing_);
  std::size_t index = 0;
  std::vector<std::pair<Suspect, Found>> still_suspect;
  for (const Read& read : done) {
    for (const KnownBlock& known : read.blocks) {
      const Found found{digests[index], contents[index]};
      ++index;
      if (found.digest == known.record.content.digest) {
        count_right(known.record);
      } else if (read.suspect) {
        still_suspect.emplace_back(*read.suspect, found);
      } else {
        judge_different(known);
      }
    }
  }
  if (still_suspect.empty()) return;
  // Step 3, once for all suspects.
  reader_.flush();
  for (auto& [suspect, found] : still_suspect) judge_again(std::move(suspect), found);
}

void VerifyPass::fail(Read& read, const std::string& failure) {
  if (read.alone) {
    report(read.blocks.front(), Damage::unreadable, failure);
    return;
  }
  alone_.insert(alone_.end(), read.blocks.begin(), read.blocks.end());
}

void VerifyPass::judge_different(const KnownBlock& known) {
  if (known.record.doubtful) {
    ++result_.doubtful_different;
    return;
  }
  suspects_.push_back({.known = known, .due = clock_.now() + kPause, .looks = 0, .wrong_reads = 0});
}

// Steps 4 and 5.
void VerifyPass::judge_again(Suspect suspect, const Found& found) {
  const Md5FileRecord& record = suspect.known.record;
  const bool on_list = known_.is_on_list(suspect.known.block);
  const auto now = known_.look(suspect.known.block);
  if (now != record) {
    if (now) suspect.known.record = *now;
    suspect.wrong_reads = 0;
  } else if (on_list || record.doubtful) {
    ++result_.doubtful_different;
    return;
  } else if (++suspect.wrong_reads == kWrongReads) {
    report_wrong(suspect.known, found);
    return;
  }
  look_again(std::move(suspect));
}

void VerifyPass::look_again(Suspect suspect) {
  if (++suspect.looks >= kLooks_max) {
    ++result_.changed;
    return;
  }
  suspect.due = clock_.now() + kPause;
  suspects_.push_back(std::move(suspect));
}

void VerifyPass::count_right(const Md5FileRecord& record) {
  ++(record.doubtful ? result_.doubtful_right : result_.verified);
}

void VerifyPass::report_wrong(const KnownBlock& known, const Found& found) {
  const auto& previous = known.record.previous;
  Damage damage = Damage::damaged;
  if (is_zero(found.data)) {
    damage = Damage::lost;
  } else if (previous == Content{found.digest, known.record.content.length}) {
    damage = Damage::old;
  }
  report(known, damage, "");
}

void VerifyPass::report(const KnownBlock& known, Damage damage, const std::string& failure) {
  switch (damage) {
    case Damage::lost:
      ++result_.lost;
      break;
    case Damage::old:
      ++result_.old;
      break;
    case Damage::damaged:
      ++result_.damaged;
      break;
    case Damage::unreadable:
      ++result_.unreadable;
      break;
  }
  events_.found({.block = known.block,
                 .range = known_.geometry().range_of(known.block),
                 .written_at_s = known.record.written_at_s,
                 .damage = damage},
                failure);
}

}  // namespace nbdstack
