// Finds out whether a store honours the ETag of a removal, at the first one.
//
// Many services honour conditions of PUTs only, and none says so. The first object to be removed
// anyway shows it: its removal is sent with an ETag that no object has.
//
//   state      observed                                            a removal is sent
//   untried    nothing                                             with such an ETag first
//   refusing   such an ETag was refused                            with the object's own
//   kept       the object's own was accepted after that            with the object's own
//   not_kept   such an ETag did not prevent the removal of an      without
//              existing object, or the condition itself was
//              refused, or the object's own was
//
// The condition bounds the effect of an unanswered removal only in the states `refusing` and
// `kept`. Any thread may call; two that find out at once come to the same result.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace nbdstack {

enum class RemovalState : std::uint8_t { untried, refusing, kept, not_kept };

class RemovalConditions {
 public:
  // In the form of an MD5, which every service accepts as an ETag.
  static constexpr std::string_view kNobodysEtag = "\"6e6f626f64792773206f626a65637421\"";

  explicit RemovalConditions(RemovalState state) : state_(state) {}

  [[nodiscard]] bool are_untried() const { return state_ == RemovalState::untried; }
  // Returns whether conditions are worth sending.
  [[nodiscard]] bool may_be_kept() const { return state_ != RemovalState::not_kept; }
  [[nodiscard]] bool are_relied_on() const { return may_be_kept() && !are_untried(); }

  void wrong_one_refused() { change(RemovalState::untried, RemovalState::refusing); }
  void right_one_accepted() { change(RemovalState::refusing, RemovalState::kept); }
  void right_one_refused() { change(RemovalState::refusing, RemovalState::not_kept); }
  void wrong_one_ignored() { state_ = RemovalState::not_kept; }

 private:
  void change(RemovalState from, RemovalState to) { state_.compare_exchange_strong(from, to); }

  std::atomic<RemovalState> state_;
};

}  // namespace nbdstack
