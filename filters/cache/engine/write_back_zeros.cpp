// Writes remembered zeros to the layer below.
#include <algorithm>
#include <new>
#include <vector>

#include "common/error.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/engine/below.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {
namespace {

// NBD counts the bytes of a zero in 32 bits.
constexpr std::uint64_t kLongestZero_bytes = 1ULL << 30U;

}  // namespace

// Returns false if nothing may be written below, because it is not committed.
bool WriteBacks::commit_for(WriteBack& work) {
  try {
    state_.commit();
    return true;
  } catch (const Error& error) {
    work.failed(error);
    return false;
  }
}

void WriteBacks::note_end(WriteBack& work, ChangesBelow::Place& place,
                          const std::optional<Error>& failure) {
  state_.changes_below.end_write_back(place);
  if (failure) {
    state_.ledger.doubt();
    work.failed(*failure);
  } else {
    work.succeeded();
    ++done_;
  }
  state_.changed.notify_all();
}

void WriteBacks::flush_connection(Layer& below) const {
  const LayerTraits& traits = below.traits();
  const bool promised = state_.settings.makes_flushes_durable();
  if (promised && !traits.can_multi_conn && traits.can_flush) below.flush();
}

void WriteBacks::try_zeros(WriteBack& work, const std::vector<Range>& ranges) {
  if (ranges.empty()) return;
  // These are numbers instead of a list of the parts, because zeros may be exabytes.
  std::vector<std::uint64_t> ends;  // the end of each range, counted in parts from the first on
  std::uint64_t count = 0;
  for (const Range& range : ranges) {
    count += (range.length + kLongestZero_bytes - 1) / kLongestZero_bytes;
    ends.push_back(count);
  }
  if (!commit_for(work)) return;
  run_in_parallel(work.below, threads_, count, [&](std::size_t index) {
    const auto at = std::upper_bound(ends.begin(), ends.end(), index) - ends.begin();
    const std::uint64_t before = at == 0 ? 0 : ends[static_cast<std::size_t>(at) - 1];
    const Range& range = ranges[static_cast<std::size_t>(at)];
    const std::uint64_t begin = (index - before) * kLongestZero_bytes;
    const Turn turn(turns_);
    run_zeros(work, {range.offset + begin, std::min(kLongestZero_bytes, range.length - begin)});
  });
}

// Zeroes the still remembered part of the range below. A block that a client writes meanwhile
// leaves the range and is zeroed again before its own turn. Each run is checked when its turn
// comes: content that has been written since may be below already.
//
// Since the caller's commit, a block of the run may have been written, written back, and become
// zeros again. If it were zeroed below now, a crash could bring back the block, clean, with the
// content in between. So there is one more commit then. It comes after the run has been registered:
// from then on nothing in it becomes clean, so later zeros do no harm.
void WriteBacks::run_zeros(WriteBack& work, const Range& range) {
  MutexLock lock(state_.mutex);
  for (std::uint64_t position = range.offset; position < range.end();) {
    const auto run = state_.residents.zeros().next(position);
    const Range part = run ? run->range.intersection({position, range.end() - position}) : Range{};
    if (part.empty() || work.is_given_up(state_.settings.give_up_after)) return;
    position = part.end();
    if (state_.changes_below.is_busy(part)) {
      work.busy_zeros.push_back(part);
      continue;
    }
    ChangesBelow::Place place;
    state_.changes_below.begin_write_back(place, part);
    const bool committed = state_.residents.are_zeros_committed(part);
    lock.unlock();
    std::optional<Error> failure;
    try {
      if (!committed) state_.commit();
      const Durability wanted = durability_of(work.durability);
      zero_below(work.below, part, run->value, supported(wanted, work.below));
      if (state_.store->is_durable()) complete_durability(work.below, wanted);
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = insist([] { return Error(ENOMEM, "cache: out of memory"); });
    }
    lock.lock();
    note_end(work, place, failure);
    if (!failure) {
      state_.residents.zeros_are_below(part);
      work.durable_bytes += part.intersection(state_.blocks_covering(work.wanted)).length;
    }
  }
}

void WriteBacks::zero_below(Layer& below, const Range& range, bool may_trim,
                            Durability durability) const {
  state_.expect_on_disk(range);
  if (below.traits().zero != Support::none) {
    below.zero(range.length, range.offset,
               {.may_trim = may_trim, .fast = false, .durability = durability});
    return;
  }
  const std::uint64_t step = longest_write_bytes(below.traits());
  const std::vector<std::byte> zeros(std::min(step, range.length));
  for (std::uint64_t done = 0; done < range.length; done += step) {
    const std::uint64_t length = std::min(step, range.length - done);
    below.pwrite(std::span(zeros).first(length), range.offset + done, durability);
  }
}

}  // namespace nbdstack
