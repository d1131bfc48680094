#include "plugins/s3/lease/lease_object.hpp"

#include <fmt/core.h>

#include <array>
#include <span>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kRecord_bytes_max = 16384;

}  // namespace

LeaseObject::LeaseObject(ObjectStore& store, std::string key, ConditionalPuts conditions)
    : store_(store), key_(std::move(key)), conditions_(std::move(conditions)) {}

std::optional<SeenLease> LeaseObject::read() const {
  std::array<std::byte, kRecord_bytes_max> buffer{};
  const auto object = store_.fetch(key_, buffer);
  if (!object.has_value()) return std::nullopt;
  SeenLease seen{.version = {.text = {}, .etag = object->etag},
                 .age = object->age,
                 .record = std::nullopt,
                 .fault = {}};
  seen.version.text.assign(reinterpret_cast<const char*>(buffer.data()), object->size_bytes);
  try {
    seen.record = LeaseRecord::parse(seen.version.text, key_);
  } catch (const Error& error) {
    seen.fault = error.what();
  }
  return seen;
}

std::optional<SeenLease> LeaseObject::read_to_replace() const {
  try {
    return read();
  } catch (const Error& error) {
    if (error.code() != EIO) throw;
    const auto object = store_.look_up(key_);
    if (!object.has_value()) return std::nullopt;
    return SeenLease{.version = {.text = {}, .etag = object->etag},
                     .age = object->age,
                     .record = std::nullopt,
                     .fault = error.what()};
  }
}

std::optional<LeaseVersion> LeaseObject::put_over(const std::optional<LeaseVersion>& predecessor,
                                                  const LeaseRecord& record) {
  std::string text = record.to_json();
  if (!conditions_.honoured()) return put_plainly(predecessor, text);
  PutOptions options{.mode = PutMode::create_only};
  if (predecessor.has_value()) {
    options.mode = PutMode::if_match;
    options.etag = conditions_.etag_to_send(predecessor->etag);
  }
  PutOutcome outcome = put(text, options);
  if (outcome.result == PutResult::unsupported) {
    throw Error(EIO, fmt::format("{}: the store honoured conditional PUTs when it was tried, and "
                                 "now says that it knows none",
                                 key_));
  }
  if (outcome.result != PutResult::stored) return std::nullopt;
  if (outcome.etag.empty()) return find(text);
  return LeaseVersion{.text = std::move(text), .etag = std::move(outcome.etag)};
}

std::optional<LeaseVersion> LeaseObject::put_plainly(const std::optional<LeaseVersion>& predecessor,
                                                     const std::string& text) {
  if (predecessor.has_value()) {
    if (!find(predecessor->text).has_value()) return std::nullopt;
    put(text, {});
    return find(text);
  }
  const PutResult created = put(text, {.mode = PutMode::create_only, .is_trial = true}).result;
  if (created == PutResult::unsupported) {
    if (store_.look_up(key_).has_value()) return std::nullopt;
    put(text, {});
  }
  return find(text);
}

PutOutcome LeaseObject::put(const std::string& text, const PutOptions& options) {
  return store_.put(key_, std::as_bytes(std::span(text)), options);
}

std::optional<LeaseVersion> LeaseObject::find(const std::string& text) const {
  auto seen = read();
  if (!seen.has_value() || seen->version.text != text) return std::nullopt;
  return std::move(seen->version);
}

}  // namespace nbdstack
