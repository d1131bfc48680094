#include "filters/cache/cache_parameters.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/log.hpp"
#include "common/nbdkit/exports_parameter.hpp"
#include "common/params/values.hpp"

namespace nbdstack {
namespace {

// The part of the free space that a cache-dir uses if the user gives no size.
constexpr unsigned kDefaultPercentOfFree = 80;

constexpr std::uint64_t kMostThreads = 256;

std::uint64_t used_by_files_in(const std::string& directory) {
  std::uint64_t bytes = 0;
  for (const std::string& name : names_in(directory)) {
    struct stat status {};
    if (::stat(fmt::format("{}/{}", directory, name).c_str(), &status) == 0) {
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

std::vector<std::pair<std::string, CachePolicy>> cache_policies() {
  std::vector<std::pair<std::string, CachePolicy>> all;
  all.reserve(kCachePolicies.size());
  for (const CachePolicy policy : kCachePolicies) all.emplace_back(word_of(policy), policy);
  return all;
}

}  // namespace

ParameterTable CacheParameters::table() {
  return ParameterTable({
      choice_parameter("cache", settings_.mode,
                       {{"writeback", CacheMode::writeback},
                        {"writethrough", CacheMode::writethrough},
                        {"unsafe", CacheMode::unsafe}},
                       "When writes reach the plugin."),
      size_parameter("cache-min-block-size", min_block_size_,
                     {.minimum = 4096, .maximum = 1U << 30U, .power_of_two = true}, "64K",
                     "Set the minimum block size used by the cache."),
      size_parameter("cache-fetch-size", settings_.fetch_bytes,
                     {.minimum = 4096, .maximum = 32U << 20U, .power_of_two = true}, "a block",
                     "With cache-on-read, load the missing blocks of so much on a miss."),
      max_size_parameter(),
      number_parameter("cache-high-threshold", settings_.high_threshold_percent, 1, 100,
                       "Percentage of max size where reclaim begins."),
      number_parameter("cache-low-threshold", settings_.low_threshold_percent, 1, 99,
                       "Percentage of max size where reclaim ends."),
      on_read_parameter(),
      path_parameter("cache-dir", cache_dir_,
                     "Keep the cache in this directory, across restarts and crashes."),
      string_parameter("cache-id", cache_id_, "TEXT",
                       "What the cache in cache-dir is the cache of: must be the same next time."),
      passphrase_parameter("cache-encrypt", passphrase_,
                           "Encrypt what is stored, in cache-dir by this passphrase."),
      bool_parameter("cache-salvage", salvage_,
                     "Start with what can be proven of a cache-dir that is damaged."),
      choice_parameter("cache-dirty", stale_dirty_,
                       {{"refuse", StaleDirty::refuse},
                        {"force", StaleDirty::force},
                        {"discard", StaleDirty::discard}},
                       "What cache-dir holds for a disk that others have changed since."),
      exports_parameter("cache", exports_),
      choice_parameter("cache-flush", settings_.flush,
                       {{"below", FlushTo::below}, {"local", FlushTo::local}},
                       "Flush and FUA wait for the plugin, or for cache-dir only."),
      duration_parameter("cache-write-delay", settings_.write_delay,
                         "Write back blocks that have been dirty for so long; 0: when flushed."),
      duration_parameter("cache-stop-timeout", settings_.stop_timeout,
                         "Longest time to write back when the server stops; 0: while it gets on."),
      number_parameter("cache-threads", settings_.threads, 1, kMostThreads,
                       "How many write-back requests are under way at once."),
      size_parameter("cache-max-dirty", settings_.max_dirty_bytes, {.minimum = 1}, "unlimited",
                     "Writes wait while so much is dirty."),
      choice_parameter("cache-policy", settings_.policy, cache_policies(),
                       "Which blocks are reclaimed first."),
      size_parameter("cache-protect", settings_.protect_bytes, {}, "0",
                     "Reclaim the first SIZE bytes of the disk last."),
      duration_parameter("cache-timeout", settings_.timeout,
                         "Drop clean blocks that are older; 0: never."),
  });
}

Parameter CacheParameters::on_read_parameter() {
  auto set = [this](const std::string& value) {
    if (!value.empty() && value.front() == '/') {
      on_read_ = OnRead::while_path_exists;
      on_read_path_ = value;
    } else {
      on_read_ = parse_bool("cache-on-read", value) ? OnRead::yes : OnRead::no;
    }
  };
  return {.name = "cache-on-read",
          .value = "true|false|/PATH",
          .help = "Cache what is read, always, never, or while /PATH exists.",
          .range_text = "",
          .default_text = "false",
          .set = std::move(set)};
}

Parameter CacheParameters::max_size_parameter() {
  auto set = [this](const std::string& value) {
    max_size_percent_ = 0;
    if (value.empty() || value.back() != '%') {
      max_size_bytes_ = parse_size("cache-max-size", value);
      if (max_size_bytes_ == 0) {
        throw Error(EINVAL, "cache-max-size is too small: it must be at least one block");
      }
      return;
    }
    const char* const end = value.data() + value.size() - 1;
    const auto [rest, problem] = std::from_chars(value.data(), end, max_size_percent_);
    if (problem != std::errc() || rest != end || max_size_percent_ < 1 || max_size_percent_ > 100) {
      throw Error(EINVAL,
                  fmt::format("cache-max-size: '{}' is not a percentage from 1% to 100%", value));
    }
  };
  return {.name = "cache-max-size",
          .value = "SIZE|N%",
          .help = "Set maximum space used by cache.",
          .range_text = "",
          .default_text = "unlimited, or with cache-dir 80 % of what is free",
          .set = std::move(set)};
}

void CacheParameters::check() {
  if (settings_.low_threshold_percent >= settings_.high_threshold_percent) {
    throw Error(EINVAL, "cache-low-threshold must be less than cache-high-threshold");
  }
  if (settings_.flush == FlushTo::local && !is_durable()) {
    throw Error(EINVAL,
                "cache-flush=local needs cache-dir: without it nothing that the cache "
                "holds survives this server");
  }
  if (settings_.flush == FlushTo::local && !settings_.makes_flushes_durable()) {
    throw Error(EINVAL, "cache-flush=local needs cache=writeback");
  }
  if (salvage_ && !is_durable()) throw Error(EINVAL, "cache-salvage needs cache-dir");
  if (stale_dirty_ != StaleDirty::refuse && !is_durable()) {
    throw Error(EINVAL, "cache-dirty needs cache-dir");
  }
  if (!cache_id_.empty() && !is_durable()) throw Error(EINVAL, "cache-id needs cache-dir");
  settings_.cache_on_read = [this] {
    switch (on_read_) {
      case OnRead::no:
        return false;
      case OnRead::yes:
        return true;
      case OnRead::while_path_exists:
        return ::access(on_read_path_.c_str(), F_OK) == 0;
    }
    return false;
  };
  const char* const directory = std::getenv("TMPDIR");
  const bool given = directory != nullptr && *directory != '\0';
  temporary_directory_ = absolute_path("TMPDIR", given ? directory : "/var/tmp");
}

void CacheParameters::fit_to_file_system() {
  const std::string& directory = is_durable() ? cache_dir_ : temporary_directory_;
  log::debug("cache: directory for cache: {}", directory);
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) == -1) {
    throw system_error(errno, "{}: {}", is_durable() ? "cache-dir" : "TMPDIR", directory);
  }
  const std::uint64_t block_size =
      std::bit_ceil(std::max<std::uint64_t>(min_block_size_, status.f_bsize));
  settings_.block_size = static_cast<std::uint32_t>(block_size);
  log::debug("cache: block size: {}", block_size);
  fit_sizes(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize);
  const auto check_size = [&](const char* name, std::uint64_t size) {
    if (size != 0 && size < block_size) {
      throw Error(EINVAL, fmt::format("{} is too small: it must be at least one block of {}", name,
                                      format_size(block_size)));
    }
  };
  check_size("cache-max-size", settings_.max_size_bytes);
  check_size("cache-max-dirty", settings_.max_dirty_bytes);
}

void CacheParameters::fit_sizes(std::uint64_t total_bytes, std::uint64_t available_bytes) {
  settings_.max_size_bytes = max_size_bytes_;
  // Some file systems (ramfs, some in user space) do not state how large they are.
  const bool is_stated = total_bytes != 0;
  if (max_size_percent_ != 0 && !is_stated) {
    throw Error(EINVAL,
                fmt::format("cache-max-size={}%: the file system of {} does not state its "
                            "size: give a number of bytes",
                            max_size_percent_, is_durable() ? cache_dir_ : temporary_directory_));
  }
  if (max_size_percent_ != 0) {
    settings_.max_size_bytes = std::max<std::uint64_t>(1, total_bytes / 100 * max_size_percent_);
  } else if (is_durable() && max_size_bytes_ == 0 && is_stated) {
    const std::uint64_t free = available_bytes + used_by_files_in(cache_dir_);
    settings_.max_size_bytes = std::max<std::uint64_t>(1, free / 100 * kDefaultPercentOfFree);
  }
  if (settings_.max_size_bytes != 0) {
    log::debug("cache: maximum size: {}", settings_.max_size_bytes);
  }
}

}  // namespace nbdstack
