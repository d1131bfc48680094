// Loans of clients' layers to threads in the background.
#include "common/block/lent_layer.hpp"

#include <gtest/gtest.h>

#include <future>
#include <optional>

#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {
namespace {

class LoanTest : public ::testing::Test {
 protected:
  // The layer that a borrower finds first, or null.
  Layer* found() {
    Layer* result = nullptr;
    clients.with_one([&](Layer& layer) { result = &layer; });
    return result;
  }

  FakeLayer first{4096};
  FakeLayer second{4096};
  int lent = 0;
  LentLayers clients{[this] { ++lent; }};
};

TEST_F(LoanTest, LendsItsLayerUntilItEnds) {
  EXPECT_EQ(found(), nullptr);
  {
    const Loan loan(first, &clients);
    EXPECT_EQ(lent, 1);
    EXPECT_EQ(found(), &first);
  }
  EXPECT_EQ(found(), nullptr);
}

TEST_F(LoanTest, IsOverOnceItsLayerIsTakenBackAndOthersGoOn) {
  Loan loan(first, &clients);
  const Loan other(second, &clients);
  loan.take_back();
  loan.take_back();
  EXPECT_EQ(found(), &second);
  EXPECT_FALSE(loan.layer()->with([](Layer&) {}));
}

TEST_F(LoanTest, AFailureIsTheBorrowersAndTheNextUseMayFindAnotherLayer) {
  const Loan loan(first, &clients);
  const Loan other(second, &clients);
  EXPECT_THROW(clients.with_one([](Layer&) { throw Error(EIO, "lost"); }), Error);
  clients.put_first_last();
  EXPECT_EQ(found(), &second);
}

TEST_F(LoanTest, WithoutClientsIsOfItsLayerAlone) {
  std::optional<Loan> loan(first);
  const auto layer = loan->layer();
  EXPECT_TRUE(layer->with([](Layer&) {}));
  loan.reset();
  EXPECT_FALSE(layer->with([](Layer&) {}));
}

// The end of a loan waits for the use that is under way, and no other one begins meanwhile.
TEST_F(LoanTest, EndsAfterTheUseUnderWay) {
  Gate gate;
  std::optional<Loan> loan(std::in_place, first, &clients);
  const auto layer = loan->layer();
  auto borrower =
      std::async(std::launch::async, [&] { clients.with_one([&](Layer&) { gate.pass(); }); });
  gate.wait_for_arrivals(1);
  auto client = std::async(std::launch::async, [&] { loan.reset(); });
  while (layer->with([](Layer&) {})) std::this_thread::yield();
  EXPECT_EQ(client.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  EXPECT_EQ(found(), nullptr);
  gate.open();
  client.get();
  borrower.get();
}

}  // namespace
}  // namespace nbdstack::testing
