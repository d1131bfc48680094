// The first removal, which finds out whether conditions of removals are kept
// (removal_conditions.hpp), at a service that answers a single key of it with an error that passes.
#include <gtest/gtest.h>

#include <string>

#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/store/removal_conditions.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::contains;
using testing::error_answer;

Answer removed() {
  return answer(200, "<DeleteResult/>");
}

Answer not_removed(const std::string& code) {
  return answer(200, "<DeleteResult><Error><Key>disk/1</Key><Code>" + code +
                         "</Code></Error></DeleteResult>");
}

class FirstRemovalTest : public testing::HttpStoreFixture {
 protected:
  void remove(std::uint64_t block) {
    const GuardedChanges::Target target{BlockNumber{block}, fmt::format("disk/{}", block)};
    changes().learn(target.block, kOwn);
    changes().remove(std::span(&target, 1));
  }
  // With whose ETag each removal was sent: "nobody's", "own" or "none".
  std::vector<std::string> etags() {
    std::vector<std::string> result;
    for (const auto& request : server.requests()) {
      if (!request.line.starts_with("POST")) continue;
      const bool is_nobodys = contains(request.body, nobodys_);
      result.emplace_back(is_nobodys                                   ? "nobody's"
                          : contains(request.body, "0123456789abcdef") ? "own"
                                                                       : "none");
    }
    return result;
  }

 private:
  GuardedChanges& changes() {
    if (!changes_.has_value()) {
      changes_.emplace(store(), ChangeGuard{.conditions = {.support = ConditionSupport::with_quotes,
                                                           .etags_are_md5 = true},
                                            .bound = std::chrono::seconds(60),
                                            .clock = &clock});
    }
    return *changes_;
  }

  static constexpr const char* kOwn = "\"0123456789abcdef0123456789abcdef\"";
  // As XML writes it.
  const std::string nobodys_{RemovalConditions::kNobodysEtag.substr(1, 32)};
  std::optional<GuardedChanges> changes_;
};

using Etags = std::vector<std::string>;

// 409: somebody else changes the object at this moment. Nothing was done, and nothing is known.
TEST_F(FirstRemovalTest, AConflictOfItsKeyIsTriedAgainAndTellsNothing) {
  server.then(not_removed("ConditionalRequestConflict"));
  server.then(not_removed("PreconditionFailed"));
  server.then(not_removed("OperationAborted"));
  server.then(removed());
  remove(1);
  EXPECT_EQ(etags(), (Etags{"nobody's", "nobody's", "own", "own"}));
  server.then(removed());
  remove(2);
  EXPECT_EQ(etags().back(), "own") << "that they are kept was found out";
  EXPECT_EQ(etags().size(), 5U);
}

TEST_F(FirstRemovalTest, AConflictThatLastsIsAnErrorAndTellsNothing) {
  config.retries = 1;
  server.then(not_removed("ConditionalRequestConflict"));
  server.then(not_removed("ConditionalRequestConflict"));
  server.then(not_removed("PreconditionFailed"));
  server.then(removed());
  EXPECT_EQ(errno_of([&] { remove(1); }), EIO);
  EXPECT_EQ(etags(), (Etags{"nobody's", "nobody's"}));
}

// The first attempt may have removed the object in spite of its condition, so that the second was
// refused because there is none.
TEST_F(FirstRemovalTest, AnInternalErrorOfItsKeyLeavesOpenWhatTheNextRefusalMeans) {
  server.then(not_removed("InternalError"));
  server.then(not_removed("PreconditionFailed"));
  server.then(not_removed("PreconditionFailed"));
  server.then(error_answer(404, "NoSuchKey"));
  remove(1);
  EXPECT_EQ(etags(), (Etags{"nobody's", "nobody's", "own"}));
  server.then(not_removed("PreconditionFailed"));
  server.then(removed());
  remove(2);
  EXPECT_EQ(etags(), (Etags{"nobody's", "nobody's", "own", "nobody's", "own"}));
}

}  // namespace
}  // namespace nbdstack
