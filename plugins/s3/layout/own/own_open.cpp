#include "plugins/s3/layout/own/own_open.hpp"

#include <fmt/core.h>

#include <bit>
#include <span>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "plugins/s3/store/conditional_puts.hpp"

namespace nbdstack {
namespace {

// The last block that a volume can have: the largest disk, in the smallest objects.
constexpr BlockNumber kBlockEnd{(std::uint64_t{1} << 63U) / 4096};

}  // namespace

void throw_disagreement(const char* name, std::uint64_t given, const std::string& place,
                        std::uint64_t found) {
  throw Error(EINVAL, fmt::format("{0}={1} was given, but the volume in {2} was created with "
                                  "{0}={3}: leave {0} out, or use another key for a new volume",
                                  name, given, place, found));
}

OwnOpener::OwnOpener(ObjectStore& store, const VolumeRequest& request, std::string place)
    : store_(store), request_(request), place_(std::move(place)), names_(request.key) {}

void OwnOpener::check_cipher() const {
  if (request_.cipher.empty() || request_.cipher == kOwnCipher) return;
  throw Error(EINVAL, fmt::format("encrypt={}: a volume of this layout is encrypted with {} or not "
                                  "at all",
                                  request_.cipher, kOwnCipher));
}

void OwnOpener::check_level() const {
  const Compression method = request_.compression.value_or(Compression::none);
  if (is_valid_level(method, request_.compression_level)) return;
  throw Error(EINVAL, fmt::format("compress-level={} is not a level of compress={}",
                                  request_.compression_level, to_string(method)));
}

// Other layouts have other limits.
void OwnOpener::check_object_size() const {
  const std::uint32_t size = request_.object_size.value_or(kObjectSize_bytes_default);
  if (std::has_single_bit(size) && size >= kObjectSize_bytes_min && size <= kObjectSize_bytes_max) {
    return;
  }
  throw Error(EINVAL, fmt::format("object-size={} is no power of two from {} to {}, as a volume of "
                                  "this layout needs it",
                                  size, kObjectSize_bytes_min, kObjectSize_bytes_max));
}

std::optional<VolumeLayout> OwnOpener::open_described() {
  auto stored = read_descriptor(store_, names_);
  if (!stored.has_value()) return std::nullopt;
  VolumeDescriptor descriptor = stored->descriptor;
  if (request_.size_bytes.value_or(descriptor.size_bytes) != descriptor.size_bytes) {
    throw_disagreement("size", *request_.size_bytes, place_, descriptor.size_bytes);
  }
  if (request_.object_size.value_or(descriptor.object_size) != descriptor.object_size) {
    throw_disagreement("object-size", *request_.object_size, place_, descriptor.object_size);
  }
  auto volume_key = unlock(descriptor);
  log::debug("{}: volume {}, size {}, object-size {}", place_, descriptor.id, descriptor.size_bytes,
             descriptor.object_size);
  const bool compresses = request_.compression.value_or(Compression::none) != Compression::none;
  std::optional<VolumeLayout::DescriptorChange> change;
  if (compresses && !request_.readonly && descriptor.allow_frames()) {
    change = {.read = std::move(*stored), .changed = descriptor};
  }
  VolumeLayout layout = layout_of(descriptor, std::move(volume_key));
  layout.descriptor_change = std::move(change);
  return layout;
}

// Returns the key of an encrypted volume, nothing for others. The request has to agree.
std::optional<SecretKey> OwnOpener::unlock(const VolumeDescriptor& descriptor) const {
  check_cipher();
  if (request_.passphrase.has_value()) {
    return descriptor.unlock(*request_.passphrase, names_.descriptor());
  }
  if (descriptor.encryption.has_value()) {
    throw Error(EINVAL, fmt::format("the volume in {} is encrypted: give its passphrase=", place_));
  }
  if (!request_.cipher.empty()) {
    throw Error(EINVAL, fmt::format("encrypt={} was given, but the volume in {} is not encrypted",
                                    request_.cipher, place_));
  }
  return std::nullopt;
}

VolumeLayout OwnOpener::layout_of(const VolumeDescriptor& descriptor,
                                  std::optional<SecretKey> volume_key) const {
  check_level();
  OwnFormatSettings settings{.key = request_.key,
                             .object_size = descriptor.object_size,
                             .volume_id = descriptor.id,
                             .compression = request_.compression.value_or(Compression::none),
                             .level = request_.compression_level,
                             .framed = descriptor.framed,
                             .volume_key = std::move(volume_key)};
  if (request_.readonly) settings.compression = Compression::none;
  return {.kind = VolumeKind::blocks,
          .layout = Layout::own,
          .key = request_.key,
          .size_bytes = descriptor.size_bytes,
          .object_size = descriptor.object_size,
          .place = place_,
          .id = descriptor.id,
          .format = std::make_shared<OwnFormat>(std::move(settings)),
          .mount_token = {},
          .descriptor_change = {}};
}

VolumeLayout OwnOpener::open_foreign(const ListedObject& block) {
  if (!request_.size_bytes.has_value() || !request_.object_size.has_value()) {
    throw Error(EINVAL,
                fmt::format("{} holds blocks, such as {}, but no {}: to open a volume that another "
                            "program wrote (nbdkit's S3 plugin, say), give its size= and "
                            "object-size= both",
                            place_, block.key, names_.descriptor()));
  }
  check_object_size();
  if (block.size_bytes != *request_.object_size) {
    throw Error(EINVAL, fmt::format("object-size={} was given, but {} in {} is {} bytes long",
                                    *request_.object_size, block.key, place_, block.size_bytes));
  }
  if (request_.compression.value_or(Compression::none) != Compression::none ||
      request_.passphrase.has_value() || !request_.cipher.empty()) {
    throw Error(EINVAL, fmt::format("{} holds a volume that another program wrote, and which it "
                                    "could not read any more: leave out compress=, encrypt= and "
                                    "passphrase=",
                                    place_));
  }
  const BlockGeometry geometry(*request_.size_bytes, *request_.object_size);
  VolumeDescriptor as_if;
  as_if.size_bytes = *request_.size_bytes;
  as_if.object_size = *request_.object_size;
  VolumeLayout layout = layout_of(as_if, std::nullopt);
  if (const auto beyond = block_beyond(*layout.format, {geometry.block_count()})) {
    throw Error(EINVAL, fmt::format("size={} was given, but {} holds {}, which lies behind that",
                                    *request_.size_bytes, place_, *beyond));
  }
  return layout;
}

std::optional<std::string> OwnOpener::block_beyond(const BlockFormat& format, BlockNumber end) {
  std::optional<std::string> found;
  if (end >= kBlockEnd) return found;
  BlockListing::run_in_order(store_, format, end, kBlockEnd, [&](const ListedBlocks& listed) {
    if (!listed.blocks.empty()) found = format.name_of(listed.blocks.front().block);
    return !found.has_value();
  });
  return found;
}

VolumeLayout OwnOpener::create() {
  if (request_.readonly) {
    throw Error(EROFS, fmt::format("there is no volume in {}, and a server that only reads "
                                   "(readonly=true, nbdkit -r) creates none",
                                   place_));
  }
  check_cipher();
  check_level();
  check_object_size();
  if (!request_.cipher.empty() && !request_.passphrase.has_value()) {
    throw Error(EINVAL, fmt::format("encrypt={} needs passphrase=", request_.cipher));
  }
  const std::uint32_t object_size = request_.object_size.value_or(kObjectSize_bytes_default);
  auto descriptor = VolumeDescriptor::make(*request_.size_bytes, object_size);
  std::optional<SecretKey> volume_key;
  if (request_.passphrase.has_value()) volume_key = descriptor.encrypt(*request_.passphrase);
  if (request_.compression.value_or(Compression::none) != Compression::none) {
    static_cast<void>(descriptor.allow_frames());
  }
  const std::string text = descriptor.to_json();
  const PutOutcome outcome =
      put_if_absent(store_, names_.descriptor(), std::as_bytes(std::span(text)));
  if (outcome.result == PutResult::stored) {
    log::debug("{}: created volume {}", place_, descriptor.id);
    VolumeLayout layout = layout_of(descriptor, std::move(volume_key));
    layout.is_new = shows_descriptor();
    return layout;
  }
  if (auto described = open_described()) return std::move(*described);
  throw Error(EIO, fmt::format("{}: {} was created and removed again by somebody else meanwhile; "
                               "start again",
                               place_, names_.descriptor()));
}

// A listing without blocks before the descriptor is believed only if listings show the descriptor.
bool OwnOpener::shows_descriptor() {
  std::string reason = "it is not in a listing";
  try {
    if (is_listed(store_, names_.descriptor())) return true;
  } catch (const Error& error) {
    reason = error.what();
  }
  log::error(
      "{}: a listing does not show {}, which was created this moment: whether there are blocks of "
      "another volume is not known, and each block is asked for before it is taken for empty ({})",
      place_, names_.descriptor(), reason);
  return false;
}

}  // namespace nbdstack
