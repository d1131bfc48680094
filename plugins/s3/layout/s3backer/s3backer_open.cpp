#include "plugins/s3/layout/s3backer/s3backer_open.hpp"

#include <fmt/core.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/s3backer/s3backer_cipher.hpp"
#include "plugins/s3/layout/s3backer/s3backer_format.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "plugins/s3/store/conditional_puts.hpp"

namespace nbdstack {
namespace {

constexpr const char* kDefaultCipher = "AES-128-CBC";
constexpr std::string_view kEncryption = "encrypt-";

class Opener {
 public:
  Opener(ObjectStore& store, const VolumeRequest& request, const std::string& place)
      : store_(store),
        request_(request),
        place_(place),
        names_(s3backer_prefix(request), request.hash_prefix) {}

  VolumeLayout open() {
    look_around();
    const BlockGeometry geometry = s3backer_geometry(findings_,
                                                     {.size_bytes = request_.size_bytes,
                                                      .block_size = request_.object_size,
                                                      .force_size = request_.force_size},
                                                     names_, place_);
    log::debug("{}: s3backer volume, size {}, block size {}", place_, geometry.size_bytes(),
               geometry.block_size());
    const auto format = std::make_shared<S3backerFormat>(names_, geometry, coding());
    if (request_.passphrase.has_value() && !request_.readonly) check_passphrase(*format, geometry);
    return {.kind = VolumeKind::blocks,
            .layout = Layout::s3backer,
            .key = request_.key,
            .size_bytes = geometry.size_bytes(),
            .object_size = geometry.block_size(),
            .place = place_,
            .format = format,
            .mount_token = names_.mount_token(),
            .descriptor_change = {}};
  }

 private:
  // Finds block 0, the last block as far as the geometry needs it, and one that shows the cipher.
  void look_around() {
    refuse_own_layout();
    findings_.block_0 = store_.look_up(names_.block({0}));
    if (findings_.block_0.has_value()) sample_ = {BlockNumber{0}, *findings_.block_0};
    std::optional<BlockNumber> first_listed;
    store_.list_in_any_order(names_.prefix(), [&](const ListedObject& object) {
      refuse_other_names(object.key);
      const bool looks_at_all = !is_in_order();  // the highest number may come at any place
      const auto block = names_.parse_block(object.key);
      if (!block.has_value()) {
        return looks_at_all || may_be_followed_by_block(names_.prefix(), object.key);
      }
      if (!first_listed.has_value()) first_listed = *block;
      findings_.last_block = std::max(findings_.last_block.value_or(*block), *block);
      return looks_at_all;
    });
    if (!sample_.has_value() && first_listed.has_value()) {
      if (const auto object = store_.look_up(names_.block(*first_listed))) {
        sample_ = {*first_listed, *object};
      }
    }
    if (is_in_order()) look_behind_the_end();
  }

  // Returns whether a listing is in the order of the blocks' numbers.
  [[nodiscard]] bool is_in_order() const { return !names_.with_hash() && store_.lists_in_order(); }

  // If names are ordered, a listing from the given or recorded end on shows blocks beyond it.
  void look_behind_the_end() {
    S3backerRecord recorded;
    if (findings_.block_0.has_value()) {
      recorded = S3backerRecord::parse(findings_.block_0->attributes);
    }
    const std::uint64_t block_size =
        recorded.block_size.value_or(request_.object_size.value_or(kS3backerBlock_bytes_default));
    for (const auto& size : {request_.size_bytes, recorded.size_bytes}) {
      const std::uint64_t end = size.value_or(0) / block_size;
      if (end == 0 || end > kS3backerBlocks_max) continue;
      if (const auto block = first_block_from({end})) {
        findings_.last_block = *block;
        return;
      }
      if (request_.size_bytes == recorded.size_bytes) return;
    }
  }

  std::optional<BlockNumber> first_block_from(BlockNumber end) {
    std::optional<BlockNumber> found;
    store_.list(names_.prefix(), names_.block({end.value - 1}), [&](const ListedObject& object) {
      found = names_.parse_block(object.key);
      return !found.has_value() && may_be_followed_by_block(names_.prefix(), object.key);
    });
    return found;
  }

  // A volume of our own layout can lie there only if the prefix is a key.
  void refuse_own_layout() {
    const std::string& prefix = names_.prefix();
    if (!prefix.empty() && !prefix.ends_with('/')) return;
    own_names_.emplace(prefix.substr(0, prefix.size() - (prefix.empty() ? 0 : 1)));
    if (store_.look_up(own_names_->descriptor())) throw other_layout(own_names_->descriptor());
  }

  [[nodiscard]] Error other_layout(const std::string& key) const {
    return {EINVAL, fmt::format("{} holds {}, which is of a volume that is not s3backer's: leave "
                                "out layout=s3backer, or use another key",
                                place_, key)};
  }

  void refuse_other_names(const std::string& key) const {
    if (own_names_.has_value() && own_names_->parse_block(key)) throw other_layout(key);
    const S3backerNames other(names_.prefix(), !names_.with_hash());
    if (!other.parse_block(key).has_value()) return;
    throw Error(EINVAL, fmt::format("{} holds {}, which is the name of a block {} a hash: give "
                                    "block-hash-prefix={}",
                                    place_, key, other.with_hash() ? "with" : "without",
                                    other.with_hash() ? "true" : "false"));
  }

