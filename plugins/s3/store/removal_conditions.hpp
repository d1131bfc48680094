// Whether a store means the ETag that a removal carries, found out at the first one.
//
// Many services keep conditions of PUTs only, and none says so. The first object that is to be
// removed anyway tells it: its removal is sent with an ETag that no object has.
//
//   state      what has been seen                                  a removal is sent
//   untried    nothing                                             with such an ETag first
//   refusing   such an ETag was refused                            with the object's own
//   kept       the object's own was accepted after that            with the object's own
//   not_kept   such an ETag was no hindrance to removing what    without
//              was there for certain, or the condition as such
//              was refused, or the object's own was
//
// What an unanswered removal may still do is bounded by its condition only where that is relied on:
// `refusing` and `kept`. Any thread; two that find out at once come to the same.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace nbdstack {

enum class RemovalState : std::uint8_t { untried, refusing, kept, not_kept };

class RemovalConditions {
 public:
  // As an MD5, which is the form that every service takes for an ETag.
  static constexpr std::string_view kNobodysEtag = "\"6e6f626f64792773206f626a65637421\"";

  explicit RemovalConditions(RemovalState state) : state_(state) {}

  [[nodiscard]] bool are_untried() const { return state_ == RemovalState::untried; }
  // They are worth being sent.
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
