#include "plugins/s3/command/volume_report.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "common/params/values.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "plugins/s3/lease/lease_object.hpp"
#include "plugins/s3/lease/lease_timing.hpp"

namespace nbdstack {
namespace {

const char* name_of(FoundKind kind) {
  switch (kind) {
    case FoundKind::own:
      return "own";
    case FoundKind::half_deleted:
      return "half-deleted";
    case FoundKind::foreign:
      return "foreign";
    case FoundKind::s3backer:
      return "s3backer";
    case FoundKind::image:
      return "image";
  }
  return nullptr;
}

const char* explanation_of(FoundKind kind) {
  switch (kind) {
    case FoundKind::own:
      return "nbdstack's own";
    case FoundKind::half_deleted:
      return "being deleted: `nbdstack-s3 delete` finishes that";
    case FoundKind::foreign:
      return "written by another program, such as nbdkit's own S3 plugin";
    case FoundKind::s3backer:
      return "s3backer's";
    case FoundKind::image:
      return "a single object, served read-only";
  }
  return nullptr;
}

std::string size_in_words(std::uint64_t size_bytes) {
  const std::string brief = format_size(size_bytes);
  const std::string exact = fmt::format("{}", size_bytes);
  return brief == exact ? exact : fmt::format("{} ({})", exact, brief);
}

StoredAmount count(ObjectStore& store, const FoundVolume& volume, std::size_t requests,
                   const std::function<void(std::uint64_t)>& progress) {
  StoredAmount stored;
  const BlockNumber end{volume.block_count()};
  BlockListing listing(store, *volume.names, requests);
  const auto add = [&](const ListedBlocks& listed) {
    for (const ListedBlock& each : listed.blocks) {
      stored.bytes += each.block < end ? each.size_bytes : 0;
      ++(each.block < end ? stored.objects : stored.objects_behind_end);
    }
    if (progress) progress(stored.objects + stored.objects_behind_end);
    return true;
  };
  if (!volume.names->names_are_ordered()) {
    listing.run({0}, volume.block_limit(), add);  // which lists every object in any case
    return stored;
  }
  listing.run({0}, end, add);
  listing.run(end, volume.block_limit(), add);
  return stored;
}

std::optional<OwnerReport> owner_by_token(ObjectStore& store, const FoundVolume& volume) {
  const auto text = store.get_text(volume.mount_token, kS3backerToken_bytes_max);
  if (!text.has_value()) return std::nullopt;
  return OwnerReport{.words = "mounted by " + describe_s3backer_token(*text), .age = {}};
}

std::optional<OwnerReport> owner_by_lease(ObjectStore& store, const FoundVolume& volume) {
  const LeaseObject object(store, lease_object_key(volume.key), {});
  const auto seen = object.read();
  if (!seen.has_value()) return std::nullopt;
  if (!seen->record.has_value()) return OwnerReport{.words = seen->fault, .age = seen->age};
  if (seen->record->state == LeaseRecord::State::released) return std::nullopt;
  const RecordTiming timing{seen->record->duration};
  return OwnerReport{.words = seen->record->owner_in_words(),
                     .age = seen->age,
                     .expired = seen->age.has_value() && *seen->age > timing.expiry()};
}

}  // namespace

double VolumeReport::stored_percent() const {
  const std::uint64_t blocks = volume.block_count();
  return blocks == 0 ? 0
                     : 100.0 * static_cast<double>(stored.objects) / static_cast<double>(blocks);
}

std::string VolumeReport::to_text() const {
  std::string text =
      fmt::format("volume: {}\nlayout: {} ({})\nsize: {}\n", volume.place, name_of(volume.kind),
                  explanation_of(volume.kind), size_in_words(volume.size_bytes));
  if (volume.kind == FoundKind::image) return text;
  text += fmt::format("object-size: {}\n", size_in_words(volume.object_size));
  if (volume.descriptor.has_value()) {
    const VolumeDescriptor& descriptor = volume.descriptor->descriptor;
    text += fmt::format("id: {}\nencrypted: {}\ncompressed: {}\n", descriptor.id,
                        descriptor.encryption.has_value() ? "aes-256-gcm" : "no",
                        descriptor.framed ? "objects may be" : "no");
  }
  text += fmt::format("stored: {} of {} objects ({:.1f} %), {} bytes\n", stored.objects,
                      volume.block_count(), stored_percent(), stored.bytes);
  if (stored.objects_behind_end > 0) {
    text += fmt::format(
        "behind the end: {} objects, which `nbdstack-s3 resize` with the present size removes\n",
        stored.objects_behind_end);
  }
  text += "owner: " + (owner.has_value() ? owner->words : "nobody");
  if (owner.has_value() && owner->age.has_value()) {
    text += fmt::format(", last sign of life {} s ago{}", owner->age->count(),
                        owner->expired ? ": expired" : "");
  }
  text += "\n";
  if (cost.has_value()) text += fmt::format("cost: {}\n", in_words(*cost));
  return text;
}

std::string VolumeReport::to_json() const {
  nlohmann::ordered_json json;
  json["volume"] = volume.place;
  json["key"] = volume.key;
  json["layout"] = name_of(volume.kind);
  json["size"] = volume.size_bytes;
  json["object-size"] = volume.object_size;
  if (volume.descriptor.has_value()) {
    const VolumeDescriptor& descriptor = volume.descriptor->descriptor;
    json["id"] = descriptor.id;
    json["framed"] = descriptor.framed;
    json["encrypted"] = descriptor.encryption.has_value();
  }
  json["blocks"] = volume.block_count();
  json["objects"] = stored.objects;
  json["stored-bytes"] = stored.bytes;
  json["stored-percent"] = stored_percent();
  json["objects-behind-end"] = stored.objects_behind_end;
  json["owner"] = nullptr;
  if (owner.has_value()) {
    json["owner"] = {{"words", owner->words}, {"expired", owner->expired}};
    if (owner->age.has_value()) json["owner"]["age"] = owner->age->count();
  }
  if (cost.has_value()) {
    json["cost"] = {{"stack", cost->stack},
                    {"volumes", cost->volumes},
                    {"requests-dollars", cost->requests.total()},
                    {"storage-dollars-a-month", cost->storage_a_month}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

VolumeReport report_volume(ObjectStore& store, FoundVolume volume, std::size_t requests,
                           const std::function<void(std::uint64_t objects)>& progress) {
  VolumeReport report{.volume = std::move(volume), .stored = {}, .owner = {}};
  if (report.volume.kind == FoundKind::image) return report;
  report.stored = count(store, report.volume, requests, progress);
  report.owner = report.volume.kind == FoundKind::s3backer ? owner_by_token(store, report.volume)
                                                           : owner_by_lease(store, report.volume);
  return report;
}

}  // namespace nbdstack