  [[nodiscard]] S3backerCoding coding() const {
    S3backerCoding coding{.default_encoding = request_.default_content_encoding};
    if (request_.passphrase.has_value()) {
      coding.cipher = cipher();
    } else if (!request_.cipher.empty()) {
      throw Error(EINVAL, fmt::format("encrypt={} needs passphrase=", request_.cipher));
    } else if (!cipher_of_sample().empty()) {
      throw Error(EINVAL, fmt::format("the volume in {} is encrypted with {}: give its passphrase=",
                                      place_, cipher_of_sample()));
    }
    coding.compression = request_.compression.value_or(
        coding.cipher != nullptr ? Compression::deflate : Compression::none);
    coding.level = request_.compression_level;
    if (!is_valid_level(coding.compression, coding.level)) {
      throw Error(EINVAL, fmt::format("compress-level={} is not a level of compress={}",
                                      coding.level, to_string(coding.compression)));
    }
    return coding;
  }

  [[nodiscard]] std::unique_ptr<const S3backerCipher> cipher() const {
    const std::string found = cipher_of_sample();
    if (sample_.has_value() && found.empty()) {
      throw Error(EINVAL, fmt::format("the volume in {} is not encrypted, by its {}: leave out "
                                      "passphrase= and encrypt=",
                                      place_, names_.block(sample_->block)));
    }
    const std::string name = found.empty() ? kDefaultCipher : found;
    auto cipher = std::make_unique<S3backerCipher>(
        S3backerCipherSettings{.cipher = request_.cipher.empty() ? name : request_.cipher,
                               .password = *request_.passphrase,
                               .bucket = request_.bucket,
                               .prefix = names_.prefix(),
                               .key_bytes = request_.key_length_bytes});
    if (!found.empty() && !cipher->is_called(found)) {
      throw Error(EINVAL, fmt::format("encrypt={} was given, but the volume in {} is encrypted "
                                      "with {}",
                                      request_.cipher, place_, found));
    }
    return cipher;
  }

  void check_passphrase(const S3backerFormat& format, const BlockGeometry& geometry) {
    if (!sample_.has_value()) return;
    const std::string name = names_.block(sample_->block);
    std::vector<std::byte> body(geometry.block_size() + format.overhead_bytes());
    const auto object = store_.fetch(name, body);
    if (!object.has_value()) return;
    std::vector<std::byte> data(geometry.block_size());
    try {
      format.decode(sample_->block, std::span(body).first(object->size_bytes), object->attributes,
                    data);
    } catch (const Error& error) {
      throw Error(EACCES, fmt::format("the passphrase is not the one of the volume in {}, or {} is "
                                      "damaged: {}",
                                      place_, name, error.what()));
    }
  }

  [[nodiscard]] std::string cipher_of_sample() const {
    if (!sample_.has_value()) return {};
    std::string encoding =
        encoding_of(sample_->object.attributes, request_.default_content_encoding);
    std::erase_if(encoding, [](char c) { return c == ' ' || c == '\t'; });
    const std::string last = encoding.substr(encoding.rfind(',') + 1);  // npos + 1 is 0
    const bool is_encryption =
        ::strncasecmp(last.c_str(), kEncryption.data(), kEncryption.size()) == 0;
    return is_encryption ? last.substr(kEncryption.size()) : std::string();
  }

  // A block that shows how the others are written.
  struct Sample {
    BlockNumber block;
    ObjectInfo object;
  };

  ObjectStore& store_;
  const VolumeRequest& request_;
  const std::string& place_;
  const S3backerNames names_;
  S3backerFindings findings_;
  std::optional<Sample> sample_;
  std::optional<ObjectNames> own_names_;  // those that a volume of our own would have
};

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace

std::string s3backer_prefix(const VolumeRequest& request) {
  if (request.prefix.has_value()) return *request.prefix;
  return request.key.empty() ? "" : request.key + "/";
}

bool is_s3backer_block(const std::string& prefix, const std::string& name) {
  return S3backerNames(prefix, false).parse_block(name).has_value() ||
         S3backerNames(prefix, true).parse_block(name).has_value();
}

bool may_be_followed_by_block(const std::string& prefix, const std::string& name) {
  return name.size() <= prefix.size() || name[prefix.size()] <= 'f';
}

VolumeLayout open_s3backer(ObjectStore& store, const VolumeRequest& request,
                           const std::string& place) {
  return Opener(store, request, place).open();
}

std::string put_mount_token(ObjectStore& store, const VolumeLayout& layout, bool force) {
  const auto token = S3backerToken::make(host_name(), std::chrono::system_clock::now());
  const auto body = std::as_bytes(std::span(token.body));
  const PutOptions options{.attributes = token.attributes, .with_checksum = false};
  const PutOutcome outcome = force ? store.put(layout.mount_token, body, options)
                                   : put_if_absent(store, layout.mount_token, body, options);
  if (outcome.result == PutResult::stored) return s3backer_token_identity(token.attributes);
  const auto text = store.get_text(layout.mount_token, kS3backerToken_bytes_max);
  throw Error(
      EBUSY,
      fmt::format("the volume in {} is in use: {} was put there by {}; if nobody uses it "
                  "any more, start with own=force",
                  layout.place, layout.mount_token, describe_s3backer_token(text.value_or(""))));
}

void remove_mount_token(ObjectStore& store, const VolumeLayout& layout, const std::string& ours) {
  const auto found = store.look_up(layout.mount_token);
  if (!found.has_value() || s3backer_token_identity(found->attributes) != ours) return;
  store.remove(std::span(&layout.mount_token, 1));
}

}  // namespace nbdstack
