#include "tests/crash/cloud.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/store/guarded_changes.hpp"

namespace nbdstack::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr unsigned kAttempts = 3;
constexpr seconds kHeld{60};  // by a service, of what was given up
constexpr seconds kSlow{25};

bool is_block(const std::string& key) {
  return ObjectNames("disk").parse_block(key).has_value();
}

ObjectInfo info_of(const Cloud::Object& object) {
  return {.size_bytes = object.body.size(),
          .etag = object.etag,
          .age = {},
          .attributes = object.attributes,
          .checksum = ChecksumKind::pieces};
}

}  // namespace

Cloud::Cloud(const FakeClock& clock, const CloudManners& manners, std::uint64_t seed)
    : clock_(clock), manners_(manners), random_(seed) {}

const Cloud::Object* Cloud::find(const std::string& key) const {
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : &found->second;
}

bool Cloud::apply(const Change& change) {
  const Object* const there = find(change.key);
  const bool is_conditional = change.creates_only || !change.etag.empty();
  const bool holds = change.creates_only
                         ? there == nullptr
                         : change.etag.empty() || (there != nullptr && there->etag == change.etag);
  const bool ignores = manners_.ignores_conditions_of_blocks && is_block(change.key);
  if (!holds && !ignores) return false;
  if (!change.body.has_value() && there == nullptr) return true;
  if (change.body.has_value()) {
    objects_[change.key] = {.body = *change.body,
                            .etag = '"' + to_hex(md5(*change.body)) + '"',
                            .attributes = change.attributes};
  } else {
    objects_.erase(change.key);
  }
  note_moment();
  std::uint64_t& last = changed_in_[change.key];
  const bool is_harmless =
      holds && change.was_sent_by_owner && (is_conditional || last <= change.life);
  last = std::max(last, change.life);
  if (is_block(change.key)) on_block_change_(change, is_harmless);
  return true;
}

void Cloud::apply_later(Duration delay, const Change& change) {
  late_.push_back({clock_.now() + delay, change});
  std::stable_sort(late_.begin(), late_.end(),
                   [](const Late& a, const Late& b) { return a.due < b.due; });
}

void Cloud::deliver_due() {
  while (!late_.empty() && late_.front().due <= clock_.now()) {
    const Change change = std::move(late_.front().change);
    late_.erase(late_.begin());
    if (apply(change)) ++late_done_;
  }
}

Cloud::Listing Cloud::true_listing() const {
  Listing listing;
  for (const auto& [key, object] : objects_) listing.emplace_back(key, object.etag);
  return listing;
}

void Cloud::note_moment() {
  constexpr std::size_t kMoments_max = 6;
  moments_.push_back(true_listing());
  if (moments_.size() > kMoments_max) moments_.erase(moments_.begin());
}

Cloud::Listing Cloud::listed() {
  Listing listing = true_listing();
  switch (draw(6)) {
    case 0:
      return {};
    case 1:
      return moments_.empty() ? listing : moments_[draw(moments_.size())];
    case 2:
      std::erase_if(listing, [&](const auto& /*entry*/) { return draw(4) == 0; });
      return listing;
    case 3:
      for (auto& [key, etag] : listing) std::replace(key.begin(), key.end(), '0', 'O');
      return listing;
    default:
      return listing;
  }
}

// The answer may be about an earlier moment than the one in which it arrives.
std::optional<Cloud::Object> CloudStore::read(const std::string& key) {
  wire_.touch();
  const bool goes_wrong = cloud_.goes_wrong();
  if (goes_wrong) wire_.pass(cloud_.part_of(kSlow));
  const Cloud::Object* const there = cloud_.find(key);
  const auto object = there == nullptr ? std::nullopt : std::optional(*there);
  if (goes_wrong) wire_.pass(cloud_.part_of(seconds(3)));
  wire_.touch();
  if (goes_wrong && cloud_.draw(3) == 0) throw Error(ETIMEDOUT, key + ": no answer");
  return object;
}

bool CloudStore::get(const std::string& key, std::span<std::byte> body) {
  const auto object = read(key);
  if (!object.has_value()) return false;
  if (object->body.size() != body.size()) throw Error(EIO, key + ": of another length");
  std::copy(object->body.begin(), object->body.end(), body.begin());
  return true;
}

bool CloudStore::get_range(const std::string& key, std::span<std::byte> body,
                           const ObjectPart& part) {
  const auto object = read(key);
  if (!object.has_value()) return false;
  if (object->body.size() != part.object_bytes) throw Error(EIO, key + ": of another length");
  if (!part.etag.empty() && part.etag != object->etag) throw Error(EIO, key + ": was replaced");
  std::copy_n(object->body.begin() + static_cast<std::ptrdiff_t>(part.offset), body.size(),
              body.begin());
  return true;
}

