#include "plugins/s3/command/deletion_mark.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "plugins/s3/layout/object_names.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "nbdstack-volume-being-deleted";
// Far more than a descriptor or a mark.
constexpr std::size_t kText_bytes_max = 64UL * 1024;

std::uint64_t number_of(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

}  // namespace

std::string DeletionMark::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["size"] = size_bytes;
  json["object-size"] = object_size;
  return json.dump(2) + "\n";
}

std::optional<DeletionMark> DeletionMark::parse(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) return std::nullopt;
  const std::uint64_t object_size = number_of(json, "object-size");
  if (object_size > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return DeletionMark{.size_bytes = number_of(json, "size"),
                      .object_size = static_cast<std::uint32_t>(object_size)};
}

std::optional<DeletionMark> read_deletion_mark(ObjectStore& store, const std::string& volume_key) {
  const auto text = store.get_text(ObjectNames(volume_key).descriptor(), kText_bytes_max);
  return text.has_value() ? DeletionMark::parse(*text) : std::nullopt;
}

}  // namespace nbdstack
