// A CacheDirectory as its store uses it: records the identity before the first byte of content is
// written, and keeps the directory alive as long as the store.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "filters/cache/store/durable/cache_directory.hpp"
#include "filters/cache/store/durable/commit_note.hpp"

namespace nbdstack {

class StoreDirectory final : public Directory {
 public:
  explicit StoreDirectory(std::shared_ptr<CacheDirectory> home) : home_(std::move(home)) {}

  [[nodiscard]] const std::string& path() const override { return home_->path(); }
  [[nodiscard]] std::vector<std::string> names() const override { return home_->names(); }
  // Snapshots and the note of the last commit do not count: those of an empty cache are written
  // before there is any content.
  [[nodiscard]] std::unique_ptr<StorageFile> open(const std::string& name) override {
    auto file = home_->open(name);
    if (name.starts_with("index.") || name == CommitNote::kName) return file;
    return std::make_unique<ContentFile>(std::move(file), *home_);
  }
  void rename(const std::string& from, const std::string& to) override { home_->rename(from, to); }
  void remove(const std::string& name) override { home_->remove(name); }
  void sync() override { home_->sync(); }
  [[nodiscard]] bool is_found_again() const override { return home_->is_found_again(); }

 private:
  class ContentFile final : public StorageFile {
   public:
    ContentFile(std::unique_ptr<StorageFile> file, CacheDirectory& home)
        : file_(std::move(file)), home_(home) {}
    [[nodiscard]] const std::string& path() const override { return file_->path(); }
    [[nodiscard]] std::uint64_t size_bytes() const override { return file_->size_bytes(); }
    void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
      file_->read_at(buffer, offset);
    }
    void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override {
      home_.begin_content();
      file_->write_at(buffer, offset);
    }
    void punch_hole(std::uint64_t length, std::uint64_t offset) override {
      file_->punch_hole(length, offset);
    }
    void sync_data() override { file_->sync_data(); }
    void reserve(std::uint64_t length, std::uint64_t offset) override {
      file_->reserve(length, offset);
    }

   private:
    const std::unique_ptr<StorageFile> file_;
    CacheDirectory& home_;
  };

  const std::shared_ptr<CacheDirectory> home_;
};

}  // namespace nbdstack
