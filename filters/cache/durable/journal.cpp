#include "filters/cache/durable/journal.hpp"

#include <utility>

namespace nbdstack {

std::string Journal::name_of(std::uint64_t generation) {
  return fmt::format("journal.{}", generation);
}

Journal::Journal(Directory& directory, std::uint64_t generation, std::uint64_t last_sequence)
    : directory_(directory),
      last_sequence_(last_sequence),
      written_sequence_(last_sequence),
      durable_sequence_(last_sequence) {
  segments_.push_back({generation, directory.open(name_of(generation)), {}, 0});
}

void Journal::append(Record record) {
  const Lock lock(mutex_);
  record.sequence = ++last_sequence_;
  record.durable_sequence = durable_sequence_;
  Segment& segment = segments_.back();
  encode(record, segment.generation, segment.buffer);
}

std::uint64_t Journal::last_sequence() const {
  const Lock lock(mutex_);
  return last_sequence_;
}

std::uint64_t Journal::generation() const {
  const Lock lock(mutex_);
  return segments_.back().generation;
}

std::uint64_t Journal::size_bytes() const {
  const Lock lock(mutex_);
  return segments_.back().end_bytes + segments_.back().buffer.size();
}

void Journal::write_out() {
  Lock lock(mutex_);
  const std::uint64_t wanted = last_sequence_;
  while (true) {
    if (failure_) throw Error(*failure_);
    if (written_sequence_ >= wanted) return;
    if (writing_) {
      written_.wait(lock);
    } else {
      write_buffers(lock);
    }
  }
}

void Journal::write_long_buffer() {
  constexpr std::size_t kLong_bytes = 256U << 10U;
  Lock lock(mutex_);
  if (!failure_ && !writing_ && segments_.back().buffer.size() > kLong_bytes) write_buffers(lock);
}

// Segments stay where they are meanwhile: only commit() removes one, when there is nothing to be
// written to it.
void Journal::write_buffers(Lock& lock) {
  struct Part {
    Segment& segment;
    std::vector<std::byte> bytes;
  };
  std::vector<Part> parts;
  for (Segment& segment : segments_) {
    if (!segment.buffer.empty()) parts.push_back({segment, std::exchange(segment.buffer, {})});
  }
  const std::uint64_t upto = last_sequence_;
  writing_ = true;
  lock.unlock();
  std::optional<Error> failure;
  try {
    for (const Part& part : parts) part.segment.file->write_at(part.bytes, part.segment.end_bytes);
  } catch (const Error& error) {
    failure = error;
  }
  lock.lock();
  writing_ = false;
  if (failure) {
    fail(lock, *failure);
  } else {
    for (const Part& part : parts) part.segment.end_bytes += part.bytes.size();
    written_sequence_ = upto;
  }
  written_.notify_all();
}

void Journal::fail(Lock& /*lock*/, const Error& error) {
  if (failure_) return;
  failure_ = Error(error.code(), fmt::format("the cache directory {} cannot be written any more, "
                                             "start again when this is repaired: {}",
                                             directory_.path(), error.what()));
}

void Journal::prepare_next() {
  next_ = directory_.open(name_of(generation() + 1));
  directory_.sync();
}

std::uint64_t Journal::cut(bool start_next) {
  const Lock lock(mutex_);
  if (start_next) {
    segments_.push_back({segments_.back().generation + 1, std::move(next_), {}, 0});
  }
  return last_sequence_;
}

void Journal::commit(std::uint64_t sequence) {
  Lock lock(mutex_);
  Segment& segment = segments_.front();
  encode(
      {.kind = Record::Kind::commit, .sequence = sequence, .durable_sequence = durable_sequence_},
      segment.generation, segment.buffer);
  while (!failure_ && (writing_ || !segment.buffer.empty())) {
    if (writing_) {
      written_.wait(lock);
    } else {
      write_buffers(lock);
    }
  }
  if (failure_) throw Error(*failure_);
  lock.unlock();
  std::optional<Error> failure;
  try {
    segment.file->sync_data();
  } catch (const Error& error) {
    failure = error;
  }
  lock.lock();
  if (failure) {
    fail(lock, *failure);
    throw Error(*failure_);
  }
  durable_sequence_ = sequence;
  if (segments_.size() > 1) segments_.pop_front();
}

}  // namespace nbdstack
