// The md5 filter: its parameters, and a Md5Layer for each connection (md5_layer.hpp describes it).
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "common/block/block_size.hpp"
#include "common/block/disk_registry.hpp"
#include "common/error.hpp"
#include "common/log.hpp"
#include "common/metrics/metric.hpp"
#include "common/nbdkit/exports_parameter.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/nbdkit_clock.hpp"
#include "common/nbdkit/server_options.hpp"
#include "common/quoted_name.hpp"
#include "filters/md5/disk_check.hpp"
#include "filters/md5/file_binding.hpp"
#include "filters/md5/locked_md5_file.hpp"
#include "filters/md5/md5_layer.hpp"

// Set by nbdkit for -D md5.verbose=1, before the filter is configured.
extern "C" __attribute__((visibility("default"))) int md5_debug_verbose;
int md5_debug_verbose = 0;

namespace nbdstack {
namespace {

class Md5Filter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {"md5", "nbdstack md5 filter", "prove that what is read is what was last written"};
  }

  ParameterTable parameters() override {
    return ParameterTable({
        size_parameter("md5-block-size", block_size_,
                       {.minimum = 512, .maximum = 32U << 20U, .power_of_two = true},
                       "what the layer below prefers, else 64K; with md5-file at most 64K",
                       "bytes that have one digest"),
        number_parameter("md5-cache-size", cache_size_, 1, kBlocks_max,
                         "blocks whose digest is remembered"),
        duration_parameter("md5-cache-time", cache_time_ms_,
                           "how long a digest is remembered, 0 for ever"),
        path_parameter("md5-file", file_path_,
                       "remember digests there, for ever and across restarts"),
        duration_parameter("md5-min-write-delay", min_write_delay_ms_,
                           "least time between two writes of a block"),
        duration_parameter("md5-retry-time", retry_time_ms_,
                           "how long a block that differs is read again"),
        exports_parameter("md5", exports_),
    });
  }

  void config_complete() override {
    if (file_path_.empty() && cache_time_ms_ != 0 && min_write_delay_ms_ > cache_time_ms_) {
      throw Error(EINVAL,
                  "md5-min-write-delay must not be longer than md5-cache-time: a block's "
                  "last write would be forgotten before the next is allowed");
    }
  }

  // Checks now whether the file can be used, while there is a user to be told.
  void get_ready() override {
    if (file_path_.empty()) return;
    file_.emplace(file_path_);
    const auto found = file_->identity();
    if (found && block_size_ != 0 && block_size_ != found->block_size) {
      throw Error(EINVAL, fmt::format("md5-file {} has digests of blocks of {} bytes: leave out "
                                      "md5-block-size={}, or name another file",
                                      file_path_, found->block_size, block_size_));
    }
  }

  // A file of another disk is refused while there is a user to be told, not at each client. If
  // closing a connection of ours may end the server, or only the content identifies the disk, the
  // check waits for a client.
  void after_fork(Backend& backend) override {
    const auto found = file_ ? file_->identity() : std::nullopt;
    if (!found || found->disk_id.empty() || !is_default_export(found->export_name) ||
        may_end_with_last_connection()) {
      return;
    }
    std::unique_ptr<Layer> below;
    try {
      below = backend.open_default_export();
    } catch (const Error& error) {
      log::debug("md5: whether md5-file {} is for this disk waits for a client: {}", file_->path(),
                 error.reason());
      return;
    }
    bind_file(found, file_->path(), found->export_name, ShownDisk::of(*below), found->block_size);
  }

  // Layers of clients that are still connected are never destroyed, nor are the exports they use.
  void cleanup(Backend& /*backend*/) override {
    for (const auto& [name, state] : disks_.all()) state->hashing.stop();
  }

  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override {
    const ShownDisk disk = ShownDisk::of(below);
    auto state = disks_.find_or_make(request, disk,
                                     [&] { return make_export(below, disk, request.export_name); });
    return std::make_unique<Md5Layer>(below, std::move(state));
  }

 private:
  static constexpr unsigned kBlocks_max = 100'000'000;  // some 20 GB of memory

  [[nodiscard]] std::shared_ptr<Md5Export> make_export(Layer& below, const ShownDisk& disk,
                                                       const std::string& export_name) {
    const auto found = file_ ? file_->identity() : std::nullopt;
    const auto wanted = found ? found->block_size : static_cast<std::uint32_t>(block_size_);
    std::uint32_t size = block_size_over(below.traits(), wanted, "md5-block-size");
    // With a file, blocks stay remembered and so are always read whole: a cache that misses 64 KiB
    // must not fetch an object of 1 MiB each time. (NBD allows no greater minimum than this.)
    if (file_ && wanted == 0) size = std::min(size, kDefaultBlockSize);
    std::unique_ptr<Md5File> file;
    if (file_) {
      const FileBinding binding = bind_file(found, file_->path(), export_name, disk, size);
      file = open_file(below, binding, BlockGeometry(disk.size_bytes, size));
      const bool reads_only = disk.identity != nullptr && disk.identity->right == WriteRight::none;
      // A server that only reads leaves the file as it is.
      if (!binding.is_new && !reads_only) file->store_identity();
    }
    return std::make_shared<Md5Export>(options(export_name), size, clock_, std::move(file),
                                       disk.identity);
  }

  [[nodiscard]] std::unique_ptr<Md5File> open_file(Layer& below, const FileBinding& binding,
                                                   const BlockGeometry& geometry) {
    auto file = file_->open(binding);
    switch (binding.worth) {
      case FileBinding::Worth::as_they_are:
        break;
      case FileBinding::Worth::compared:
        if (expect_same_disk(*file, below, geometry) || !binding.needs_a_match) break;
        throw Error(EINVAL, fmt::format("md5-file {} is for export {}, and has too few digests to "
                                        "tell whether this is the same disk: remove it, or open "
                                        "the disk under that name first",
                                        file_->path(), quoted_name(binding.identity.export_name)));
      case FileBinding::Worth::doubtful:
        log::error(
            "md5: md5-file {}: the disk may have changed without it: {}. Its digests are "
            "doubtful: a block that is what they say is verified, and one that is not passes",
            file_->path(), binding.reason);
    }
    file->change_identity(binding.identity);
    return file;
  }

  [[nodiscard]] Md5Options options(const std::string& export_name) const {
    const Metrics metrics = metrics_of_export(export_name);
    return {.table_blocks = cache_size_,
            .cache_time = std::chrono::milliseconds(cache_time_ms_),
            .retry_time = std::chrono::milliseconds(retry_time_ms_),
            .min_write_delay = std::chrono::milliseconds(min_write_delay_ms_),
            .verbose = md5_debug_verbose != 0,
            .counters = {.verified_bytes = metrics.counter(metric::kMd5VerifiedBytes),
                         .mismatches = metrics.counter(metric::kMd5Mismatches),
                         .failures = metrics.counter(metric::kMd5Failures)}};
  }

  std::uint64_t block_size_ = 0;  // 0 if not given
  unsigned cache_size_ = 10'000;
  std::uint64_t cache_time_ms_ = 10'000;
  std::string file_path_;
  std::uint64_t min_write_delay_ms_ = 0;
  std::uint64_t retry_time_ms_ = 30'000;

  NbdkitClock clock_;
  std::optional<LockedMd5File> file_;  // from get_ready on, with md5-file
  ExportRule exports_ = ExportRule::found_out;
  DiskRegistry<Md5Export> disks_{{.filter = "md5"}, exports_};
};

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::Md5Filter)
