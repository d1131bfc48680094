// Answers that contradict the question or themselves: they are asked for again, and what goes on
// contradicting itself is an error that says so, never data and never a hole.
#include <gtest/gtest.h>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/list_page.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::error_answer;
using testing::hang_up;

std::string listing(const std::vector<std::string>& keys, const std::string& more = "") {
  std::string text = "<ListBucketResult>" + more;
  for (const std::string& key : keys) {
    text += fmt::format("<Contents><Key>{}</Key><Size>1</Size></Contents>", key);
  }
  return text + "</ListBucketResult>";
}

class ContradictionTest : public ::testing::Test {
 protected:
  // Keys that begin with "v/" and follow "v/1".
  std::vector<std::string> listed() {
    std::vector<std::string> keys;
    store.list("v/", "v/1", [&](const ListedObject& object) {
      keys.push_back(object.key);
      return true;
    });
    return keys;
  }
  std::string failure_of_listing() {
    try {
      listed();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
      return error.what();
    }
    return "no failure";
  }

  testing::FakeClock clock;
  testing::ScriptedHttpServer server;
  HttpStore store{
      {.bucket = "disk",
       .location = testing::disk_at(server.url()),
       .credentials = std::make_shared<CredentialSource>(Credentials{"KEY", "SECRET", ""})},
      clock};
  std::array<std::byte, 8> body{};
};

// --- Listings ---

const std::vector<std::pair<std::string, std::string>> kFaults{
    {listing({"w/2"}), "w/2 was listed, which does not begin with v/"},
    {listing({"v"}), "v was listed, which does not begin with v/"},
    {listing({"v%2F2"}), "v%2F2 was listed, which does not begin with v/"},
    {listing({"v/2"}, "<IsTruncated>true</IsTruncated>"), "not how to ask for them"},
    {listing({"v/2"}, "<KeyCount>2</KeyCount>"), "2 keys are announced, and 1 listed"},
    {listing({"v/2"}, "<Prefix>v</Prefix>"), "those with v listed"},
    {"<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTrunc", "only a part of one"},
    {"", "only a part of one"},
    {"<Error><Code>InternalError</Code><Message>again</Message></Error>", "InternalError"},
};

// Of keys behind "v/1".
const std::vector<std::vector<std::string>> kDisorders{
    {"v/1"}, {"v/0"}, {"v/3", "v/2"}, {"v/2", "v/2"}};

TEST_F(ContradictionTest, AListingThatContradictsItselfOnceIsAskedForAgain) {
  auto faults = kFaults;
  for (const auto& keys : kDisorders) faults.emplace_back(listing(keys), keys.front());
  for (const auto& [page, words] : faults) {
    server.then(answer(200, page));
    server.then(answer(200, listing({"v/2", "v/3"})));
    EXPECT_EQ(listed(), (std::vector<std::string>{"v/2", "v/3"})) << words;
  }
}

TEST_F(ContradictionTest, AListingThatGoesOnContradictingItselfIsAnErrorThatSaysSo) {
  for (const auto& [page, words] : kFaults) {
    for (int i = 0; i < 3; ++i) server.then(answer(200, page));
    const std::string failure = failure_of_listing();
    if (failure.find("ScriptEnded") != std::string::npos) continue;  // tried for longer
    EXPECT_NE(failure.find(words), std::string::npos) << failure;
  }
}

TEST_F(ContradictionTest, APageThatBeginsAgainIsAContradiction) {
  const std::string more =
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
  server.then(answer(200, listing({"v/2", "v/3"}, more)));
  server.then(answer(200, listing({"v/2", "v/3"}, more)));
  server.then(answer(200, listing({"v/4"})));
  EXPECT_EQ(listed(), (std::vector<std::string>{"v/2", "v/3", "v/4"}));
}

TEST_F(ContradictionTest, ACountThatFitsIsBelievedAndAPrefixInEitherWriting) {
  const PageCheck check({.prefix = "v 1/", .after = ""}, ListOrder::by_bytes);
  ListPage page{.objects = {{.key = "v 1/2"}}};
  page.key_count = 1;
  page.prefix = "v 1/";
  page.prefix_as_sent = "v+1/";
  EXPECT_FALSE(check.fault_of(page).has_value());
  page.prefix = "v?1/";
  page.prefix_as_sent = "v 1/";  // a service that says "url" and encodes keys only
  EXPECT_FALSE(check.fault_of(page).has_value());
  page.prefix_as_sent = "v?1/";
  EXPECT_TRUE(check.fault_of(page).has_value());
}

// --- Objects ---

TEST_F(ContradictionTest, ARangeThatIsNotTheOneAskedForIsAskedForAgain) {
  for (const char* range : {"bytes 1-1/329", "bytes 0-1/329", "", "bytes 0-0/*"}) {
    server.then(answer(206, "1", {{"Content-Range", range}}));
    server.then(answer(206, "1", {{"Content-Range", "bytes 0-0/329"}}));
    EXPECT_EQ(store.size_of("k"), 329U) << range;
  }
  server.then(answer(206, "", {{"Content-Range", "bytes 0-0/329"}}));
  server.then(answer(206, "1", {{"Content-Range", "bytes 0-0/329"}}));
  EXPECT_EQ(store.size_of("k"), 329U);
}

