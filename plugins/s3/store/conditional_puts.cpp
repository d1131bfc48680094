#include "plugins/s3/store/conditional_puts.hpp"

#include <fmt/core.h>

#include <exception>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

std::string without_quotes(const std::string& etag) {
  const bool quoted = etag.size() >= 2 && etag.front() == '"' && etag.back() == '"';
  return quoted ? etag.substr(1, etag.size() - 2) : etag;
}

std::string random_name(const std::string& volume_key) {
  std::random_device random;
  std::string name = (volume_key.empty() ? "" : volume_key + "/") + "nbdstack-probe-";
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", random());
  return name;
}

ConditionalPuts not_honoured(std::string reason) {
  return {.support = ConditionSupport::not_honoured, .reason = std::move(reason)};
}

class Probe {
 public:
  Probe(ObjectStore& store, const std::string& volume_key)
      : store_(store), key_(random_name(volume_key)), missing_key_(key_ + "-missing") {}
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  ~Probe() {
    if (left_behind_.empty()) return;
    try {
      store_.remove(left_behind_);
    } catch (const std::exception& error) {
      log::error("{}: an object that was only put to try the store could not be removed again: {}",
                 left_behind_.front(), error.what());
    }
  }

  ConditionalPuts run() {
    if (const auto fault = fault_of_create_only()) return not_honoured(*fault);
    ConditionalPuts found = match();
    if (!found.honoured()) return found;
    found.etags_are_md5 = etags_are_md5_;
    return found;
  }

 private:
  PutOutcome put(const std::string& key, PutOptions options) {
    options.is_trial = true;
    // Each body differs, see http_store.hpp on answers that were lost.
    const std::string text =
        fmt::format("step {} of a probe of this store's conditions, {}\n", ++step_, key_);
    if (left_behind_.empty() || left_behind_.back() != key) left_behind_.push_back(key);
    const auto body = std::as_bytes(std::span(text));
    PutOutcome outcome = store_.put(key, body, options);
    if (outcome.result == PutResult::stored && options.mode == PutMode::create_only) {
      etags_are_md5_ = outcome.etag == '"' + to_hex(md5(body)) + '"';
    }
    if (outcome.result != PutResult::stored && key == missing_key_) left_behind_.pop_back();
    return outcome;
  }
  PutOutcome put_if_match(const std::string& key, const std::string& etag) {
    return put(key, {.mode = PutMode::if_match, .etag = etag});
  }
  [[nodiscard]] std::string etag_of(const PutOutcome& stored) {
    if (!stored.etag.empty()) return stored.etag;
    const auto object = store_.look_up(key_);
    return object.has_value() ? object->etag : std::string();
  }

  // Steps 1 and 2.
  std::optional<std::string> fault_of_create_only() {
    const PutOutcome created = put(key_, {.mode = PutMode::create_only});
    if (created.result == PutResult::unsupported) {
      return "it knows no PUT that creates only (If-None-Match): " + created.reason;
    }
    if (created.result != PutResult::stored) {
      return "it says of an object that does not exist that it does (If-None-Match)";
    }
    first_etag_ = etag_of(created);
    if (first_etag_.empty()) return "it gives its objects no ETag";
    const PutOutcome again = put(key_, {.mode = PutMode::create_only});
    if (again.result == PutResult::stored) {
      return "it overwrites an object that was to be created only (If-None-Match is ignored)";
    }
    if (again.result != PutResult::exists) {
      return "it knows no PUT that creates only (If-None-Match): " + again.reason;
    }
    return std::nullopt;
  }

  // Steps 3 to 5.
  ConditionalPuts match() {
    ConditionalPuts found{.support = ConditionSupport::with_quotes};
    PutOutcome outcome = put_if_match(key_, first_etag_);
    if (outcome.result == PutResult::changed && without_quotes(first_etag_) != first_etag_) {
      found.support = ConditionSupport::bare;
      outcome = put_if_match(key_, without_quotes(first_etag_));
    }
    const PutResult result = outcome.result;
    if (result == PutResult::unsupported) {
      return not_honoured("it knows no PUT over a certain ETag (If-Match): " + outcome.reason);
    }
    if (result != PutResult::stored) {
      return not_honoured(
          "it refuses a PUT over the right ETag, with quotes and without (If-Match)");
    }
    const std::string stale = found.etag_to_send(first_etag_);
    if (put_if_match(key_, stale).result != PutResult::changed) {
      return not_honoured("it overwrites an object that has changed since (If-Match is ignored)");
    }
    if (put_if_match(missing_key_, stale).result == PutResult::stored) {
      return not_honoured("it creates an object that was to be replaced only (If-Match)");
    }
    return found;
  }

  ObjectStore& store_;
  const std::string key_;
  const std::string missing_key_;
  int step_ = 0;
  std::string first_etag_;
  bool etags_are_md5_ = false;
  std::vector<std::string> left_behind_;  // what may have been stored
};

}  // namespace

std::string ConditionalPuts::etag_to_send(const std::string& etag) const {
  return support == ConditionSupport::bare ? without_quotes(etag) : etag;
}

PutOutcome put_if_absent(ObjectStore& store, const std::string& key,
                         std::span<const std::byte> body, PutOptions options) {
  options.mode = PutMode::create_only;
  options.is_trial = true;
  PutOutcome outcome = store.put(key, body, options);
  if (outcome.result != PutResult::unsupported) return outcome;
  if (store.look_up(key).has_value()) return {PutResult::exists, {}};
  options.mode = PutMode::replace;
  return store.put(key, body, options);
}

ConditionalPuts probe_conditional_puts(ObjectStore& store, const std::string& volume_key) {
  return Probe(store, volume_key).run();
}

}  // namespace nbdstack
