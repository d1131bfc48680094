// A service that keeps objects and conditions, for servers on several hosts (CloudStore: one
// server's way to it), and what goes wrong on that way, by seed:
//
//   a change    is done now, late, twice or never, and its answer may get lost, also when its
//               server has ended and another one owns the volume
//   a read      may take long or fail; its answer is as old as it likes to be
//   a listing   shows the state of an earlier moment, leaves keys out, or writes them otherwise
//
// What a service may hold back it has done within `ChangeGuard`'s bounds of the moment in which the
// request was given up (plugins/s3/store/guarded_changes.hpp), or never.
//
// One thread; or another one that only lists, while the first waits for it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack::testing {

// Takes things out again that the product relies on, so that a test sees what they are good for.
struct CloudManners {
  bool ignores_conditions_of_blocks = false;  // though the probe has shown that it keeps them
  bool listings_are_proof = false;            // as trust-listing=true
};

class Cloud {
 public:
  using Bytes = std::vector<std::byte>;

  struct Change {
    std::string key;
    std::optional<Bytes> body{};  // none: a removal
    ObjectAttributes attributes{};
    bool creates_only = false;
    std::string etag{};             // empty: over whatever is there
    std::uint64_t life = 0;         // who sent it
    bool was_sent_by_owner = true;  // of that moment
  };
  struct Object {
    Bytes body;
    std::string etag;
    ObjectAttributes attributes;
  };
  // `is_harmless`: it was sent by the owner of that moment, a service that keeps conditions would
  // have done it, and it replaces nothing that a later life has made, unless byte for byte the
  // same.
  using OnBlockChange = std::function<void(const Change& change, bool is_harmless)>;

  Cloud(const FakeClock& clock, const CloudManners& manners, std::uint64_t seed);

  // The life that owns the volume now.
  void set_owner(std::uint64_t life) { owner_ = life; }
  [[nodiscard]] std::uint64_t owner() const { return owner_; }

  void on_block_change(OnBlockChange hook) { on_block_change_ = std::move(hook); }
  // From here on nothing goes wrong any more, but for what is on its way.
  void calm() { stormy_percent_ = 0; }
  void set_stormy_percent(unsigned percent) { stormy_percent_ = percent; }
  [[nodiscard]] bool goes_wrong() { return draw(100) < stormy_percent_; }

  [[nodiscard]] const Object* find(const std::string& key) const;
  // Returns whether it was done.
  bool apply(const Change& change);
  void apply_later(Duration delay, const Change& change);
  void deliver_due();
  [[nodiscard]] std::size_t late_done() const { return late_done_; }

  using Listing = std::vector<std::pair<std::string, std::string>>;  // keys, ETags
  [[nodiscard]] Listing listed();
  [[nodiscard]] bool lists_are_proof() const { return manners_.listings_are_proof; }

  [[nodiscard]] std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  [[nodiscard]] Duration part_of(Duration whole) { return Duration(draw(whole.count() + 1)); }

 private:
  struct Late {
    TimePoint due;
    Change change;
  };

  [[nodiscard]] Listing true_listing() const;
  void note_moment();

  const FakeClock& clock_;
  const CloudManners manners_;
  std::mt19937_64 random_;
  unsigned stormy_percent_ = 0;  // of all requests
  std::uint64_t owner_ = 0;
  OnBlockChange on_block_change_ = [](const Change&, bool) {};
  std::map<std::string, Object> objects_;
  std::map<std::string, std::uint64_t> changed_in_;  // the latest life that has changed it
  std::vector<Late> late_;
  std::size_t late_done_ = 0;
  std::vector<Listing> moments_;  // what a true listing was
};

// The machine that a server runs on, as far as its requests are concerned.
class Wire {
 public:
  Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  virtual ~Wire() = default;

  // Before a request is sent, and when its answer arrives. Throws where the machine is dead, or
  // dies.
  virtual void touch() = 0;
  // A request is on its way: others go on meanwhile.
  virtual void pass(Duration duration) = 0;
};

class CloudStore final : public ObjectStore {
 public:
  // `may_write` as Waiting::may_write.
  CloudStore(Cloud& cloud, Wire& wire, std::uint64_t life, std::function<bool()> may_write = {})
      : cloud_(cloud), wire_(wire), life_(life), may_write_(std::move(may_write)) {}

  bool get(const std::string& key, std::span<std::byte> body) override;
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override;
  std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) override;
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override;
  std::optional<ObjectInfo> look_up(const std::string& key) override;
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override;
  void remove(std::span<const std::string> keys) override;
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override;
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override;
  [[nodiscard]] bool lists_are_proof() const override { return cloud_.lists_are_proof(); }

 private:
  std::optional<Cloud::Object> read(const std::string& key);
  bool send(Cloud::Change change, Doubt& doubt, bool& in_doubt);
  void lose_answer(const Cloud::Change& change, Doubt& doubt);

  Cloud& cloud_;
  Wire& wire_;
  const std::uint64_t life_;
  const std::function<bool()> may_write_;
};

}  // namespace nbdstack::testing
