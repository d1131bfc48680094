// Who gets a place, and what becomes of it where a caller leaves in the wrong moment.
#include "plugins/s3/http/transfer_places.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using Place = std::optional<TransferPlaces::Place>;

constexpr std::size_t kBytes = 8;

class TransferPlacesTest : public ::testing::Test {
 protected:
  Place enter(TransferClass its_class = TransferClass::small, Duration limit = seconds(30),
              const std::function<bool()>& is_over = {}) {
    const TimePoint now = steady_clock::now();
    TransferLife life(now, limit, time, is_over, stops);
    return places().enter({.its_class = its_class, .bytes = bytes}, life);
  }
  // Before the first look at whether the request is over.
  Place enter_soon() { return enter(TransferClass::small, milliseconds(1)); }
  int errno_of_enter(const std::function<bool()>& is_over) {
    try {
      enter(TransferClass::small, seconds(30), is_over);
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  }
  TransferPlaces& places() {
    if (!places_) places_.emplace(most, hedging);
    return *places_;
  }
  // Enough answers to know what is usual, and to have saved for repeating some.
  void learn_what_is_usual() {
    for (int i = 0; i < 100; ++i) {
      places().learn(
          {.get_bytes = kBytes, .to_first_byte = milliseconds(1), .to_last_byte = milliseconds(1)});
    }
  }
  Place repeat() {
    return places().repeat(TransferClass::small,
                           {.bytes = kBytes, .waited = seconds(1), .silent = seconds(1)});
  }
  // Large ones are quick, and may be as many as there are places.
  void learn_that_the_line_is_fast() {
    for (unsigned i = 0; i < most; ++i) places().learn({.is_large = true});
  }

  unsigned most = 1;
  std::size_t bytes = kBytes;
  bool hedging = true;
  TransferTime time = TransferTime::of_silence;
  std::atomic<bool> stops{false};

 private:
  std::optional<TransferPlaces> places_;
};

TEST_F(TransferPlacesTest, AsManyAsThereArePlacesEnterAtOnce) {
  most = 2;
  Place first = enter();
  const Place second = enter();
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(enter_soon());
  first.reset();
  EXPECT_TRUE(enter_soon());
  EXPECT_TRUE(enter_soon());  // the one before has left
}

TEST_F(TransferPlacesTest, APlaceGoesFromHandToHand) {
  Place place = enter();
  const Place moved = std::move(*place);
  place.reset();  // of what has been moved from
  EXPECT_FALSE(enter_soon());
}

TEST_F(TransferPlacesTest, WhoLeavesWakesTheNext) {
  Place place = enter();
  testing::Gate asked;
  std::thread next([&] {
    const auto is_over = [&] {
      asked.wait();
      return false;
    };
    EXPECT_TRUE(enter(TransferClass::small, seconds(30), is_over));
  });
  asked.await_arrivals(1);  // it is in the queue
  asked.open();
  place.reset();
  next.join();
  EXPECT_TRUE(enter_soon());
}

TEST_F(TransferPlacesTest, WhoIsOverLeavesTheQueue) {
  Place place = enter();
  EXPECT_EQ(errno_of_enter([] { return true; }), ESHUTDOWN);
  EXPECT_THROW(enter(TransferClass::small, seconds(30),
                     []() -> bool { throw std::runtime_error("asked in vain"); }),
               std::runtime_error);
  place.reset();
  EXPECT_TRUE(enter_soon());
}

TEST_F(TransferPlacesTest, TheEndOfTheEngineEndsTheWait) {
  const Place place = enter();
  stops = true;
  EXPECT_EQ(errno_of_enter({}), ESHUTDOWN);
}

// The place becomes free while its next holder is being asked, and the answer is that it is over.
TEST_F(TransferPlacesTest, WhoIsLetInWhileLeavingPassesThePlaceOn) {
  Place place = enter();
  const auto leaves_and_is_over = [&] {
    place.reset();
    return true;
  };
  EXPECT_EQ(errno_of_enter(leaves_and_is_over), ESHUTDOWN);
  EXPECT_TRUE(enter_soon());
}

TEST_F(TransferPlacesTest, WhoIsLetInAtTheDeadlineHasAPlace) {
  Place place = enter();
  const auto leaves = [&] {
    place.reset();
    return false;
  };
  const Place late = enter(TransferClass::small, TransferLife::kAskEvery, leaves);
  EXPECT_TRUE(late);
  EXPECT_FALSE(enter_soon());
}

TEST_F(TransferPlacesTest, ALargeOneGetsThePlaceKeptForSmallOnesWhenNoneHaveComeForLong) {
  most = 2;
  enter();
  const Place first = enter(TransferClass::large);
  EXPECT_TRUE(enter(TransferClass::large));  // after a while, and nothing else has happened
}

// How long the queue is says nothing about how long the service has been silent.
TEST_F(TransferPlacesTest, WhoWaitsHasTimeWhileOthersGetOn) {
  const Place place = enter();
  const TimePoint begun = steady_clock::now();
  unsigned asked = 0;
  const auto others_get_on_for_a_while = [&] {
    if (++asked <= 3) places().carried(1000, false, steady_clock::now());
    return false;
  };
  const Duration limit = 2 * TransferLife::kAskEvery;
  EXPECT_FALSE(enter(TransferClass::small, limit, others_get_on_for_a_while));
  EXPECT_GE(steady_clock::now() - begun, 3 * TransferLife::kAskEvery + limit);
}

TEST_F(TransferPlacesTest, WhoseWholeTimeCountsHasNoMoreForThat) {
  time = TransferTime::whole;
  const Place place = enter();
  unsigned asked = 0;
  const auto others_get_on = [&] {
    ++asked;
    places().carried(1000, false, steady_clock::now());
    return false;
  };
  EXPECT_FALSE(enter(TransferClass::small, 2 * TransferLife::kAskEvery, others_get_on));
  EXPECT_LE(asked, 3U);
}

TEST_F(TransferPlacesTest, LargeOnesAreAsManyAsTheLineHasAUseForAndOneMoreWhenItIsIdle) {
  most = 16;
  std::vector<Place> large;
  for (unsigned i = 0; i < LineConcurrency::kFirst; ++i) {
    large.push_back(enter(TransferClass::large));
  }
  unsigned asked = 0;
  const auto something_is_on_its_way = [&] {
    ++asked;
    places().carried(0, true, steady_clock::now());
    return false;
  };
  EXPECT_FALSE(enter(TransferClass::large, LineConcurrency::kIdle + 2 * TransferLife::kAskEvery,
                     something_is_on_its_way));
  EXPECT_TRUE(enter(TransferClass::large));  // after a while, and nothing else has happened
  EXPECT_TRUE(enter_soon());                 // a small one needs none of that
}

// Nothing ends meanwhile, and something is always under way.
TEST_F(TransferPlacesTest, OneMoreEntersAsSoonAsTheLineIsSeenToCarryAllOfThemQuickly) {
  most = 16;
  time = TransferTime::whole;  // what gets on would wait for ever
  std::vector<Place> large;
  for (unsigned i = 0; i < LineConcurrency::kFirst; ++i) {
    large.push_back(enter(TransferClass::large));
  }
  const auto they_get_on = [&] {
    places().carried(1000, true, steady_clock::now());
    return false;
  };
  large.push_back(enter(TransferClass::large, seconds(30), they_get_on));
  EXPECT_TRUE(large.back());
  bytes = std::size_t{1} << 40U;
  EXPECT_FALSE(enter(TransferClass::large, LineConcurrency::kIdle, they_get_on));
  bytes = kBytes;
  large.push_back(enter(TransferClass::large, seconds(30), they_get_on));
  EXPECT_TRUE(large.back());
}

TEST_F(TransferPlacesTest, RefusalsTakePlacesAwayAndGoodAnswersGiveThemBack) {
  most = 2;
  places().learn({.is_refusal = true, .sent = steady_clock::now(), .now = steady_clock::now()});
  Place place = enter();
  EXPECT_FALSE(enter_soon());
  places().learn({.is_good = true});
  EXPECT_TRUE(enter_soon());
}

TEST_F(TransferPlacesTest, ALateGetTakesASecondPlace) {
  most = 2;
  const Place first = enter();
  EXPECT_FALSE(repeat());  // nothing is known
  learn_what_is_usual();
  Place second = repeat();
  EXPECT_TRUE(second);
  EXPECT_FALSE(repeat());  // no place is free
  EXPECT_FALSE(enter_soon());
  second.reset();
  EXPECT_TRUE(repeat());
}

TEST_F(TransferPlacesTest, NothingIsRepeatedWhilePlacesAreFewerThanUsual) {
  most = 4;
  const Place first = enter();
  learn_what_is_usual();
  places().learn({.is_refusal = true, .sent = steady_clock::now(), .now = steady_clock::now()});
  EXPECT_FALSE(repeat());
}

TEST_F(TransferPlacesTest, NothingIsRepeatedWhileTheLineIsSlow) {
  most = 4;
  const Place first = enter();
  learn_what_is_usual();
  const TimePoint now = steady_clock::now();
  const TimePoint sent = now - LineConcurrency::kQuick - seconds(1);
  places().learn({.is_good = true, .is_large = true, .sent = sent, .now = now});
  EXPECT_FALSE(repeat());
  learn_that_the_line_is_fast();
  EXPECT_TRUE(repeat());
}

TEST_F(TransferPlacesTest, NothingIsRepeatedWhileSomebodyWaits) {
  most = 8;
  learn_that_the_line_is_fast();
  const Place small = enter();  // one of two places kept for its like
  std::vector<Place> large;
  large.reserve(6);
  for (int i = 0; i < 6; ++i) large.push_back(enter(TransferClass::large));
  learn_what_is_usual();
  testing::Gate asked;
  std::atomic<bool> over{false};
  std::thread waiting([&] {
    const auto is_over = [&] {
      asked.wait();
      return over.load();
    };
    EXPECT_THROW(enter(TransferClass::large, seconds(30), is_over), Error);
  });
  asked.await_arrivals(1);
  EXPECT_FALSE(repeat());
  over = true;
  asked.open();
  waiting.join();
  EXPECT_TRUE(repeat());
}

TEST_F(TransferPlacesTest, NothingIsRepeatedWhereThatIsNotWanted) {
  most = 2;
  hedging = false;
  const Place first = enter();
  learn_what_is_usual();
  EXPECT_FALSE(repeat());
}

}  // namespace
}  // namespace nbdstack
