// A directory of files, as a seam: an engine that keeps its state in files writes through here, so
// that a test can put a disk in its place that loses what was not synced
// (tests/unit/fakes/simulated_disk.hpp).
//
// Every implementation promises this, and an engine relies on it after a crash:
//  - Bytes are durable once sync_data() of their file has returned. Before that any part of them
//    may be lost, whatever the order of the writes; a sector (512 bytes) is old or new.
//  - Creating, renaming and removing a file is durable once sync() of the directory has returned.
//    Before that each may be lost by itself. Syncing a file does not make its name durable.
//  - rename() replaces its target, in one step.
// Every failure is an Error with the system's errno that names the path. Calls on different files,
// and on different bytes of a file, may run at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/io/file.hpp"

namespace nbdstack {

class StorageFile {
 public:
  StorageFile() = default;
  StorageFile(const StorageFile&) = delete;
  StorageFile& operator=(const StorageFile&) = delete;
  virtual ~StorageFile() = default;

  [[nodiscard]] virtual const std::string& path() const = 0;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Exactly buffer.size() bytes; a file that ends before is an Error(EIO).
  virtual void read_at(std::span<std::byte> buffer, std::uint64_t offset) const = 0;
  virtual void write_at(std::span<const std::byte> buffer, std::uint64_t offset) = 0;
  // Makes the range read as zeros, and frees its storage. Unsynced like a write.
  virtual void punch_hole(std::uint64_t length, std::uint64_t offset) = 0;
  virtual void sync_data() = 0;
  // Reserves storage for a range, so that writing there does not fail for lack of room, without
  // changing content or size. Throws if there is no room, but not if the file system cannot do
  // this.
  virtual void reserve(std::uint64_t /*length*/, std::uint64_t /*offset*/) {}
};

// The bytes at `offset`; those behind the end of the file are zeros.
void read_padded(const StorageFile& file, std::span<std::byte> buffer, std::uint64_t offset);

class Directory {
 public:
  Directory() = default;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  virtual ~Directory() = default;

  [[nodiscard]] virtual const std::string& path() const = 0;
  // The names in it, in no order.
  [[nodiscard]] virtual std::vector<std::string> names() const = 0;
  // Opens for reading and writing; creates the file if it does not exist.
  [[nodiscard]] virtual std::unique_ptr<StorageFile> open(const std::string& name) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;
  // Succeeds if the file does not exist.
  virtual void remove(const std::string& name) = 0;
  virtual void sync() = 0;
  // Returns whether a later process would find the directory at the place where this one opened it.
  [[nodiscard]] virtual bool is_found_again() const { return true; }
};

// A link has the kind of the file that it leads to. A link to a directory is `other`: it could lead
// in a circle.
enum class EntryKind : std::uint8_t { file, directory, other };

// Calls visit(name, kind) for each entry of the directory `path`, in no order. Returns false, and
// leaves errno, if there is no such directory. (Where memory for a name is lacking, the iterators
// of std::filesystem and its remove_all() end the process.)
bool for_each_entry(const std::string& path,
                    const std::function<void(const std::string& name, EntryKind)>& visit);

// The names in the directory `path`, in no order.
std::vector<std::string> names_in(const std::string& path);

// The file system's own.
class SystemDirectory : public Directory {
 public:
  // `path` is absolute, and exists.
  explicit SystemDirectory(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::vector<std::string> names() const override { return names_in(path_); }
  [[nodiscard]] std::unique_ptr<StorageFile> open(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void sync() override { sync_directory(path_); }

 protected:
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace nbdstack
