#include "filters/cache/store/durable/journal.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"

namespace nbdstack {

std::string Journal::name_of(std::uint64_t generation) {
  return fmt::format("journal.{}", generation);
}

Journal::Journal(Directory& directory, std::uint64_t generation, std::uint64_t last_sequence)
    : directory_(directory),
      last_sequence_(last_sequence),
      written_sequence_(last_sequence),
      durable_sequence_(last_sequence) {
  segments_.push_back({.generation = generation, .file = directory.open(name_of(generation))});
}

void Journal::append(record::Event event) {
  const MutexLock lock(mutex_);
  const Record record{.event = std::move(event),
                      .sequence = last_sequence_ + 1,
                      .durable_sequence = durable_sequence_};
  Segment& segment = segments_.back();
  const std::size_t before = segment.buffer.size();
  try {
    encode(record, segment.generation, segment.buffer);
  } catch (...) {
    segment.buffer.resize(before);
    throw;
  }
  ++last_sequence_;
}

std::uint64_t Journal::last_sequence() const {
  const MutexLock lock(mutex_);
  return last_sequence_;
}

std::uint64_t Journal::generation() const {
  const MutexLock lock(mutex_);
  return segments_.back().generation;
}

std::uint64_t Journal::size_bytes() const {
  const MutexLock lock(mutex_);
  return segments_.back().end_bytes + segments_.back().buffer.size();
}

std::uint64_t Journal::unwritten_bytes() const {
  const MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  for (const Segment& segment : segments_) bytes += segment.buffer.size() + segment.pending.size();
  return bytes;
}

void Journal::write_out() {
  const MutexLock lock(mutex_);
  const std::uint64_t wanted = last_sequence_;
  while (true) {
    if (failure_) throw Error(*failure_);
    if (written_sequence_ >= wanted) return;
    if (writing_) {
      written_.wait(mutex_);
    } else {
      write_buffers();
    }
  }
}

void Journal::write_long_buffer() {
  constexpr std::size_t kLong_bytes = 256U << 10U;
  const MutexLock lock(mutex_);
  const Segment& segment = segments_.back();
  const bool is_long = segment.buffer.size() > kLong_bytes && segment.pending.empty();
  if (failure_ || writing_ || !is_long) return;
  try {
    write_buffers();
  } catch (const NoRoom&) {  // write_out() reports it
  }
}

bool Journal::has_pending() const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [](const Segment& segment) { return !segment.pending.empty(); });
}

// Allocates storage for later records while there is room. If there is none, the earlier storage
// may suffice.
void Journal::write_at_end(Segment& segment, std::span<const std::byte> bytes) {
  const std::uint64_t end = segment.end_bytes + bytes.size();
  if (end + kReserve_bytes / 2 > segment.reserved_bytes) {
    try {
      const std::uint64_t from = std::max(segment.reserved_bytes, segment.end_bytes);
      segment.file->reserve(end + kReserve_bytes - from, from);
      segment.reserved_bytes = end + kReserve_bytes;
    } catch (const Error& error) {
      log::debug("cache: {}", error.what());
    }
  }
  segment.file->write_at(bytes, segment.end_bytes);
}

// Segments keep their place meanwhile: only commit() removes some, when they are fully written.
void Journal::write_buffers() {
  std::vector<Segment*> parts;
  for (Segment& segment : segments_) parts.push_back(&segment);
  std::uint64_t upto = last_sequence_;
  for (Segment* const part : parts) {
    if (part->pending.empty()) {
      part->pending.swap(part->buffer);
    } else if (!part->buffer.empty()) {
      upto = written_sequence_;  // records newer than `pending` follow later
    }
  }
  // A commit may remove the other segments meanwhile.
  std::erase_if(parts, [](const Segment* part) { return part->pending.empty(); });
  std::size_t done = 0;
  const auto failure = write_unlocked([&] {
    for (; done < parts.size(); ++done) {
      if (!parts[done]->pending.empty()) write_at_end(*parts[done], parts[done]->pending);
    }
  });
  for (std::size_t i = 0; i < done; ++i) {
    parts[i]->end_bytes += parts[i]->pending.size();
    parts[i]->pending.clear();
  }
  if (!failure) written_sequence_ = std::max(written_sequence_, upto);
  end_writing(failure);
}

std::optional<Error> Journal::write_unlocked(const std::function<void()>& write) {
  writing_ = true;
  const MutexUnlock unlocked(mutex_);
  try {
    write();
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ENOMEM, "no memory");
  }
  return std::nullopt;
}

void Journal::end_writing(const std::optional<Error>& failure) {
  writing_ = false;
  written_.notify_all();
  if (!failure) return;
  if (is_for_lack_of_room(*failure) || failure->code() == ENOMEM) throw NoRoom(*failure);
  fail(*failure);
}

// Writes the commit record alone, behind everything else: without room for it the commit fails.
void Journal::write_commit_record(Segment& segment, std::uint64_t sequence) {
  std::vector<std::byte> bytes;
  encode({.event = record::Commit{}, .sequence = sequence, .durable_sequence = durable_sequence_},
         segment.generation, bytes);
  const auto failure = write_unlocked([&] { write_at_end(segment, bytes); });
  if (!failure) segment.end_bytes += bytes.size();
  end_writing(failure);
}

void Journal::fail(const Error& error) {
  if (failure_) return;
  failure_ = Error(error.code(), fmt::format("the cache directory {} cannot be written any more, "
                                             "start again when this is repaired: {}",
                                             directory_.path(), error.what()));
}

void Journal::prepare_next() {
  const std::uint64_t next = generation() + 1;
  auto file = directory_.open(name_of(next));
  file->reserve(kReserve_bytes, 0);
  directory_.sync();
  const MutexLock lock(mutex_);
  next_.clear();
  next_.push_back({.generation = next, .file = std::move(file)});
}

std::uint64_t Journal::cut(bool start_next) {
  const MutexLock lock(mutex_);
  cut_in_ = segments_.back().generation;
  if (start_next) segments_.splice(segments_.end(), next_);
  return last_sequence_;
}

void Journal::commit(std::uint64_t sequence) {
  const MutexLock lock(mutex_);
  // Nothing may be pending: part of it may be in the file, in the place of the commit record.
  while (!failure_ && (writing_ || has_pending() || written_sequence_ < sequence)) {
    if (writing_) {
      written_.wait(mutex_);
    } else {
      write_buffers();
    }
  }
  const auto is_covered = [cut_in = cut_in_](const Segment& segment) {
    return segment.generation <= cut_in;
  };
  std::vector<Segment*> covered;
  for (Segment& segment : segments_) {
    if (is_covered(segment)) covered.push_back(&segment);
  }
  if (!failure_) write_commit_record(*covered.back(), sequence);
  if (failure_) throw Error(*failure_);
  try {
    const MutexUnlock unlocked(mutex_);
    for (const Segment* const segment : covered) segment->file->sync_data();
  } catch (const Error& error) {
    fail(error);
    throw Error(*failure_);
  }
  durable_sequence_ = sequence;
  while (segments_.size() > 1 && is_covered(segments_.front())) segments_.pop_front();
}

}  // namespace nbdstack
