#include "filters/md5/file_binding.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "common/error.hpp"
#include "common/io/key_value_text.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

std::optional<std::uint64_t> term_of(const ShownDisk& disk) {
  if (disk.identity == nullptr || !disk.identity->term) return std::nullopt;
  return disk.identity->term->term;
}

// Returns why the digests prove nothing; empty if they do.
std::string doubt_of(const Md5FileIdentity& found, const ShownDisk& disk) {
  const auto& term = disk.identity->term;
  if (!found.term && !term) return {};
  if (found.term && !term) return "its writers are not counted any more (own=none)";
  if (!found.term) return "its writers were not counted until now (own=none)";
  if (term->still_true(*found.term)) return {};
  if (term->term < *found.term) {
    return fmt::format(
        "it was brought back from an older copy (writer's term {}, and {} when the "
        "digests were taken)",
        term->term, *found.term);
  }
  return fmt::format(
      "another server has written to it since, or it was brought back from an older copy (the "
      "digests were taken in writer's term {}, the last change was in {})",
      *found.term, term->since);
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(EINVAL, fmt::format("md5-file {} {}: start a server with a file of its own for that. "
                                  "If the file's disk is gone, remove the file: all digests in it "
                                  "are forgotten",
                                  path, why));
}

FileBinding bind_to_same_disk(const Md5FileIdentity& found, const ShownDisk& disk) {
  FileBinding binding;
  binding.identity = found;
  binding.identity.term = term_of(disk);
  binding.reason = doubt_of(found, disk);
  if (binding.reason.empty()) return binding;
  binding.worth = FileBinding::Worth::doubtful;
  ++binding.identity.generation;
  return binding;
}

}  // namespace

FileBinding bind_file(const std::optional<Md5FileIdentity>& found, const std::string& path,
                      const std::string& export_name, const ShownDisk& disk,
                      std::uint32_t block_size) {
  const std::string id = disk.identity == nullptr ? std::string() : disk.identity->id;
  if (found && !found->disk_id.empty()) {
    if (id.empty()) {
      refuse(path, fmt::format("is for the disk {}, and the plugin does not tell which disk export "
                               "{} is",
                               found->disk_id, quoted_name(export_name)));
    }
    if (id != found->disk_id) {
      refuse(path, fmt::format("is for the disk {}, and export {} is the disk {}", found->disk_id,
                               quoted_name(export_name), id));
    }
    return bind_to_same_disk(*found, disk);
  }
  FileBinding binding;
  if (found) {
    binding.worth = FileBinding::Worth::compared;
    binding.identity = *found;
  } else {
    binding.is_new = true;
    binding.identity.export_name = export_name;
    binding.identity.block_size = block_size;
    binding.identity.uuid = random_uuid();
  }
  const bool same_name = binding.identity.export_name == export_name;
  if (id.empty() && !same_name) {
    refuse(path, fmt::format("is for export {}, and cannot serve {}, too",
                             quoted_name(binding.identity.export_name), quoted_name(export_name)));
  }
  binding.needs_a_match = !same_name;
  binding.identity.disk_id = id;
  binding.identity.term = term_of(disk);
  return binding;
}

}  // namespace nbdstack
