// The journal of a cache directory: appends records in memory, writes them out, commits them.
//
// append() gives a record its place in the order and costs memory operations only. write_out()
// writes everything appended so far to the file with one write; a caller that meets another one
// writing waits, and mostly finds its own records written then. commit() makes the prefix of the
// order durable that cut() has returned.
//
// Files are called journal.GENERATION. A cut may start a new one: records before the cut are in the
// old file, records after it in the new one, and the commit record for the cut is the last record
// of the old one.
//
// If there is no room for the records, or no memory, write_out() and commit() throw NoRoom. Nothing
// is lost then: records stay in memory, and the next call writes them. To make this rare, the file
// has storage for kReserve_bytes more than it contains. Every other failure to write, and each
// failure to sync, is final: write_out() and commit() fail from then on, because it is unknown what
// of the file has reached the disk.
//
// Any thread may call any function, but only one thread at a time runs the sequence prepare_next(),
// cut(), commit(). The mutex inside is taken last and never held across I/O.
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

  // Begins an empty file of this generation; numbers continue after `last_sequence`.
  Journal(Directory& directory, std::uint64_t generation, std::uint64_t last_sequence);

  static std::string name_of(std::uint64_t generation);

  void append(record::Event event);
  [[nodiscard]] std::uint64_t last_sequence() const;
  [[nodiscard]] std::uint64_t generation() const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  // Returns the size of the records that are in memory only.
  [[nodiscard]] std::uint64_t unwritten_bytes() const;
  void write_out();
  // Writes out if much has been appended without a write_out(), to bound the memory. The next
  // write_out() reports a failure.
  void write_long_buffer();

  // Creates the file of the next generation, for cut().
  void prepare_next();
  // Returns the sequence of the last record; with `start_next` the prepared file begins after it.
  std::uint64_t cut(bool start_next);
  // Makes all records up to `sequence`, the latest cut, durable. Called after write_out().
  void commit(std::uint64_t sequence);

 private:
  struct Segment {
    std::uint64_t generation;
    std::unique_ptr<StorageFile> file;
    std::vector<std::byte> buffer{};   // not written yet
    std::vector<std::byte> pending{};  // older: being written, or there was no room for it
    std::uint64_t end_bytes = 0;       // of the written records
    std::uint64_t reserved_bytes = 0;  // the end of the file's storage
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