TEST_F(ContradictionTest, HeadersThatSayTwoThingsAreAskedForAgain) {
  const testing::AnswerHeaders two_etags{{"ETag", "\"a\""}, {"ETag", "\"b\""}};
  server.then(answer(200, "12345678", two_etags));
  server.then(answer(200, "12345678", {{"ETag", "\"a\""}, {"ETag", "\"a\""}}));
  EXPECT_TRUE(store.get("k", body));
  server.then(answer(200, "12345678", {{"Content-Range", "bytes 0-7/9"}}));
  server.then(answer(200, "12345678"));
  EXPECT_TRUE(store.get("k", body));
  server.then(answer(200, "text", two_etags));
  server.then(answer(200, "text"));
  EXPECT_EQ(store.get_text("k", 9), "text");
}

// The answer to a HEAD of an object of that size: the header alone.
Answer head_answer(std::size_t size_bytes) {
  return answer(200, std::string(size_bytes, 'x'), {{"ETag", "\"1\""}}).close_after(0);
}

TEST_F(ContradictionTest, WhoDoesNotKnowTheFirstByteIsAskedForTheHead) {
  const std::vector<Answer> refusals{
      error_answer(416, "InvalidRange", {{"Content-Range", "bytes */329"}}),
      error_answer(416, "InvalidRange", {{"Content-Range", "bytes */0"}}),
      error_answer(416, "InvalidRange"),
      error_answer(400, "InvalidArgument"),
      error_answer(400, "InvalidRange"),
      error_answer(501, "NotImplemented"),
  };
  std::size_t requests = 0;
  for (const Answer& refusal : refusals) {
    for (const std::size_t size_bytes : {329U, 0U}) {
      server.then(refusal);
      server.then(head_answer(size_bytes));
      const auto object = store.look_up("k");
      EXPECT_EQ(object->size_bytes, size_bytes);
      EXPECT_EQ(object->etag, "\"1\"");
      requests += 2;
      EXPECT_EQ(server.requests().back().line, "HEAD /disk/k HTTP/1.1");
    }
  }
  EXPECT_EQ(server.requests().size(), requests);
}

TEST_F(ContradictionTest, WhoGoesOnSendingAnotherRangeIsAskedForTheHead) {
  for (const char* range : {"bytes 1-1/329", "", "bytes 0-0/*"}) {
    for (int i = 0; i < 3; ++i) server.then(answer(206, "1", {{"Content-Range", range}}));
    server.then(head_answer(329));
    EXPECT_EQ(store.size_of("k"), 329U) << range;
  }
}

TEST_F(ContradictionTest, AHeadThatTellsNothingLeavesTheReasonOfTheFirstByte) {
  server.then(error_answer(400, "InvalidRequest"));
  server.then(answer(400));
  try {
    (void)store.look_up("k");
    FAIL() << "the error was lost";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("InvalidRequest"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("HEAD is answered 400"), std::string::npos);
  }
  server.then(error_answer(416, "InvalidRange"));
  server.then(answer(404, "", {{"x-amz-request-id", "1"}}));
  EXPECT_FALSE(store.look_up("k").has_value()) << "it was removed meanwhile";
}

TEST_F(ContradictionTest, ADeletionWhoseAnswerIsCutIsSentAgain) {
  const std::vector<std::string> keys{"a", "b"};
  server.then(answer(200, "<?xml version=\"1.0\"?><DeleteRes"));
  server.then(answer(200, "<DeleteResult/>"));
  store.remove(keys);
  server.then(answer(200, "<Error><Code>InternalError</Code></Error>"));
  server.then(answer(200, "<DeleteResult/>"));
  store.remove(keys);
}

// --- A lease that is replaced while it is looked at ---

// The answer to a creation was lost; by the time its object is read back, somebody has put a longer
// one in its place.
TEST_F(ContradictionTest, AnObjectThatWasReplacedByALongerOneIsNotOurs) {
  const std::string ours(329, 'x');
  server.then(hang_up());
  server.then(error_answer(412, "PreconditionFailed"));
  server.then(answer(200, std::string(331, 'x')));
  EXPECT_EQ(store.put("k", std::as_bytes(std::span(ours)), {.mode = PutMode::create_only}).result,
            PutResult::exists);
  EXPECT_EQ(server.requests().size(), 3U) << "one request to look";
}

TEST_F(ContradictionTest, AnObjectThatIsOursIsFoundAgain) {
  const std::string ours(329, 'x');
  for (const std::string& stored : {ours, std::string(329, 'y'), std::string(300, 'x')}) {
    server.then(hang_up());
    server.then(error_answer(412, "PreconditionFailed"));
    server.then(answer(200, stored, {{"ETag", "\"e\""}}));
    const PutOutcome outcome =
        store.put("k", std::as_bytes(std::span(ours)), {.mode = PutMode::create_only});
    EXPECT_EQ(outcome.result, stored == ours ? PutResult::stored : PutResult::exists);
    EXPECT_EQ(outcome.etag, stored == ours ? "\"e\"" : "");
  }
}

}  // namespace
}  // namespace nbdstack
