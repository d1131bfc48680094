// Every order of the steps of two and three calls of the protocol between engine and durable store
// (slot_store.hpp): what is read then, and what a crash leaves after every step.
//
// An order in which a step would have to wait (for a page that another call owns, for a slot, for a
// commit) is left out: it is the same as one in which that step comes later.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/log.hpp"
#include "tests/unit/cache/store/durable/order_run.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack::testing {
namespace {

std::string text_of(Before before, const std::vector<Call>& calls,
                    const std::vector<std::size_t>& order) {
  std::string text = fmt::format("state {}:", static_cast<int>(before));
  std::vector<std::size_t> done(calls.size());
  for (const std::size_t who : order) {
    text += fmt::format(" {}.{}", kCallNames.at(static_cast<std::size_t>(calls[who])), ++done[who]);
  }
  return text;
}

// The same as another order, because two calls are the same: the first of them begins first.
bool is_repeated(const std::vector<Call>& calls, const std::vector<std::size_t>& order) {
  const auto begin_of = [&](std::size_t who) { return std::find(order.begin(), order.end(), who); };
  for (std::size_t who = 1; who < calls.size(); ++who) {
    if (calls[who] == calls[who - 1] && begin_of(who) < begin_of(who - 1)) return true;
  }
  return false;
}

// Of the orders of three calls: a sanitizer is slow, and has nothing more to find in the others.
constexpr std::size_t kEvery = kSanitized ? 16 : 1;

class Interleaving : public ::testing::TestWithParam<Before> {
 protected:
  Interleaving() {
    log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
  }
  ~Interleaving() override { EXPECT_GT(runs_, 0U); }

  void run_orders(const std::vector<Call>& calls, std::size_t every) {
    std::size_t number = 0;
    std::vector<std::size_t> order;
    for (std::size_t who = 0; who < calls.size(); ++who) {
      order.insert(order.end(), steps_of(calls[who]), who);
    }
    do {
      if (is_repeated(calls, order) || number++ % every != 0) continue;
      try {
        const std::string fault = OrderRun(GetParam(), calls, order).result();
        ++runs_;
        ASSERT_EQ(fault, "") << text_of(GetParam(), calls, order);
      } catch (const WouldWait&) {
        continue;
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }

  std::size_t runs_ = 0;
};

TEST_P(Interleaving, OfTwoCalls) {
  for (std::size_t a = 0; a < kCalls; ++a) {
    for (std::size_t b = a; b < kCalls; ++b) {
      run_orders({static_cast<Call>(a), static_cast<Call>(b)}, 1);
      if (HasFatalFailure()) return;
    }
  }
}

// What three leave behind is committed in the end.
TEST_P(Interleaving, OfThreeCalls) {
  constexpr auto kCommit = static_cast<std::size_t>(Call::commit);  // the last one
  for (std::size_t a = 0; a < kCommit; ++a) {
    for (std::size_t b = a; b < kCommit; ++b) {
      for (std::size_t c = b; c < kCommit; ++c) {
        run_orders({static_cast<Call>(a), static_cast<Call>(b), static_cast<Call>(c)}, kEvery);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Interleaving, OfTwoCallsAndACommit) {
  for (std::size_t a = 0; a < kCalls; ++a) {
    for (std::size_t b = a; b < kCalls; ++b) {
      run_orders({static_cast<Call>(a), static_cast<Call>(b), Call::commit}, kEvery);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(States, Interleaving, ::testing::ValuesIn(kBefore));

}  // namespace
}  // namespace nbdstack::testing
