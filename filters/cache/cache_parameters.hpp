// The parameters of the cache filter, and the settings derived from them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/block/disk_registry.hpp"
#include "common/params/parameters.hpp"
#include "filters/cache/state/settings.hpp"
#include "filters/cache/store/durable/taking_over.hpp"

namespace nbdstack {

class CacheParameters {
 public:
  ParameterTable table();
  // Called when all are set: checks whether they fit together.
  void check();
  // The last call in the foreground: queries the file system that will contain the cache. Its block
  // size may be larger than ours, and sizes may be parts of it.
  void fit_to_file_system();

  // Complete after fit_to_file_system().
  [[nodiscard]] const CacheSettings& settings() const { return settings_; }
  [[nodiscard]] bool is_durable() const { return !cache_dir_.empty(); }
  [[nodiscard]] const std::string& cache_dir() const { return cache_dir_; }
  [[nodiscard]] const std::string& cache_id() const { return cache_id_; }
  // The passphrase that encrypts the stored content, or nothing if it is in the clear.
  [[nodiscard]] const std::optional<std::string>& passphrase() const { return passphrase_; }
  // Returns whether the remains of a damaged cache-dir are to be used.
  [[nodiscard]] bool salvage() const { return salvage_; }
  [[nodiscard]] StaleDirty stale_dirty() const { return stale_dirty_; }
  [[nodiscard]] const ExportRule& exports() const { return exports_; }
  // The directory of temporary files.
  [[nodiscard]] const std::string& temporary_directory() const { return temporary_directory_; }

 private:
  Parameter on_read_parameter();
  Parameter max_size_parameter();
  void fit_sizes(std::uint64_t total_bytes, std::uint64_t available_bytes);

  enum class OnRead : std::uint8_t { no, yes, while_path_exists };

  CacheSettings settings_;
  std::uint64_t min_block_size_ = 64U << 10U;
  std::uint64_t max_size_bytes_ = 0;
  unsigned max_size_percent_ = 0;  // of the file system; if 0, max_size_bytes_ is used
  OnRead on_read_ = OnRead::no;
  std::string on_read_path_;
  std::string cache_dir_;
  std::string cache_id_;
  std::optional<std::string> passphrase_;
  bool salvage_ = false;
  StaleDirty stale_dirty_ = StaleDirty::refuse;
  ExportRule exports_ = ExportRule::found_out;
  std::string temporary_directory_;
};

}  // namespace nbdstack