std::optional<std::string> CloudStore::get_text(const std::string& key, std::size_t size_limit) {
  const auto object = read(key);
  if (!object.has_value()) return std::nullopt;
  if (object->body.size() > size_limit) throw Error(EIO, key + ": too long");
  return std::string(reinterpret_cast<const char*>(object->body.data()), object->body.size());
}

std::optional<ObjectInfo> CloudStore::fetch(const std::string& key, std::span<std::byte> buffer) {
  const auto object = read(key);
  if (!object.has_value()) return std::nullopt;
  if (object->body.size() > buffer.size()) throw Error(EIO, key + ": too long");
  std::copy(object->body.begin(), object->body.end(), buffer.begin());
  return info_of(*object);
}

std::optional<ObjectInfo> CloudStore::look_up(const std::string& key) {
  const auto object = read(key);
  return object.has_value() ? std::optional(info_of(*object)) : std::nullopt;
}

// Returns whether its condition held.
bool CloudStore::send(Cloud::Change change, Doubt& doubt, bool& in_doubt) {
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    wire_.touch();
    if (may_write_ && !may_write_()) {
      throw Error(ESHUTDOWN, change.key + ": not sent, the lease does not allow it");
    }
    change.was_sent_by_owner = life_ == cloud_.owner();
    if (!cloud_.goes_wrong()) {
      const bool done = cloud_.apply(change);
      wire_.touch();
      return done;
    }
    // It is on its way for long, and is answered all the same.
    if (cloud_.draw(3) == 0) {
      wire_.pass(cloud_.part_of(kSlow));
      const bool done = cloud_.apply(change);
      wire_.touch();
      return done;
    }
    in_doubt = true;
    lose_answer(change, doubt);
  }
  throw Error(ETIMEDOUT, change.key + ": no answer");
}

void CloudStore::lose_answer(const Cloud::Change& change, Doubt& doubt) {
  doubt.is_open = true;
  const bool given_up = cloud_.draw(2) == 0;
  doubt.was_given_up = doubt.was_given_up || given_up;
  if (cloud_.draw(5) < 2) cloud_.apply(change);
  const Duration waited = cloud_.part_of(given_up ? Duration(seconds(10)) : Duration(seconds(2)));
  if (cloud_.draw(5) < 3) {
    const Duration held =
        cloud_.part_of(given_up ? Duration(kHeld) : Duration(ChangeGuard::kEndedBound));
    cloud_.apply_later(waited + held, change);
  }
  wire_.pass(waited);
}

PutOutcome CloudStore::put(const std::string& key, std::span<const std::byte> body,
                           const PutOptions& options) {
  Cloud::Change change{.key = key,
                       .body = Cloud::Bytes(body.begin(), body.end()),
                       .attributes = options.attributes,
                       .creates_only = options.mode == PutMode::create_only,
                       .etag = options.mode == PutMode::if_match ? options.etag : "",
                       .life = life_};
  Doubt unused;
  bool in_doubt = false;
  const bool done = send(change, options.doubt != nullptr ? *options.doubt : unused, in_doubt);
  const std::string etag = '"' + to_hex(md5(body)) + '"';
  if (done) return {PutResult::stored, etag};
  if (in_doubt) {
    const auto there = read(key);
    if (there.has_value() && there->body == change.body) return {PutResult::stored, etag};
  }
  return {change.creates_only ? PutResult::exists : PutResult::changed, {}};
}

void CloudStore::remove(std::span<const std::string> keys) {
  for (const std::string& key : keys) {
    Doubt doubt;
    bool in_doubt = false;
    send({.key = key, .life = life_}, doubt, in_doubt);
  }
}

// One request.
std::vector<std::string> CloudStore::remove_matching(std::span<const Removal> removals,
                                                     Doubt& doubt) {
  std::vector<std::string> refused;
  for (const Removal& each : removals) {
    bool in_doubt = false;
    const bool done = send({.key = each.key, .etag = each.etag, .life = life_}, doubt, in_doubt);
    if (!done && cloud_.find(each.key) != nullptr) refused.push_back(each.key);
  }
  return refused;
}

void CloudStore::list(const std::string& prefix, const std::string& start_after,
                      const std::function<bool(const ListedObject&)>& visit) {
  for (const auto& [key, etag] : cloud_.listed()) {
    if (!key.starts_with(prefix) || key <= start_after) continue;
    const Cloud::Object* const there = cloud_.find(key);
    const ListedObject object{
        .key = key, .size_bytes = there != nullptr ? there->body.size() : 0, .etag = etag};
    if (!visit(object)) return;
  }
}

}  // namespace nbdstack::testing
