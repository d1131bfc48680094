// The journal of a cache directory: appends records in memory, writes them out, commits them.
//
// append() takes the record's place in the order of things and costs memory operations only.
// write_out() brings everything appended so far into the file with one write; who finds somebody
// else writing waits, and mostly finds his own records written then. commit() makes a prefix of
// the order durable: what cut() has said.
//
// Files are called journal.GENERATION, and a new one takes over where cut() says so: records before
// the cut are in the old file, records after it in the new one, and the commit record for the cut
// is the last record of the old one.
//
// Where there is no room for what is to be written, or no memory, write_out() and commit() throw NoRoom. Nothing is
// lost then: records stay in memory, and the next call writes them. So that it seldom comes to that,
// the file has storage for kReserve_bytes more than it contains. Every other failure to write, and
// each to sync, is remembered: after it write_out() and commit() fail for good, because nobody knows
// what of the file has reached the disk.
//
// Thread safety: all functions, from any thread, but one thread at a time between prepare_next(),
// cut() and commit(). The mutex inside is taken last and never held across I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cache/store/durable/record.hpp"

namespace nbdstack {

// The commit, if it was one, has not happened.
class NoRoom final : public Error {
 public:
  explicit NoRoom(const Error& error) : Error(error) {}
};

class Journal {
 public:
  static constexpr std::uint64_t kReserve_bytes = 256U << 10U;

  // An empty file of this generation; numbers go on after `last_sequence`.
  Journal(Directory& directory, std::uint64_t generation, std::uint64_t last_sequence);

  static std::string name_of(std::uint64_t generation);

  void append(record::Event event);
  [[nodiscard]] std::uint64_t last_sequence() const;
  [[nodiscard]] std::uint64_t generation() const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  // Of records that are in memory only.
  [[nodiscard]] std::uint64_t unwritten_bytes() const;
  void write_out();
  // The same where much has been appended that nobody has asked to write out: memory is bounded.
  // A failure is told by the next write_out().
  void write_long_buffer();

  // Creates the file of the next generation, for cut().
  void prepare_next();
  // Says where the order is now; with `start_next` the prepared file takes over from here.
  std::uint64_t cut(bool start_next);
  // All up to `sequence`, which is the latest cut, is durable when this returns. write_out() comes
  // before.
  void commit(std::uint64_t sequence);

 private:
  struct Segment {
    std::uint64_t generation;
    std::unique_ptr<StorageFile> file;
    std::vector<std::byte> buffer{};   // not written yet
    std::vector<std::byte> pending{};  // older: being written, or there was no room for it
    std::uint64_t end_bytes = 0;       // of what is written
    std::uint64_t reserved_bytes = 0;  // the file has storage up to there
  };

  // These two, and end_writing(), throw NoRoom with the mutex held.
  void write_buffers() REQUIRES(mutex_);
  void write_commit_record(Segment& segment, std::uint64_t sequence) REQUIRES(mutex_);
  [[nodiscard]] bool has_pending() const REQUIRES(mutex_);
  std::optional<Error> write_unlocked(const std::function<void()>& write) REQUIRES(mutex_);
  void end_writing(const std::optional<Error>& failure) REQUIRES(mutex_);
  static void write_at_end(Segment& segment, std::span<const std::byte> bytes);
  void fail(const Error& error) REQUIRES(mutex_);

  Directory& directory_;
  mutable Mutex mutex_;
  ConditionVariable written_;
  // More than one between a cut that starts the next one and its commit, or a later one if that
  // fails.
  std::list<Segment> segments_ GUARDED_BY(mutex_);
  std::list<Segment> next_ GUARDED_BY(mutex_);  // the one that cut() is to start
  std::uint64_t cut_in_ GUARDED_BY(mutex_) =
      0;  // the generation that the latest cut ends or lies in
  std::uint64_t last_sequence_ GUARDED_BY(mutex_);
  std::uint64_t written_sequence_ GUARDED_BY(mutex_);
  std::uint64_t durable_sequence_ GUARDED_BY(mutex_);
  bool writing_ GUARDED_BY(mutex_) = false;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
