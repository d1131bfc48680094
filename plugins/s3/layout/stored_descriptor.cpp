#include "plugins/s3/layout/stored_descriptor.hpp"

#include <fmt/core.h>

#include <span>

#include "common/error.hpp"
#include "plugins/s3/store/conditional_puts.hpp"

namespace nbdstack {
namespace {

// Far more than a descriptor: a longer object is not one.
constexpr std::size_t kDescriptor_bytes_max = 64UL * 1024;

}  // namespace

std::optional<StoredDescriptor> read_descriptor(ObjectStore& store, const ObjectNames& names) {
  const std::string name = names.descriptor();
  std::string text(kDescriptor_bytes_max, '\0');
  const auto object = store.fetch(name, std::as_writable_bytes(std::span(text)));
  if (!object.has_value()) return std::nullopt;
  text.resize(object->size_bytes);
  return StoredDescriptor{.descriptor = VolumeDescriptor::parse(text, name),
                          .name = name,
                          .text = text,
                          .etag = object->etag};
}

void replace_descriptor(ObjectStore& store, const StoredDescriptor& read,
                        const VolumeDescriptor& changed, const std::string& volume_key) {
  const std::string text = changed.to_json();
  const auto body = std::as_bytes(std::span(text));
  const auto somebody_was_faster = [&] {
    return Error(EBUSY,
                 fmt::format("{} was changed by somebody else meanwhile: start again", read.name));
  };
  const ConditionalPuts conditions = probe_conditional_puts(store, volume_key);
  if (conditions.honoured()) {
    const auto outcome = store.put(
        read.name, body, {.mode = PutMode::if_match, .etag = conditions.etag_to_send(read.etag)});
    if (outcome.result == PutResult::stored) return;
    // Or it was stored, but the answer was lost, and the PUT was sent again.
    if (store.get_text(read.name, kDescriptor_bytes_max) != text) throw somebody_was_faster();
    return;
  }
  if (store.get_text(read.name, kDescriptor_bytes_max) != read.text) throw somebody_was_faster();
  store.put(read.name, body, {});
}

}  // namespace nbdstack
