#include "plugins/s3/volume_descriptor.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "nbdstack-volume";
constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kFields[] = {"format", "version", "size", "object-size", "id"};

[[noreturn]] void refuse(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL, fmt::format("{}: not a volume descriptor that this version understands: {}",
                                  object_name, reason));
}

std::uint64_t number_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_number_unsigned()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no number", field));
  }
  return found->get<std::uint64_t>();
}

std::string text_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_string()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no text", field));
  }
  return found->get<std::string>();
}

// Format and version come first: the other fields mean something only after them.
void check_version(const Json& json, const std::string& object_name) {
  const std::string format = text_of(json, "format", object_name);
  if (format != kFormat) refuse(object_name, fmt::format("its format is \"{}\"", format));
  const std::uint64_t version = number_of(json, "version", object_name);
  if (version != kVersion) {
    refuse(object_name, fmt::format("it is of version {}, and version {} is the only one known",
                                    version, kVersion));
  }
}

void check_fields(const Json& json, const std::string& object_name) {
  for (const auto& item : json.items()) {
    if (std::find(std::begin(kFields), std::end(kFields), item.key()) == std::end(kFields)) {
      refuse(object_name, fmt::format("the field \"{}\" is unknown", item.key()));
    }
  }
}

}  // namespace

VolumeDescriptor VolumeDescriptor::make(std::uint64_t size_bytes, std::uint32_t object_size) {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", random());
  return {.size_bytes = size_bytes, .object_size = object_size, .id = id};
}

VolumeDescriptor VolumeDescriptor::parse(const std::string& text, const std::string& object_name) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) refuse(object_name, "it is no JSON object");
  check_version(json, object_name);
  check_fields(json, object_name);

  const std::uint64_t size_bytes = number_of(json, "size", object_name);
  if (size_bytes == 0 || size_bytes > std::numeric_limits<std::int64_t>::max()) {
    refuse(object_name, fmt::format("a size of {} is not possible", size_bytes));
  }
  const std::uint64_t object_size = number_of(json, "object-size", object_name);
  if (object_size < kObjectSize_bytes_min || object_size > kObjectSize_bytes_max ||
      !std::has_single_bit(object_size)) {
    refuse(object_name, fmt::format("an object-size of {} is not possible", object_size));
  }
  return {.size_bytes = size_bytes,
          .object_size = static_cast<std::uint32_t>(object_size),
          .id = text_of(json, "id", object_name)};
}

std::string VolumeDescriptor::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["size"] = size_bytes;
  json["object-size"] = object_size;
  json["id"] = id;
  return json.dump(2) + "\n";
}

}  // namespace nbdstack
