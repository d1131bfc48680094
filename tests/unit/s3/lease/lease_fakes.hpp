// What the tests of leases share: a store with the peculiarities that real ones have, over the one
// in memory, processes as the test tells them, and the log.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "common/log.hpp"
#include "plugins/s3/lease/process_identity.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/log_of_errors.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {

struct Quirks {
  bool ignores_if_none_match = false;
  bool ignores_if_match = false;      // where there is an object
  bool creates_by_if_match = false;   // where there is none
  bool knows_no_create_only = false;  // unsupported
  bool knows_no_if_match = false;     // unsupported
  bool wants_bare_etags = false;
  bool refuses_every_etag = false;
  bool gives_no_etag_on_put = false;
  bool gives_no_etag = false;
  bool ignores_etags_of_removals = false;
  bool knows_no_etags_of_removals = false;
  bool refuses_every_etag_of_removals = false;
  bool tells_ages = false;          // in whole seconds, by the clock that it was made with
  std::chrono::seconds age_skew{};  // by which that is wrong
};

class QuirkyStore final : public ObjectStore {
 public:
  using Hook = std::function<void(const StoreCall&)>;

  explicit QuirkyStore(const Clock& clock, const Quirks& of_store = {})
      : quirks(of_store), clock_(clock) {}

  bool get(const std::string& key, std::span<std::byte> body) override {
    return memory.get(key, body);
  }
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override {
    return memory.get_range(key, body, part);
  }
  std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) override {
    return memory.get_text(key, size_limit);
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    return around({StoreOp::fetch, {key}},
                  [&] { return with_quirks(key, memory.fetch(key, buffer)); });
  }
  std::optional<ObjectInfo> look_up(const std::string& key) override {
    return around({StoreOp::look_up, {key}}, [&] { return with_quirks(key, memory.look_up(key)); });
  }
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    return around({StoreOp::put, {key}}, [&] {
      PutOutcome outcome = put_with_quirks(key, body, options);
      if (outcome.result == PutResult::stored) stored_at_[key] = clock_.now();
      if (quirks.gives_no_etag_on_put || quirks.gives_no_etag) outcome.etag.clear();
      return outcome;
    });
  }
  void remove(std::span<const std::string> keys) override {
    around({StoreOp::remove, {keys.begin(), keys.end()}}, [&] {
      memory.remove(keys);
      return true;
    });
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    StoreCall call{StoreOp::remove, {}};
    std::vector<Removal> meant(removals.begin(), removals.end());
    for (Removal& each : meant) {
      call.keys.push_back(each.key);
      if (each.etag.empty()) continue;
      if (quirks.knows_no_etags_of_removals) throw Error(EIO, each.key + ": 400 MalformedXML");
      if (quirks.refuses_every_etag_of_removals) each.etag = "no object's";
      if (quirks.ignores_etags_of_removals) each.etag.clear();
      if (quirks.wants_bare_etags) each.etag = '"' + each.etag + '"';
    }
    return around(call, [&] { return memory.remove_matching(meant, doubt); });
  }
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    memory.list(prefix, start_after, visit);
  }

  MemoryStore memory;
  Quirks quirks;
  // Before a call takes effect, and after it has, before the caller has the answer. A hook is not
  // called again while it runs, so that it may call the store itself; what it throws, the caller
  // gets.
  Hook before;
  Hook after;

 private:
  template <typename Effect>
  std::invoke_result_t<Effect> around(const StoreCall& call, const Effect& effect) {
    run_hook(before, call);
    auto result = effect();
    run_hook(after, call);
    return result;
  }
  void run_hook(const Hook& hook, const StoreCall& call) {
    if (!hook || in_hook_) return;
    in_hook_ = true;
    try {
      hook(call);
    } catch (...) {
      in_hook_ = false;
      throw;
    }
    in_hook_ = false;
  }

  std::optional<ObjectInfo> with_quirks(const std::string& key, std::optional<ObjectInfo> object) {
    if (!object.has_value()) return object;
    if (quirks.gives_no_etag) object->etag.clear();
    if (quirks.tells_ages) {
      using std::chrono::floor;
      using std::chrono::seconds;
      object->age =
          floor<seconds>(clock_.now()) - floor<seconds>(stored_at_[key]) + quirks.age_skew;
    }
    return object;
  }

  PutOutcome put_with_quirks(const std::string& key, std::span<const std::byte> body,
                             PutOptions options) {
    if (options.mode == PutMode::create_only) {
      if (quirks.knows_no_create_only) return {PutResult::unsupported, {}};
      if (quirks.ignores_if_none_match) options.mode = PutMode::replace;
    }
    if (options.mode == PutMode::if_match) {
      const bool exists = memory.body_of(key).has_value();
      if (quirks.knows_no_if_match) return {PutResult::unsupported, {}};
      if (quirks.refuses_every_etag) return {PutResult::changed, {}};
      if (exists ? quirks.ignores_if_match : quirks.creates_by_if_match) {
        options.mode = PutMode::replace;
      }
      if (quirks.wants_bare_etags) {
        const bool quoted = options.etag.starts_with('"');
        options.etag = (quoted ? "quoted " : "\"") + options.etag + '"';
      }
    }
    return memory.put(key, body, options);
  }

  const Clock& clock_;
  std::map<std::string, TimePoint> stored_at_;
  bool in_hook_ = false;
};

class FakeProcesses final : public Processes {
 public:
  explicit FakeProcesses(const std::string& host, std::int64_t pid) {
    process.host_name = host;
    process.pid = pid;
    process.start_time = 1000 + static_cast<std::uint64_t>(pid);
    process.boot_id = "boot of " + host;
    process.pid_namespace = "pid:[4026531836]";
  }
  [[nodiscard]] ProcessIdentity self() const override { return process; }
  [[nodiscard]] bool is_gone(const ProcessIdentity& other) const override {
    return std::find(gone.begin(), gone.end(), other) != gone.end();
  }

  ProcessIdentity process;
  std::vector<ProcessIdentity> gone;
};

template <typename Action>
void expect_error(int code, const std::vector<std::string>& words, const Action& action) {
  try {
    action();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << '"' << word << "\" is not in: " << error.what();
    }
  }
}

}  // namespace nbdstack::testing
