// What services, and what stands before them, do in ways of their own: errors in answers of
// success, no request that removes many objects, conditions that are refused like any bad request.
#include <algorithm>

#include "plugins/s3/store/conditional_puts.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::contains;
using testing::error_answer;
using testing::kBody;
using testing::kBytes;
using testing::LogOfErrors;

const std::vector<std::string> kThree{"a", "b", "c"};

class HttpStoreServicesTest : public testing::HttpStoreFixture {
 protected:
  // In alphabetical order: several are sent at a time.
  std::vector<std::string> lines() {
    std::vector<std::string> lines;
    for (const auto& each : server.requests()) lines.push_back(each.line);
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  LogOfErrors log;
};

TEST_F(HttpStoreServicesTest, AnErrorInAnAnswerOfSuccessIsTriedAgain) {
  const auto error = [&] { server.then(error_answer(200, "InternalError")); };
  error();
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().put("k", kBytes, {}).etag, "\"1\"");
  error();
  server.then(answer(200, "", {{"ETag", "\"2\""}}));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only}).etag, "\"2\"");
  error();
  server.then(answer(200, std::string(512, 'x'), {{"ETag", "\"1\""}}));
  std::array<std::byte, 512> object{};
  EXPECT_TRUE(store().get("k", object));
  error();
  server.then(answer(200, kBody, {{"ETag", "\"1\""}}));
  std::array<std::byte, 4096> buffer{};
  EXPECT_EQ(store().fetch("k", buffer)->size_bytes, kBody.size());
  error();
  server.then(answer(200, kBody, {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().get_text("k", 4096), kBody);
  error();
  server.then(answer(204));
  store().remove(std::vector<std::string>{"k"});
  EXPECT_EQ(server.requests().size(), 12U);
}

TEST_F(HttpStoreServicesTest, AnErrorInAnAnswerOfSuccessLeavesOpenWhetherItWasDone) {
  server.then(error_answer(200, "InternalError"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  Doubt doubt;
  store().put("k", kBytes, {.doubt = &doubt});
  EXPECT_TRUE(doubt.is_open);
}

TEST_F(HttpStoreServicesTest, AnObjectThatLooksLikeAnErrorIsAnObject) {
  const std::string text = error_answer(200, "InternalError").body;
  server.then(answer(200, text, {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().get_text("k", 4096), text);
}

TEST_F(HttpStoreServicesTest, WhoSendsMoreThanTheFirstByteTellsTheLengthAllTheSame) {
  server.then(answer(206, kBody, {{"Content-Range", "bytes 0-7/8"}}));
  EXPECT_EQ(store().size_of("k"), 8U);
  const std::string megabyte(std::size_t{1} << 20U, 'x');
  server.then(answer(206, megabyte, {{"Content-Range", "bytes 0-1048575/1048576"}}));
  EXPECT_EQ(store().size_of("k"), megabyte.size());
  server.then(answer(200, megabyte, {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().size_of("k"), megabyte.size());
  server.then(answer(206, kBody, {{"Content-Range", "bytes 0-8/9"}}));
  server.then(answer(206, "1", {{"Content-Range", "bytes 0-0/9"}}));
  EXPECT_EQ(store().size_of("k"), 9U) << "an answer that contradicts itself is not believed";
}

TEST_F(HttpStoreServicesTest, WhereManyCannotBeRemovedAtOnceEachIsAndThatIsFoundOutOnce) {
  server.then(error_answer(400, "InvalidArgument"));
  for (int i = 0; i < 6; ++i) server.then(answer(204));
  store().remove(kThree);
  store().remove(kThree);
  const std::vector<std::string> expected{"DELETE /disk/a HTTP/1.1",    "DELETE /disk/a HTTP/1.1",
                                          "DELETE /disk/b HTTP/1.1",    "DELETE /disk/b HTTP/1.1",
                                          "DELETE /disk/c HTTP/1.1",    "DELETE /disk/c HTTP/1.1",
                                          "POST /disk?delete= HTTP/1.1"};
  EXPECT_EQ(lines(), expected);
  EXPECT_EQ(log.count({"s3://disk/", "does not remove many objects"}), 1U);
}

TEST_F(HttpStoreServicesTest, ManyThatAreNotAnsweredInTimeAreRemovedInParts) {
  config.timeout_ms = 4000;
  std::vector<std::string> keys;
  for (int i = 0; i < 30; ++i) keys.push_back(std::to_string(i));
  server.then(answer(200, "<DeleteResult/>").stall_after(0));
  for (int i = 0; i < 3; ++i) server.then(answer(200, "<DeleteResult/>"));
  Doubt doubt;
  std::vector<Removal> removals;
  for (const std::string& key : keys) removals.push_back({.key = key, .etag = {}});
  EXPECT_TRUE(store().remove_matching(removals, doubt).empty());
  EXPECT_TRUE(doubt.is_open && doubt.was_given_up);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_TRUE(contains(requests[1].body, "<Key>9</Key>"));
  EXPECT_FALSE(contains(requests[1].body, "<Key>10</Key>"));
  EXPECT_TRUE(contains(requests[3].body, "<Key>29</Key>"));
}

TEST_F(HttpStoreServicesTest, AProxyThatGivesUpManyGetsFewerToo) {
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) keys.push_back(std::to_string(i));
  server.then(answer(504, "<html/>"));
  server.then(answer(200, "<DeleteResult/>"));
  server.then(answer(504, "<html/>"));
  server.then(answer(200, "<DeleteResult/>"));
  store().remove(keys);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(HttpStoreServicesTest, EveryWayToHaveNoRequestForManyIsUnderstood) {
  for (const auto& [status, code] :
       {std::pair{501, "NotImplemented"}, {405, "MethodNotAllowed"}, {400, "NotImplemented"}}) {
    testing::ScriptedHttpServer other;
    place.endpoint = Endpoint::parse(other.url());
    const auto each = make_store();
    other.then(error_answer(status, code));
    for (int i = 0; i < 3; ++i) other.then(answer(204));
    each->remove(kThree);
    EXPECT_EQ(other.requests().size(), 4U) << status;
  }
}

TEST_F(HttpStoreServicesTest, WhoMayRemoveNothingIsToldSo) {
  server.then(error_answer(405, "MethodNotAllowed"));
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { store().remove(kThree); }), EACCES);
  EXPECT_TRUE(contains(message, "DELETE s3://disk/a")) << message;
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { store().remove(kThree); }), EACCES);
  EXPECT_TRUE(contains(message, "POST s3://disk/")) << "nothing was found out: " << message;
}

TEST_F(HttpStoreServicesTest, AServiceThatHasRemovedManyIsNotDoubtedLater) {
  server.then(answer(200, "<DeleteResult/>"));
  store().remove(kThree);
  server.then(error_answer(400, "MalformedXML"));
  EXPECT_EQ(errno_of([&] { store().remove(kThree); }), EIO);
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(HttpStoreServicesTest, VersionsThatAreOthersAreToldWhereEachIsRemovedToo) {
  server.then(error_answer(501, "NotImplemented"));
  server.then(answer(204));
  server.then(error_answer(412, "PreconditionFailed"));
  Doubt doubt;
  const std::vector<Removal> removals{{"a", "\"1\""}, {"b", "\"2\""}};
  EXPECT_EQ(store().remove_matching(removals, doubt), std::vector<std::string>{"b"});
  EXPECT_EQ(server.requests().at(2).header("if-match"), "\"2\"");
  EXPECT_FALSE(doubt.is_open);
  server.then(answer(502, "<html/>"));
  server.then(answer(204));
  EXPECT_TRUE(store().remove_matching(std::span(removals).first(1), doubt).empty());
  EXPECT_TRUE(doubt.is_open);
}

TEST_F(HttpStoreServicesTest, HoweverATrialOfConditionsIsRefusedTheyAreNotKnown) {
  for (const auto& [status, code] : {std::pair{400, "InvalidArgument"},
                                     {400, "InvalidRequest"},
                                     {405, "MethodNotAllowed"},
                                     {403, "SignatureDoesNotMatch"},
                                     {501, "NotImplemented"}}) {
    server.then(error_answer(status, code));
    const PutOutcome outcome =
        store().put("k", kBytes, {.mode = PutMode::create_only, .is_trial = true});
    EXPECT_EQ(outcome.result, PutResult::unsupported) << status << code;
    EXPECT_TRUE(contains(outcome.reason, code)) << outcome.reason;
  }
}

TEST_F(HttpStoreServicesTest, AConflictThatDoesNotPassIsARefusalOfConditions) {
  for (int i = 0; i < 4; ++i) server.then(error_answer(409, "Conflict"));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only, .is_trial = true}).result,
            PutResult::unsupported);
  server.then(error_answer(409, "OperationAborted"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only, .is_trial = true}).result,
            PutResult::stored);
}

TEST_F(HttpStoreServicesTest, OutsideATrialARefusalIsAnError) {
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {.mode = PutMode::create_only}); }), EACCES);
}

TEST_F(HttpStoreServicesTest, WhereConditionsAreRefusedAnObjectIsMadeWithoutThem) {
  server.then(error_answer(403, "SignatureDoesNotMatch"));
  server.then(error_answer(404, "NoSuchKey"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  EXPECT_EQ(put_if_absent(store(), "k", kBytes).result, PutResult::stored);
  server.then(error_answer(403, "AccessDenied"));
  server.then(error_answer(404, "NoSuchKey"));
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { put_if_absent(store(), "k", kBytes); }), EACCES);
}

TEST_F(HttpStoreServicesTest, TheProbeSaysHowConditionsWereRefused) {
  server.then(error_answer(405, "MethodNotAllowed"));
  server.then(answer(204));
  const ConditionalPuts found = probe_conditional_puts(store(), "vol");
  EXPECT_FALSE(found.honoured());
  EXPECT_TRUE(contains(found.reason, "(If-None-Match): the service answered 405 MethodNotAllowed"))
      << found.reason;
}

}  // namespace
}  // namespace nbdstack
